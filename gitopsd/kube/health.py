"""Health of one object and of a set, in Argo CD's words, computed by kstatus' rules.

Theory: the first rule that says something answers. Deletion, then the generation (a status about
an older spec says nothing), then the generic conditions, then the kind's own rules, then
``Ready``; an object that says nothing is Healthy. Sources: fluxcd/cli-utils ``pkg/kstatus``,
Flux's overrides of it, Argo CD's gitops-engine ``pkg/health``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Health, ObjectHealth
from gitopsd.kube import health_kinds, health_workloads
from gitopsd.kube.findings import (
    HEALTHY,
    NOT_APPLIED,
    Applied,
    Finding,
    HealthSettings,
    failed,
    progressing,
)
from gitopsd.kube.health_pods import pod_health
from gitopsd.kube.objects import (
    condition_true,
    created_at,
    flag_at,
    group_of,
    int_at,
    is_terminating,
    kind_of,
    mapping_at,
    mappings_at,
    namespace_of,
    number_at,
    parse_ref,
    string_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

_ORDER = (
    Health.HEALTHY,
    Health.SUSPENDED,
    Health.PROGRESSING,
    Health.MISSING,
    Health.DEGRADED,
    Health.UNKNOWN,
)

_ADVISORY = frozenset(
    {("autoscaling", "HorizontalPodAutoscaler"), ("policy", "PodDisruptionBudget")}
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One object that should be there and healthy.

    Attributes:
        desired: The manifest that was applied.
        live: The object as it is; None when it does not exist.
        applied: The apply that is being judged.
        has_status: Whether the kind has a status subresource.
    """

    desired: JsonObject
    live: JsonObject | None
    applied: Applied = NOT_APPLIED
    has_status: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a rule may need beside the object."""

    now: datetime
    settings: HealthSettings
    applied: Applied
    has_status: bool


def compute_health(
    obj: JsonObject,
    now: datetime,
    settings: HealthSettings,
    *,
    applied: Applied = NOT_APPLIED,
    has_status: bool = False,
) -> ObjectHealth:
    """Judge one live object.

    Args:
        obj: The live object.
        now: The time.
        settings: Grace periods and what is waited for.
        applied: The apply that is being judged.
        has_status: Whether the kind has a status subresource; a custom resource that has one and
            whose controller has not written to it yet is on its way for a while.

    Raises:
        PermanentError: ``InvalidObject``, when the object has no identity.
    """
    ref = parse_ref(obj)
    asked = _Asked(now, settings, applied, has_status)
    finding = _common(obj, applied.generation) or _of_kind(obj, asked)
    if finding is None:
        finding = health_kinds.any_ready(obj) or _silent(obj, asked)
    return ObjectHealth(
        ref=ref,
        health=finding.health,
        message=finding.message,
        definite=finding.definite,
        since=finding.since,
        advisory=(ref.key.group, ref.key.kind) in _ADVISORY,
    )


def _common(obj: JsonObject, minimum_generation: int) -> Finding | None:
    if is_terminating(obj):
        return progressing("terminating")
    generation = number_at(obj, "metadata", "generation")
    if generation < minimum_generation:
        return progressing(f"generation {minimum_generation} has not been seen yet")
    observed = int_at(obj, "status", "observedGeneration")
    if observed is not None and observed != generation:
        return progressing(f"the controller has seen generation {observed} of {generation}")
    reconciling = condition_true(obj, "Reconciling")
    if reconciling is not None:
        return progressing(health_kinds.say_condition(reconciling), reconciling.since)
    stalled = condition_true(obj, "Stalled")
    if stalled is not None:
        return failed(health_kinds.say_condition(stalled), stalled.since)
    return None


def _of_kind(obj: JsonObject, asked: _Asked) -> Finding | None:
    rule = _RULES.get((group_of(obj), kind_of(obj)))
    return None if rule is None else rule(obj, asked)


def _healthy(_obj: JsonObject, _asked: _Asked) -> Finding:
    return HEALTHY


def _silent(obj: JsonObject, asked: _Asked) -> Finding:
    """Judge an object that says nothing about itself."""
    created = created_at(obj)
    if not asked.has_status or health_kinds.has_status(obj) or created is None:
        return HEALTHY
    if asked.now - created < asked.settings.status_grace:
        return progressing("its controller has not written a status yet", created)
    return HEALTHY


_RULES: dict[tuple[str, str], Callable[[JsonObject, _Asked], Finding | None]] = {
    ("", "ConfigMap"): _healthy,
    ("", "PersistentVolumeClaim"): lambda obj, _: health_kinds.volume_claim(obj),
    ("", "Pod"): lambda obj, asked: pod_health(obj, asked.now, asked.settings),
    ("", "Secret"): _healthy,
    ("", "Service"): lambda obj, asked: health_kinds.service(obj, asked.settings),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        lambda obj, _: health_kinds.custom_resource_definition(obj)
    ),
    ("apps", "DaemonSet"): lambda obj, _: health_workloads.daemon_set(obj),
    ("apps", "Deployment"): lambda obj, asked: health_workloads.deployment(obj, asked.applied.at),
    ("apps", "ReplicaSet"): lambda obj, _: health_workloads.replica_set(obj),
    ("apps", "StatefulSet"): lambda obj, _: health_workloads.stateful_set(obj),
    ("autoscaling", "HorizontalPodAutoscaler"): lambda obj, _: health_kinds.autoscaler(obj),
    ("batch", "CronJob"): _healthy,
    ("batch", "Job"): lambda obj, _: health_kinds.job(obj),
    ("cert-manager.io", "Certificate"): lambda obj, _: health_kinds.certificate(obj),
    ("networking.k8s.io", "Ingress"): lambda obj, asked: health_kinds.ingress(obj, asked.settings),
    ("policy", "PodDisruptionBudget"): _healthy,
}


def compute_missing(desired: JsonObject) -> ObjectHealth:
    """Judge an object that does not exist: a Job that deletes itself when done is Healthy.

    Raises:
        PermanentError: ``InvalidObject``, when the manifest has no identity.
    """
    ref = parse_ref(desired)
    leaves = int_at(desired, "spec", "ttlSecondsAfterFinished") is not None
    if (ref.key.group, ref.key.kind) == ("batch", "Job") and leaves:
        return ObjectHealth(ref, Health.HEALTHY, "the Job is done and has deleted itself")
    return ObjectHealth(ref, Health.MISSING, "it does not exist")


def compute_set_health(
    expected: Iterable[Expected], now: datetime, settings: HealthSettings
) -> tuple[ObjectHealth, ...]:
    """Judge every object of a set, in the set's order.

    A PersistentVolumeClaim that no pod of the set mounts informs and never decides: with a
    storage class that waits for its first consumer it stays Pending for ever.

    Raises:
        PermanentError: ``InvalidObject``, when an object has no identity.
    """
    wanted = tuple(expected)
    mounted = find_mounted_claims(item.desired for item in wanted)
    return tuple(_judge(item, mounted, now, settings) for item in wanted)


def _judge(
    item: Expected, mounted: frozenset[tuple[str, str]], now: datetime, settings: HealthSettings
) -> ObjectHealth:
    if item.live is None:
        return compute_missing(item.desired)
    health = compute_health(
        item.live, now, settings, applied=item.applied, has_status=item.has_status
    )
    key = health.ref.key
    claim = (key.group, key.kind) == ("", "PersistentVolumeClaim")
    if claim and (namespace_of(item.desired), key.name) not in mounted:
        return replace(health, advisory=True)
    return health


_POD_OWNERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


def find_mounted_claims(objects: Iterable[JsonObject]) -> frozenset[tuple[str, str]]:
    """Find the claims, as (namespace, name), that pods of a set mount as soon as it is applied."""
    return frozenset(
        (namespace_of(obj), string_at(volume, "persistentVolumeClaim", "claimName"))
        for obj in objects
        for volume in mappings_at(_running_pod_spec(obj), "volumes")
    )


def _running_pod_spec(obj: JsonObject) -> JsonObject:
    if kind_of(obj) == "Pod":
        return mapping_at(obj, "spec")
    idle = int_at(obj, "spec", "replicas") == 0 or flag_at(obj, "spec", "suspend")
    if kind_of(obj) not in _POD_OWNERS or idle:
        return {}
    return mapping_at(obj, "spec", "template", "spec")


def worst(healths: Iterable[ObjectHealth]) -> Health:
    """Pick the worst health: Healthy < Suspended < Progressing < Missing < Degraded < Unknown.

    Objects that only inform do not count; an empty set is Healthy.
    """
    deciding = (found.health for found in healths if not found.advisory)
    return max(deciding, key=_ORDER.index, default=Health.HEALTHY)
