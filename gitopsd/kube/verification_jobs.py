"""Jobs that verify: made from a template of the rendered set, one for each attempt.

Theory: an attempt is one Job with one try, so that nothing can go wrong in it unseen. Whatever the
template says, it has no retries, its containers are not restarted, and its time is bounded. What a
policy of the cluster may have changed in it is seen afterwards: a Job that is Complete although
one of its pods failed, or one of its containers was started again, has not passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.kube.hooks import find_last_end, read_result
from gitopsd.kube.names import (
    ARGO_HOOK,
    ARGO_HOOK_DELETE_POLICY,
    HOOK_ANNOTATION,
    RUN_ANNOTATION,
    VERIFICATION_ANNOTATION,
)
from gitopsd.kube.objects import (
    annotations_of,
    condition_true,
    is_terminating,
    kind_of,
    labels_of,
    mapping_at,
    name_of,
    namespace_of,
    number_at,
    string_at,
)
from gitopsd.kube.restarts import count_restarts

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

LEFT_BEHIND_SECONDS = 3600
"""After how long the cluster itself removes a Job that nobody took away."""

_NAME_ROOM = 54
"""Characters of the template's name that fit before the mark of the attempt."""

_LABEL_ROOM = 63

_NEVER_TAKEN = frozenset(
    {
        "backoffLimitPerIndex",
        "managedBy",
        "manualSelector",
        "maxFailedIndexes",
        "podFailurePolicy",
        "podReplacementPolicy",
        "selector",
        "successPolicy",
        "suspend",
    }
)
"""Fields of a Job's spec by which it could try again, wait, or succeed with failed pods."""

_HOOK_MARKS = frozenset({HOOK_ANNOTATION, ARGO_HOOK, ARGO_HOOK_DELETE_POLICY})


class JobState(Enum):
    """How a verification stands."""

    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobVerdict:
    """How a verification stands, in a clause.

    Attributes:
        state: The state.
        message: Why.
    """

    state: JobState
    message: str


def find_template(objects: Iterable[JsonObject], name: str) -> JsonObject | None:
    """Find the Job of that name among templates; None when there is none."""
    return next((obj for obj in objects if kind_of(obj) == "Job" and name_of(obj) == name), None)


def name_verification_job(template: str, run: str, attempt: str) -> str:
    """Name the Job of an attempt: the same again for the same attempt, and for no other."""
    mark = hashlib.sha256(f"{run}/{attempt}".encode()).hexdigest()[:8]
    return f"{template[:_NAME_ROOM].rstrip('-.')}-{mark}"


def make_verification_job(
    template: JsonObject,
    run: str,
    attempt: str,
    *,
    namespace: str,
    labels: Mapping[str, str],
    timeout: timedelta,
) -> JsonObject:
    """Make the Job of an attempt.

    Args:
        template: The Job of the rendered set.
        run: Run that is verified.
        attempt: The attempt's name.
        namespace: The stage's, for a template that names none.
        labels: Labels that every object of the stage carries.
        timeout: How long it may run.
    """
    mark = {RUN_ANNOTATION: run[-_LABEL_ROOM:].lstrip("-._")}
    kept = {key: text for key, text in annotations_of(template).items() if key not in _HOOK_MARKS}
    spec = {
        key: value for key, value in mapping_at(template, "spec").items() if key not in _NEVER_TAKEN
    }
    pod = mapping_at(spec, "template")
    pod_metadata = mapping_at(pod, "metadata")
    spec |= {
        "backoffLimit": 0,
        "activeDeadlineSeconds": max(int(timeout.total_seconds()), 1),
        "ttlSecondsAfterFinished": LEFT_BEHIND_SECONDS,
        "template": {
            **pod,
            "metadata": {
                **pod_metadata,
                "labels": {**mapping_at(pod_metadata, "labels"), **mark},
            },
            "spec": {**mapping_at(pod, "spec"), "restartPolicy": "Never"},
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_verification_job(name_of(template), run, attempt),
            "namespace": namespace_of(template) or namespace,
            "labels": {**labels_of(template), **labels, **mark},
            "annotations": {**kept, RUN_ANNOTATION: run, VERIFICATION_ANNOTATION: attempt},
        },
        "spec": spec,
    }


def is_of_attempt(job: JsonObject, run: str, attempt: str) -> bool:
    """Whether a Job was made for this attempt of this run."""
    marks = annotations_of(job)
    return marks.get(RUN_ANNOTATION) == run and marks.get(VERIFICATION_ANNOTATION) == attempt


def judge_verification_job(
    job: JsonObject, pods: Iterable[JsonObject], timeout: timedelta
) -> JobVerdict:
    """Judge a Job by itself and its pods.

    Args:
        job: The live Job.
        pods: Its pods.
        timeout: How long it may run, for the sentence.
    """
    owned = tuple(pods)
    failed = max(
        number_at(job, "status", "failed"),
        sum(string_at(pod, "status", "phase") == "Failed" for pod in owned),
    )
    if _is_late(job):
        said = f"it did not end within {timeout.total_seconds():g} s"
        return JobVerdict(JobState.FAILED, said)
    result = read_result(job)
    if result is not None and not result.succeeded:
        return JobVerdict(JobState.FAILED, f"{result.message or 'it failed'}{_say_end(owned)}")
    if failed:
        many = "one of its pods" if failed == 1 else f"{failed} of its pods"
        said = f"{many} failed{_say_end(owned)}"
        if result is not None:
            said += ", and another one succeeded: every pod has to"
        return JobVerdict(JobState.FAILED, said)
    restarts = count_restarts(owned)
    if restarts:
        times = "once" if restarts == 1 else f"{restarts} times"
        return JobVerdict(JobState.FAILED, f"a container was started again, {times}")
    if result is not None:
        return JobVerdict(JobState.PASSED, "it is complete")
    if is_terminating(job):
        return JobVerdict(JobState.RUNNING, "somebody deletes it")
    active = number_at(job, "status", "active")
    return JobVerdict(JobState.RUNNING, "it runs" if active else "it has not started a pod yet")


def _is_late(job: JsonObject) -> bool:
    """Whether its time is over: said before its pods, which are stopped then, have ended."""
    found = (condition_true(job, kind) for kind in ("Failed", "FailureTarget"))
    return any(one is not None and one.reason == "DeadlineExceeded" for one in found)


def _say_end(pods: tuple[JsonObject, ...]) -> str:
    end = find_last_end(pods)
    return f": {end.message}" if end is not None else ""
