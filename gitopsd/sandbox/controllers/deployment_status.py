"""A Deployment's status: numbers, Available, Progressing and its deadline, ReplicaFailure. Pure.

Rules: ``pkg/controller/deployment/{sync,progress}.go``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    UNKNOWN,
    conditions_of,
    find_condition,
    make_condition,
    set_last,
    without_condition,
)
from gitopsd.sandbox.controllers.deployment_numbers import (
    deadline_seconds,
    is_complete,
    max_unavailable,
    spec_sum,
    status_sum,
    terminating_sum,
    wanted,
)
from gitopsd.sandbox.controllers.reading import count_at, name_of, time_at
from gitopsd.sandbox.fields import flag_at, object_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.controllers.deployment_revisions import Generations

PROGRESSING, AVAILABLE, REPLICA_FAILURE = "Progressing", "Available", "ReplicaFailure"
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
# Looked at a second late, so that the deadline has passed by every clock's rounding.
_AFTER_DEADLINE = timedelta(seconds=1)


def progress_condition(status: str, reason: str, message: str, now: datetime) -> JsonObject:
    """A condition Progressing that begins now."""
    return make_condition(
        PROGRESSING, status, reason, message, stamp(now), dates=("lastUpdateTime",)
    )


def progress_of(deployment: JsonObject) -> JsonObject | None:
    """The condition Progressing as it is."""
    return find_condition(conditions_of(deployment), PROGRESSING)


def pause_condition(deployment: JsonObject, now: datetime) -> JsonObject | None:
    """The condition to set because the Deployment was paused or resumed; None: neither."""
    if deadline_seconds(deployment) is None:
        return None
    reason = text_at(progress_of(deployment), "reason")
    paused = flag_at(deployment, "spec", "paused")
    if reason == TIMED_OUT or paused == (reason == PAUSED):
        return None
    said = (PAUSED, "Deployment is paused") if paused else (RESUMED, "Deployment is resumed")
    return progress_condition(UNKNOWN, *said, now)


def with_progress(deployment: JsonObject, condition: JsonObject) -> dict[str, Json]:
    """The status with a condition Progressing set and everything else as it is."""
    conditions = set_last(conditions_of(deployment), condition)
    return {**object_at(deployment, "status"), "conditions": conditions}


def count_up(deployment: JsonObject, found: Generations, now: datetime) -> dict[str, Json]:
    """The status by what the ReplicaSets say: numbers and Available."""
    sets = found.all
    available = status_sum(sets, "availableReplicas")
    numbers = {
        "observedGeneration": count_at(deployment, "metadata", "generation"),
        "replicas": status_sum(sets, "replicas"),
        "updatedReplicas": count_at(found.new, "status", "replicas"),
        "readyReplicas": status_sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(spec_sum(sets) - available, 0),
    }
    status: dict[str, Json] = {name: number for name, number in numbers.items() if number}
    terminating = terminating_sum(sets)
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    if "collisionCount" in object_at(deployment, "status"):
        status["collisionCount"] = count_at(deployment, "status", "collisionCount")
    enough = available >= wanted(deployment) - max_unavailable(deployment)
    said = (
        (TRUE, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else (FALSE, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    condition = make_condition(AVAILABLE, *said, stamp(now), dates=("lastUpdateTime",))
    status["conditions"] = set_last(conditions_of(deployment), condition)
    return status


def rollout_status(deployment: JsonObject, found: Generations, now: datetime) -> dict[str, Json]:
    """The status during a rollout: `count_up`, progress and failures of ReplicaSets."""
    status = count_up(deployment, found, now)
    conditions = conditions_of({"status": status})
    if deadline_seconds(deployment) is None:
        conditions = without_condition(conditions, PROGRESSING)
    else:
        conditions = _estimate(deployment, found, status, conditions, now)
    failure = _failure(found)
    conditions = (
        without_condition(conditions, REPLICA_FAILURE)
        if failure is None
        else set_last(conditions, failure)
    )
    status["conditions"] = conditions
    return status


def look_again(deployment: JsonObject, status: JsonObject, now: datetime) -> timedelta | None:
    """How long until the deadline has to be looked at; None when there is none to come."""
    seconds, condition = deadline_seconds(deployment), progress_of(deployment)
    if seconds is None or condition is None or is_complete(deployment, status):
        return None
    since = time_at(condition, "lastUpdateTime")
    if text_at(condition, "reason") == TIMED_OUT or since is None:
        return None
    return max(since + timedelta(seconds=seconds) - now, timedelta()) + _AFTER_DEADLINE


def _estimate(
    deployment: JsonObject,
    found: Generations,
    status: JsonObject,
    conditions: list[JsonObject],
    now: datetime,
) -> list[JsonObject]:
    current = progress_of(deployment)
    is_over = text_at(current, "reason") == COMPLETE
    if is_over and count_at(status, "replicas") == count_at(status, "updatedReplicas"):
        return conditions
    subject = (
        f'Deployment "{name_of(deployment)}"'
        if found.new is None
        else f'ReplicaSet "{name_of(found.new)}"'
    )
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        return set_last(conditions, progress_condition(TRUE, COMPLETE, message, now))
    if _moved(deployment, status):
        message = f"{subject} is progressing."
        condition = progress_condition(TRUE, "ReplicaSetUpdated", message, now)
        if current is not None and current.get("status") == TRUE:
            condition = {**condition, "lastTransitionTime": current.get("lastTransitionTime")}
        # Said anew even with the same reason: lastUpdateTime is what the deadline counts from.
        return [*without_condition(conditions, PROGRESSING), condition]
    if _is_late(deployment, conditions, now):
        message = f"{subject} has timed out progressing."
        return set_last(conditions, progress_condition(FALSE, TIMED_OUT, message, now))
    return conditions


def _moved(deployment: JsonObject, new: JsonObject) -> bool:
    old = object_at(deployment, "status")
    had_old = count_at(old, "replicas") - count_at(old, "updatedReplicas")
    has_old = count_at(new, "replicas") - count_at(new, "updatedReplicas")
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return has_old < had_old or any(count_at(new, name) > count_at(old, name) for name in grown)


def _is_late(deployment: JsonObject, conditions: list[JsonObject], now: datetime) -> bool:
    condition, seconds = find_condition(conditions, PROGRESSING), deadline_seconds(deployment)
    reason = text_at(condition, "reason")
    if reason == TIMED_OUT:
        return True
    since = time_at(condition, "lastUpdateTime")
    if since is None or seconds is None or reason == COMPLETE:
        return False
    return since + timedelta(seconds=seconds) < now


def _failure(found: Generations) -> JsonObject | None:
    """The first ReplicaSet's failure as the Deployment's; the new one's before old ones'."""
    sets = found.all if found.new is None else (found.new, *found.old)
    for item in sets:
        condition = find_condition(conditions_of(item), REPLICA_FAILURE)
        if condition is not None:
            return {**condition, "lastUpdateTime": condition.get("lastTransitionTime")}
    return None
