"""How a Job counts its pods: each once, and only when the count is safely written. Pure.

Rules: ``pkg/controller/job/{job_controller,tracking_utils,backoff_utils}.go``. A finished pod is
first noted by its uid in the status, then loses its finalizer, then counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import FALSE, conditions_of, find_condition
from gitopsd.sandbox.controllers.pods import is_active, is_ready, is_terminating, phase_of
from gitopsd.sandbox.controllers.reading import (
    count_at,
    finalizers_of,
    is_deleted,
    time_at,
    uid_of,
)
from gitopsd.sandbox.fields import objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

TRACKING = "batch.kubernetes.io/job-tracking"
FIRST_BACK_OFF = timedelta(seconds=10)
LONGEST_BACK_OFF = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Tally:
    """A Job's pods, sorted out.

    Attributes:
        pods: All of them.
        active: Those that run or will.
        counted: How many have succeeded and failed by the status alone.
        noted: Uids that the status notes as succeeded and as failed, whose pods still have the
            finalizer.
        fresh_succeeded: Finished pods that are not noted yet.
        fresh_failed: As above.
    """

    pods: tuple[JsonObject, ...]
    active: tuple[JsonObject, ...]
    counted: tuple[int, int]
    noted: tuple[tuple[str, ...], tuple[str, ...]]
    fresh_succeeded: tuple[JsonObject, ...]
    fresh_failed: tuple[JsonObject, ...]

    @property
    def succeeded(self) -> int:
        """How many have succeeded, counted or not."""
        return self.counted[0] + len(self.noted[0]) + len(self.fresh_succeeded)

    @property
    def failed(self) -> int:
        """How many have failed, counted or not."""
        return self.counted[1] + len(self.noted[1]) + len(self.fresh_failed)

    @property
    def terminating(self) -> int:
        """How many are on their way out."""
        return sum(is_terminating(pod) for pod in self.pods)

    @property
    def ready(self) -> int:
        """How many of the active ones are ready."""
        return sum(is_ready(pod) for pod in self.active)


def tally(job: JsonObject, pods: Sequence[JsonObject]) -> Tally:
    """Sort out a Job's pods by what its status says; noted pods that are free count now."""
    tracked = {uid_of(pod) for pod in pods if is_tracked(pod)}
    path = ("status", "uncountedTerminatedPods")
    noted_succeeded = texts_at(job, *path, "succeeded")
    noted_failed = texts_at(job, *path, "failed")
    still = (
        tuple(uid for uid in noted_succeeded if uid in tracked),
        tuple(uid for uid in noted_failed if uid in tracked),
    )
    counted = (
        count_at(job, "status", "succeeded") + len(noted_succeeded) - len(still[0]),
        count_at(job, "status", "failed") + len(noted_failed) - len(still[1]),
    )
    return Tally(
        pods=tuple(pods),
        active=tuple(pod for pod in pods if is_active(pod)),
        counted=counted,
        noted=still,
        fresh_succeeded=tuple(
            pod
            for pod in pods
            if is_tracked(pod)
            and phase_of(pod) == "Succeeded"
            and uid_of(pod) not in {*noted_succeeded, *noted_failed}
        ),
        fresh_failed=tuple(
            pod
            for pod in pods
            if is_tracked(pod) and has_failed(pod, job) and uid_of(pod) not in noted_failed
        ),
    )


def is_tracked(pod: JsonObject) -> bool:
    """Whether a pod has not been counted for good."""
    return TRACKING in finalizers_of(pod)


def has_failed(pod: JsonObject, job: JsonObject) -> bool:
    """Whether a pod counts as failed: one that is deleted does, unless only failed ones shall."""
    if phase_of(pod) == "Failed":
        return True
    if text_at(job, "spec", "podReplacementPolicy") == "Failed":
        return False
    return is_deleted(pod) and phase_of(pod) != "Succeeded"


def back_off(pods: Sequence[JsonObject], job: JsonObject, now: datetime) -> timedelta:
    """How long a new pod has to wait: longer after each failure since the last success."""
    last_success = max(
        (_finished_at(pod) for pod in pods if phase_of(pod) == "Succeeded"), default=None
    )
    failures = sorted(
        moment
        for moment in (_finished_at(pod) for pod in pods if has_failed(pod, job))
        if last_success is None or moment > last_success
    )
    if not failures:
        return timedelta()
    wait = min(FIRST_BACK_OFF * (1 << min(len(failures) - 1, 16)), LONGEST_BACK_OFF)
    return max(wait - (now - failures[-1]), timedelta())


def _finished_at(pod: JsonObject) -> datetime:
    """When a pod ended: its last container, else since when it is not ready, else its deletion."""
    ends = [
        time_at(status, "state", "terminated", "finishedAt")
        for status in objects_at(pod, "status", "containerStatuses")
    ]
    known = [end for end in ends if end is not None]
    if known and len(known) == len(ends):
        return max(known)
    unready = find_condition(conditions_of(pod), "Ready")
    if unready is not None and unready.get("status") == FALSE:
        since = time_at(unready, "lastTransitionTime")
        if since is not None:
            return since
    deleted = time_at(pod, "metadata", "deletionTimestamp")
    if deleted is not None:
        return deleted - timedelta(seconds=count_at(pod, "metadata", "deletionGracePeriodSeconds"))
    made = time_at(pod, "metadata", "creationTimestamp")
    return made if made is not None else datetime(1970, 1, 1, tzinfo=UTC)


def said_uncounted(succeeded: Sequence[str], failed: Sequence[str]) -> dict[str, Json]:
    """``status.uncountedTerminatedPods``; it is there even when it is empty."""
    said: dict[str, Json] = {}
    if succeeded:
        said["succeeded"] = list(succeeded)
    if failed:
        said["failed"] = list(failed)
    return said
