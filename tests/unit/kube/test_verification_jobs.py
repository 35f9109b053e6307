"""Jobs that verify: what is made of a template, and how one is judged."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.kube.verification_jobs import (
    JobState,
    find_template,
    is_of_attempt,
    judge_verification_job,
    make_verification_job,
    name_verification_job,
)

MINUTE = timedelta(minutes=1)
RUN = "shop-staging-rollout-0123abcd"
TEMPLATE: JsonObject = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": "smoke",
        "labels": {"app": "smoke"},
        "annotations": {"gitopsd.io/hook": "Verify", "note": "kept"},
    },
    "spec": {
        "backoffLimit": 6,
        "backoffLimitPerIndex": 3,
        "maxFailedIndexes": 3,
        "podFailurePolicy": {"rules": []},
        "podReplacementPolicy": "Failed",
        "successPolicy": {"rules": []},
        "suspend": True,
        "ttlSecondsAfterFinished": 1,
        "activeDeadlineSeconds": 86400,
        "completions": 2,
        "template": {
            "metadata": {"labels": {"app": "smoke"}},
            "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "smoke"}]},
        },
    },
}


def make(template: JsonObject = TEMPLATE, attempt: str = "verify-1", run: str = RUN) -> JsonObject:
    """Make the Job of an attempt."""
    return make_verification_job(
        template,
        run,
        attempt,
        namespace="shop",
        labels={"gitopsd.io/stage": "staging"},
        timeout=5 * MINUTE,
    )


def test_nothing_of_a_template_can_hide_a_failure() -> None:
    """No second try, no restart, no policy about failed pods, and a bound: whatever it says."""
    job = make()
    assert job["spec"] == {
        "backoffLimit": 0,
        "activeDeadlineSeconds": 300,
        "ttlSecondsAfterFinished": 3600,
        "completions": 2,
        "template": {
            "metadata": {"labels": {"app": "smoke", "gitopsd.io/run": RUN}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "smoke"}]},
        },
    }
    assert job["metadata"] == {
        "name": name_verification_job("smoke", RUN, "verify-1"),
        "namespace": "shop",
        "labels": {"app": "smoke", "gitopsd.io/stage": "staging", "gitopsd.io/run": RUN},
        "annotations": {
            "note": "kept",
            "gitopsd.io/run": RUN,
            "gitopsd.io/verification": "verify-1",
        },
    }


def test_a_template_may_have_little() -> None:
    """A namespace of its own is kept; a run with a long name still makes a label."""
    metadata: JsonObject = {"name": "x" * 63, "namespace": "other"}
    job = make({"kind": "Job", "metadata": metadata}, run=f"{'a' * 70}-b")
    found = job["metadata"]
    assert isinstance(found, dict)
    assert found["namespace"] == "other"
    assert len(str(found["name"])) <= 63
    labels = found["labels"]
    assert isinstance(labels, dict)
    assert len(str(labels["gitopsd.io/run"])) == 63
    assert is_of_attempt(job, f"{'a' * 70}-b", "verify-1")


def test_each_attempt_has_a_name_of_its_own() -> None:
    """The same one again for the same attempt, so that a Job is found after a crash."""
    names = {
        name_verification_job("smoke", run, attempt)
        for run in (RUN, f"{RUN}-rb")
        for attempt in ("verify-1", "verify-2", "certify-1")
    }
    assert len(names) == 6
    assert name_verification_job("smoke", RUN, "verify-1") in names
    assert all(name.startswith("smoke-") for name in names)


def test_a_job_is_known_by_run_and_attempt() -> None:
    """Another run's, another attempt's, and a stranger's are not this one."""
    assert is_of_attempt(make(), RUN, "verify-1")
    assert not is_of_attempt(make(), RUN, "verify-2")
    assert not is_of_attempt(make(), f"{RUN}-rb", "verify-1")
    assert not is_of_attempt(TEMPLATE, RUN, "verify-1")


def test_a_template_is_a_job_of_that_name() -> None:
    """A Pod of that name is none."""
    pod: JsonObject = {"kind": "Pod", "metadata": {"name": "smoke"}}
    assert find_template([pod, TEMPLATE], "smoke") is TEMPLATE
    assert find_template([pod], "smoke") is None
    assert find_template([TEMPLATE], "load") is None


def pod(phase: str, *, code: int | None = None, restarts: int = 0) -> JsonObject:
    """A pod of the Job."""
    state: JsonObject = {"running": {}}
    if code is not None:
        state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
    return {
        "kind": "Pod",
        "metadata": {"name": "smoke-x"},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "smoke", "restartCount": restarts, "state": state}],
        },
    }


def job(condition: str = "", reason: str = "", **status: Json) -> JsonObject:
    """The live Job."""
    conditions: list[Json] = []
    if condition:
        conditions = [{"type": condition, "status": "True", "reason": reason, "message": ""}]
    return {**make(), "status": {**status, "conditions": conditions}}


EXITED = "container smoke exited with 1"
CASES: dict[str, tuple[JsonObject, list[JsonObject], JobState, str]] = {
    "just made": (job(), [], JobState.RUNNING, "it has not started a pod yet"),
    "runs": (job(active=1), [pod("Running")], JobState.RUNNING, "it runs"),
    "complete": (
        job("Complete", succeeded=1),
        [pod("Succeeded", code=0)],
        JobState.PASSED,
        "it is complete",
    ),
    "complete, its pods gone": (job("Complete"), [], JobState.PASSED, "it is complete"),
    "nearly complete": (
        job("SuccessCriteriaMet", active=0),
        [pod("Succeeded", code=0)],
        JobState.RUNNING,
        "it has not started a pod yet",
    ),
    "failed": (
        job("Failed", "BackoffLimitExceeded", failed=1),
        [pod("Failed", code=1)],
        JobState.FAILED,
        f"BackoffLimitExceeded: {EXITED}",
    ),
    "failed without a word": (job("Failed"), [], JobState.FAILED, "it failed"),
    "late": (
        job("Failed", "DeadlineExceeded", failed=1),
        [],
        JobState.FAILED,
        "it did not end within 300 s",
    ),
    "late, its pods still being stopped": (
        job("FailureTarget", "DeadlineExceeded"),
        [pod("Failed", code=137)],
        JobState.FAILED,
        "it did not end within 300 s",
    ),
    "its second pod succeeded": (
        job("Complete", succeeded=1, failed=1),
        [pod("Failed", code=1), pod("Succeeded", code=0)],
        JobState.FAILED,
        f"one of its pods failed: {EXITED}, and another one succeeded: every pod has to",
    ),
    "its third pod succeeded, the others are gone": (
        job("Complete", succeeded=1, failed=2),
        [pod("Succeeded", code=0)],
        JobState.FAILED,
        "2 of its pods failed, and another one succeeded: every pod has to",
    ),
    "its second pod runs": (
        job(active=1),
        [pod("Failed", code=1), pod("Running")],
        JobState.FAILED,
        f"one of its pods failed: {EXITED}",
    ),
    "its container's second start succeeded": (
        job("Complete", succeeded=1),
        [pod("Succeeded", code=0, restarts=1)],
        JobState.FAILED,
        "a container was started again, once",
    ),
    "its container is started again and again": (
        job(active=1),
        [pod("Running", restarts=3)],
        JobState.FAILED,
        "a container was started again, 3 times",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_only_a_job_without_any_failure_passes(case: str) -> None:
    """Complete is not enough: a pod that failed before, or a restart, is a failure."""
    live, pods, state, message = CASES[case]
    verdict = judge_verification_job(live, pods, 5 * MINUTE)
    assert (verdict.state, verdict.message) == (state, message)


def test_a_job_that_is_being_deleted_is_waited_for() -> None:
    """Somebody takes it away: how it ends will be seen, or that it is gone."""
    live = {**make(), "metadata": {"name": "smoke", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    verdict = judge_verification_job(live, [], 5 * MINUTE)
    assert (verdict.state, verdict.message) == (JobState.RUNNING, "somebody deletes it")
