"""Jobs and CronJobs on the sandbox: counted once, ended in time, cleaned up."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.controllers.facts import CRON_JOB, JOB, POD
from tests.support.controller_world import World, conditions

UID = "batch.kubernetes.io/controller-uid"
TRACKING = "batch.kubernetes.io/job-tracking"


def job_spec(**spec: object) -> dict[str, Any]:
    """The spec of a Job, as the API completes it but for the Job's uid."""
    return {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "selector": {"matchLabels": {"job-name": "work"}},
        "template": {
            "metadata": {"labels": {"job-name": "work"}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "work", "image": "work:1"}],
            },
        },
        **spec,
    }


def world_with(**spec: object) -> World:
    """A world with the Job ``work``."""
    world = World.whole()
    world.make(JOB, "work", spec=job_spec(**spec))
    world.settle()
    return world


def end(world: World, phase: str, count: int = 1) -> None:
    """End so many of the pods that wait or run."""
    live = [pod for pod in world.all(POD) if pod["status"]["phase"] in {"Pending", "Running"}]
    for pod in live[:count]:
        world.set_pod(pod["metadata"]["name"], phase)
    world.settle()


def work(world: World) -> dict[str, Any]:
    """The Job."""
    return world.get(JOB, "work")


def test_a_job_is_complete_when_enough_pods_have_succeeded() -> None:
    """Both conditions are there, and the pods stay, free of their finalizer."""
    world = world_with(completions=3, parallelism=2)
    assert len(world.all(POD)) == 2
    assert all(pod["metadata"]["finalizers"] == [TRACKING] for pod in world.all(POD))
    assert work(world)["status"] == {
        "startTime": "2026-03-01T12:00:00Z",
        "active": 2,
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
    }
    end(world, "Succeeded", 2)
    assert (work(world)["status"]["succeeded"], work(world)["status"]["active"]) == (2, 1)
    world.advance(seconds=60)
    end(world, "Succeeded")

    status = work(world)["status"]
    assert conditions(work(world)) == {
        "SuccessCriteriaMet": ("True", "CompletionsReached"),
        "Complete": ("True", "CompletionsReached"),
    }
    assert status["succeeded"] == 3
    assert status["completionTime"] == "2026-03-01T12:01:00Z"
    assert status["uncountedTerminatedPods"] == {}
    assert "active" not in status
    assert all("finalizers" not in pod["metadata"] for pod in world.all(POD))
    assert world.events()[-1] == ("Normal", "Completed", "Job completed")


def test_failures_are_retried_later_each_time() -> None:
    """10 seconds, then 20, then 40; success ends it."""
    world = world_with()
    for wait in (10, 20, 40):
        end(world, "Failed")
        made = len(world.all(POD))
        world.advance(seconds=wait - 1)
        assert len(world.all(POD)) == made
        world.advance(seconds=2)
        assert len(world.all(POD)) == made + 1
    end(world, "Succeeded")
    assert (work(world)["status"]["failed"], work(world)["status"]["succeeded"]) == (3, 1)
    assert conditions(work(world))["Complete"] == ("True", "CompletionsReached")


def test_too_many_failures_fail_the_job() -> None:
    """The last one decides; nothing more is made."""
    world = world_with(backoffLimit=1, parallelism=2, completions=2)
    end(world, "Failed", 2)
    world.roll()
    assert conditions(work(world)) == {
        "FailureTarget": ("True", "BackoffLimitExceeded"),
        "Failed": ("True", "BackoffLimitExceeded"),
    }
    assert work(world)["status"]["failed"] == 2
    assert world.events()[-1] == (
        "Warning",
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    world.advance(hours=1)
    assert len(world.all(POD)) == 2


def test_a_job_that_takes_too_long_is_ended() -> None:
    """Its pods are told to go, and only when they are gone it has failed."""
    world = world_with(activeDeadlineSeconds=60)
    world.start_pods()
    world.advance(seconds=59)
    assert conditions(work(world)) == {}
    world.advance(seconds=2)
    assert conditions(work(world)) == {"FailureTarget": ("True", "DeadlineExceeded")}
    assert work(world)["status"]["terminating"] == 1

    world.start_pods()

    assert conditions(work(world))["Failed"] == ("True", "DeadlineExceeded")
    assert (work(world)["status"]["failed"], work(world)["status"]["terminating"]) == (1, 0)


def test_a_suspended_job_waits_and_starts_its_time_anew() -> None:
    """Its pods go without counting."""
    world = world_with()
    world.start_pods()
    world.change(JOB, "work", lambda item: item["spec"].update(suspend=True))
    world.roll()
    assert conditions(work(world)) == {"Suspended": ("True", "JobSuspended")}
    assert world.all(POD) == []
    assert "startTime" not in work(world)["status"]
    assert "failed" not in work(world)["status"]

    world.advance(minutes=5)
    world.change(JOB, "work", lambda item: item["spec"].update(suspend=False))
    world.settle()

    assert conditions(work(world)) == {"Suspended": ("False", "JobResumed")}
    assert work(world)["status"]["startTime"] == "2026-03-01T12:05:00Z"
    assert len(world.all(POD)) == 1


def test_a_deleted_pod_counts_as_failed_and_is_replaced() -> None:
    """It is counted before it may go."""
    world = world_with()
    world.start_pods()
    world.delete(POD, world.all(POD)[0]["metadata"]["name"])
    world.settle()
    assert work(world)["status"]["failed"] == 1
    world.start_pods()
    world.advance(minutes=1)
    assert [pod["status"]["phase"] for pod in world.all(POD)] == ["Pending"]


def test_a_finished_job_goes_after_its_time_to_live() -> None:
    """Its pods go with it."""
    world = world_with(ttlSecondsAfterFinished=100)
    end(world, "Succeeded")
    world.advance(seconds=99)
    assert world.all(JOB)
    world.advance(seconds=2)
    world.roll()
    assert world.all(JOB) == world.all(POD) == []


def test_pods_of_a_deleted_job_are_let_go() -> None:
    """Their finalizer does not hold them when nobody counts any more."""
    world = world_with()
    world.start_pods()
    world.delete(JOB, "work")
    world.roll()
    assert world.all(POD) == []


def test_indexed_jobs_give_each_pod_its_number() -> None:
    """In its name, its annotation, its label and its environment."""
    world = world_with(completionMode="Indexed", completions=3, parallelism=2)
    pods = {pod["metadata"]["generateName"]: pod for pod in world.all(POD)}
    assert set(pods) == {"work-0-", "work-1-"}
    first = pods["work-0-"]
    assert first["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "0"
    assert first["spec"]["hostname"] == "work-0"
    (variable,) = first["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"

    for _ in range(3):
        end(world, "Succeeded", 2)
    assert work(world)["status"]["completedIndexes"] == "0-2"
    assert conditions(work(world))["Complete"] == ("True", "CompletionsReached")


def test_restarts_in_the_pod_count_against_the_limit() -> None:
    """With OnFailure the same pod is tried again."""
    world = world_with(backoffLimit=2)
    world.change(
        JOB, "work", lambda item: item["spec"]["template"]["spec"].update(restartPolicy="OnFailure")
    )
    name = world.all(POD)[0]["metadata"]["name"]
    for restarts in (1, 2):
        assert conditions(work(world)) == {}
        world.set_pod(name, "Running", containerStatuses=[{"name": "x", "restartCount": restarts}])
        world.settle()
    world.roll()
    assert conditions(work(world))["Failed"] == ("True", "BackoffLimitExceeded")


def cron_world(**spec: object) -> World:
    """A world with a CronJob that runs every ten minutes."""
    world = World.whole()
    template = {"metadata": {"labels": {"team": "a"}}, "spec": job_spec()}
    given = {"schedule": "*/10 * * * *", "jobTemplate": template, **spec}
    world.make(CRON_JOB, "cron", spec=given)
    world.settle()
    return world


def test_a_cron_job_runs_when_it_is_due() -> None:
    """The Job is named after its minute; the status tells when it was."""
    world = cron_world()
    assert world.all(JOB) == []
    world.advance(minutes=10, seconds=1)
    (made,) = world.all(JOB)
    assert made["metadata"]["name"] == "cron-29539450"
    assert made["metadata"]["labels"] == {"team": "a"}
    assert made["metadata"]["annotations"] == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-03-01T12:10:00Z"
    }
    status = world.get(CRON_JOB, "cron")["status"]
    assert status["lastScheduleTime"] == "2026-03-01T12:10:00Z"
    assert [item["name"] for item in status["active"]] == ["cron-29539450"]

    end(world, "Succeeded")

    status = world.get(CRON_JOB, "cron")["status"]
    assert "active" not in status
    assert status["lastSuccessfulTime"] == "2026-03-01T12:10:01Z"
    said = "Saw completed job: cron-29539450, condition: Complete"
    assert ("Normal", "SawCompletedJob", said) in world.events()


@pytest.mark.parametrize("policy, running", [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
def test_runs_may_overlap_wait_or_replace(policy: str, running: int) -> None:
    """As the concurrency policy says."""
    world = cron_world(concurrencyPolicy=policy)
    world.advance(minutes=31)
    world.roll()
    assert len(world.all(JOB)) == running


def test_finished_runs_beyond_the_limits_are_deleted() -> None:
    """The newest stay."""
    world = cron_world(successfulJobsHistoryLimit=2)
    for _ in range(5):
        world.advance(minutes=10)
        end(world, "Succeeded", 5)
    world.roll()
    finished = [item for item in world.all(JOB) if "Complete" in conditions(item)]
    assert len(finished) == 2


def test_a_schedule_that_cannot_be_read_is_told_of() -> None:
    """Nothing runs."""
    world = cron_world(schedule="every day")
    world.advance(days=2)
    assert world.all(JOB) == []
    assert world.reasons() == ["UnparseableSchedule"]
