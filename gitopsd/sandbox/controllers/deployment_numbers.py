"""The numbers of a Deployment: what it wants, what its ReplicaSets have. Pure.

Rules: ``pkg/controller/deployment/util/deployment_util.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.amounts import scaled
from gitopsd.sandbox.controllers.reading import annotations_of, count_at
from gitopsd.sandbox.fields import field_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitopsd.domain.manifests import JsonObject

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
# The largest value stands for "never" in fields that cannot be left out.
NEVER = 2**31 - 1
_DEFAULT_DEADLINE_SECONDS = 600
_DEFAULT_HISTORY = 10


def wanted(workload: JsonObject) -> int:
    """``spec.replicas``."""
    return count_at(workload, "spec", "replicas", default=1)


def is_rolling(deployment: JsonObject) -> bool:
    """Whether it replaces its pods bit by bit."""
    return text_at(deployment, "spec", "strategy", "type", default="RollingUpdate") != "Recreate"


def surge_and_unavailable(deployment: JsonObject) -> tuple[int, int]:
    """How many pods there may be above, and how many may be missing below what is wanted.

    Both at zero would stand still: then one may be missing.
    """
    total = wanted(deployment)
    path = ("spec", "strategy", "rollingUpdate")
    surge = scaled(field_at(deployment, *path, "maxSurge"), total, up=True)
    missing = scaled(field_at(deployment, *path, "maxUnavailable"), total, up=False)
    return (surge, missing) if surge or missing else (0, 1)


def max_surge(deployment: JsonObject) -> int:
    """How many pods there may be above what is wanted."""
    return surge_and_unavailable(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: JsonObject) -> int:
    """How many pods may be missing."""
    total = wanted(deployment)
    if not is_rolling(deployment) or total == 0:
        return 0
    return min(surge_and_unavailable(deployment)[1], total)


def deadline_seconds(deployment: JsonObject) -> int | None:
    """``spec.progressDeadlineSeconds``; None: it may take for ever."""
    found = count_at(
        deployment, "spec", "progressDeadlineSeconds", default=_DEFAULT_DEADLINE_SECONDS
    )
    return None if found == NEVER else found


def history_limit(deployment: JsonObject) -> int | None:
    """How many old ReplicaSets are kept; None: all."""
    found = count_at(deployment, "spec", "revisionHistoryLimit", default=_DEFAULT_HISTORY)
    return None if found == NEVER else found


def revision_of(item: JsonObject) -> int:
    """The revision that an object's annotation says; 0 when it says none."""
    try:
        return int(annotations_of(item).get(REVISION, "0"))
    except ValueError:
        return 0


def annotated_number(replica_set: JsonObject, name: str) -> int | None:
    """A number that the Deployment noted on its ReplicaSet; None when it is none."""
    text = annotations_of(replica_set).get(name, "")
    return int(text) if text.isdecimal() and int(text) <= NEVER else None


def size_annotations(deployment: JsonObject) -> dict[str, str]:
    """What a ReplicaSet is told of its Deployment's size, to see later that it changed."""
    total = wanted(deployment)
    return {DESIRED_REPLICAS: str(total), MAX_REPLICAS: str(total + max_surge(deployment))}


def spec_sum(sets: Iterable[JsonObject]) -> int:
    """How many pods some ReplicaSets want."""
    return sum(wanted(item) for item in sets)


def status_sum(sets: Iterable[JsonObject], field: str) -> int:
    """The sum of a number in some ReplicaSets' statuses."""
    return sum(count_at(item, "status", field) for item in sets)


def active(sets: Iterable[JsonObject]) -> list[JsonObject]:
    """The ReplicaSets that want pods."""
    return [item for item in sets if wanted(item) > 0]


def terminating_sum(sets: Sequence[JsonObject]) -> int | None:
    """How many of some ReplicaSets' pods are on their way out; None while one has not said."""
    total = 0
    for item in sets:
        said = field_at(item, "status", "terminatingReplicas")
        if said is None and count_at(item, "status", "observedGeneration"):
            return None
        total += count_at(item, "status", "terminatingReplicas")
    return total


def is_complete(deployment: JsonObject, status: JsonObject) -> bool:
    """Whether, by a status, all wanted pods are new and available and no old one is there."""
    total = wanted(deployment)
    return (
        count_at(status, "updatedReplicas") == total
        and count_at(status, "replicas") == total
        and count_at(status, "availableReplicas") == total
        and count_at(status, "observedGeneration") >= count_at(deployment, "metadata", "generation")
    )
