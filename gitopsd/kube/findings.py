"""What the rules of health answer with, and the patience they are given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Health


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How long a signal may stand before it is a failure, and what is waited for.

    Attributes:
        unschedulable_grace: A pod that no node takes; more where an autoscaler adds nodes.
        image_grace: An image that cannot be pulled for a reason that may pass.
        configuration_grace: A container whose ConfigMap, Secret or key is missing.
        container_grace: A container that cannot be created or run, or whose hook failed.
        crash_grace: A container that crashed, before it has crashed `crash_restarts` times.
        crash_restarts: Restarts of one container at which a crash loop is a failure at once.
        creation_grace: Pods that a controller is not allowed to create.
        volume_grace: A volume that cannot be mounted, before it is said.
        status_grace: A custom resource that has a status subresource and no status.
        event_age: How old an event may be to count as something that still happens.
        require_load_balancer: Whether a Service of type LoadBalancer needs an address.
        require_ingress_address: Whether an Ingress needs an address; many controllers never
            write one.
    """

    unschedulable_grace: timedelta = timedelta(seconds=15)
    image_grace: timedelta = timedelta(seconds=60)
    configuration_grace: timedelta = timedelta(seconds=30)
    container_grace: timedelta = timedelta(seconds=30)
    crash_grace: timedelta = timedelta(seconds=30)
    crash_restarts: int = 2
    creation_grace: timedelta = timedelta(seconds=30)
    volume_grace: timedelta = timedelta(seconds=120)
    status_grace: timedelta = timedelta(seconds=30)
    event_age: timedelta = timedelta(minutes=5)
    require_load_balancer: bool = False
    require_ingress_address: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What is known of the apply that is being judged.

    Attributes:
        generation: ``metadata.generation`` that it answered with; an older object is a stale
            look, never a verdict. 0 when nothing was applied now.
        at: When it ended; conditions and events from before it speak of an older spec. None when
            it changed nothing, or when that is not known.
    """

    generation: int = 0
    at: datetime | None = None


NOT_APPLIED = Applied()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says about one object.

    Attributes:
        health: Its health.
        message: Why, in one clause; empty when there is nothing to say.
        definite: Whether waiting cannot help.
        since: Begin of the condition that a grace period runs from; None when there is none.
    """

    health: Health
    message: str = ""
    definite: bool = False
    since: datetime | None = None


HEALTHY = Finding(Health.HEALTHY)


def progressing(message: str, since: datetime | None = None) -> Finding:
    """Say that the object is on its way."""
    return Finding(Health.PROGRESSING, message, since=since)


def failed(message: str, since: datetime | None = None) -> Finding:
    """Say that the object failed and that waiting cannot help."""
    return Finding(Health.DEGRADED, message, definite=True, since=since)


def latest(*moments: datetime | None) -> datetime | None:
    """Pick the latest of the known moments; None when none is known."""
    return max((moment for moment in moments if moment is not None), default=None)
