"""Pods as controllers see them: alive, ready, available; made from templates; ranked. Pure.

Rules: ``pkg/controller/controller_utils.go``, ``pkg/api/v1/pod/util.go``.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import TRUE, conditions_of, find_condition, is_true
from gitopsd.sandbox.controllers.ownership import controller_reference
from gitopsd.sandbox.controllers.reading import count_at, is_deleted, name_of, time_at, uid_of
from gitopsd.sandbox.fields import object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.controllers.facts import Kind

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
# Leaves room in a name of 253 characters for the random end.
_LONGEST_PREFIX = 253 - 5


def phase_of(pod: JsonObject) -> str:
    """``status.phase``; empty before the pod is made."""
    return text_at(pod, "status", "phase")


def is_finished(pod: JsonObject) -> bool:
    """Whether all its containers have ended for good."""
    return phase_of(pod) in {"Succeeded", "Failed"}


def is_active(pod: JsonObject) -> bool:
    """Whether a pod counts as one that runs or will."""
    return not is_finished(pod) and not is_deleted(pod)


def is_terminating(pod: JsonObject) -> bool:
    """Whether it has been told to go and has not ended."""
    return not is_finished(pod) and is_deleted(pod)


def is_ready(pod: JsonObject) -> bool:
    """Whether its condition Ready is True."""
    return is_true(pod, "Ready")


def ready_since(pod: JsonObject) -> datetime | None:
    """When it became ready; None while it is not."""
    condition = find_condition(conditions_of(pod), "Ready")
    if condition is None or condition.get("status") != TRUE:
        return None
    return time_at(condition, "lastTransitionTime")


def available_in(pod: JsonObject, min_ready: timedelta, now: datetime) -> timedelta | None:
    """How long until it is available if it stays ready: zero when it is; None while not ready."""
    if not is_ready(pod):
        return None
    if not min_ready:
        return timedelta()
    since = ready_since(pod)
    if since is None:
        return min_ready
    return max(since + min_ready - now, timedelta())


def is_available(pod: JsonObject, min_ready: timedelta, now: datetime) -> bool:
    """Whether it has been ready for `min_ready`."""
    return available_in(pod, min_ready, now) == timedelta()


def min_ready_of(workload: JsonObject) -> timedelta:
    """``spec.minReadySeconds``."""
    return timedelta(seconds=count_at(workload, "spec", "minReadySeconds"))


def next_available(
    pods: Sequence[JsonObject], min_ready: timedelta, now: datetime
) -> timedelta | None:
    """How long until the next of some ready pods becomes available; None when none will."""
    waits = (available_in(pod, min_ready, now) for pod in pods)
    return min((wait for wait in waits if wait), default=None)


def pod_from_template(template: JsonObject, owner: JsonObject, kind: Kind) -> dict[str, Json]:
    """The pod that an owner makes from its template, named after it."""
    metadata: dict[str, Json] = {
        "generateName": f"{name_of(owner)[:_LONGEST_PREFIX]}-",
        "labels": dict(object_at(template, "metadata", "labels")),
    }
    annotations = object_at(template, "metadata", "annotations")
    if annotations:
        metadata["annotations"] = dict(annotations)
    finalizers = texts_at(template, "metadata", "finalizers")
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    metadata["ownerReferences"] = [controller_reference(owner, kind)]
    return {"metadata": metadata, "spec": dict(object_at(template, "spec"))}


def restarts_of(pod: JsonObject) -> tuple[int, int]:
    """The most restarts of any container, and of any sidecar."""
    statuses = objects_at(pod, "status", "containerStatuses")
    sidecars = {
        text_at(spec, "name")
        for spec in objects_at(pod, "spec", "initContainers")
        if text_at(spec, "restartPolicy") == "Always"
    }
    regular = max((count_at(item, "restartCount") for item in statuses), default=0)
    beside = max(
        (
            count_at(item, "restartCount")
            for item in objects_at(pod, "status", "initContainerStatuses")
            if text_at(item, "name") in sidecars
        ),
        default=0,
    )
    return regular, beside


def first_to_go(
    pods: Sequence[JsonObject], related: Sequence[JsonObject], now: datetime
) -> list[JsonObject]:
    """Active pods in the order in which they are deleted when there are too many.

    Unassigned first, then by phase, not ready, cheap to delete, beside others on their node,
    ready for a short time, often restarted, young.

    Args:
        pods: Those to order.
        related: Pods of the same owner's owner; those that share a node raise each other's rank.
        now: Ages are compared by their power of two, so that among old ones chance decides (uid).
    """
    crowds: dict[str, int] = {}
    for pod in related:
        if is_active(pod):
            node = text_at(pod, "spec", "nodeName")
            crowds[node] = crowds.get(node, 0) + 1

    def rank(pod: JsonObject) -> tuple[int | str, ...]:
        node = text_at(pod, "spec", "nodeName")
        regular, beside = restarts_of(pod)
        ready = is_ready(pod)
        return (
            0 if not node else 1,
            _PHASES.get(phase_of(pod), 0),
            1 if ready else 0,
            _deletion_cost(pod),
            -crowds.get(node, 0),
            _magnitude(ready_since(pod), now) if ready else 0,
            -regular,
            -beside,
            _magnitude(time_at(pod, "metadata", "creationTimestamp"), now),
            uid_of(pod),
        )

    return sorted(pods, key=rank)


def _magnitude(since: datetime | None, now: datetime) -> int:
    """The power of two of an age in nanoseconds; -1 for what has none."""
    age = (now - since).total_seconds() * 1e9 if since is not None else 0
    return int(math.log2(age)) if age > 0 else -1


def _deletion_cost(pod: JsonObject) -> int:
    text = text_at(pod, "metadata", "annotations", DELETION_COST)
    try:
        return int(text)
    except ValueError:
        return 0


def ready_numbers(
    pods: Sequence[JsonObject], min_ready: timedelta, now: datetime
) -> Mapping[str, int]:
    """How many are ready and how many available, by the names of workload statuses."""
    ready = [pod for pod in pods if is_ready(pod)]
    return {
        "readyReplicas": len(ready),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in ready),
    }
