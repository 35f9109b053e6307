"""What is to be done about a hook, by what is found under its name and what is stored of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gitopsd.domain.manifests import ObjectKey
from gitopsd.domain.runs import RunId
from gitopsd.domain.work import HookRun, HookState
from gitopsd.kube.hooks import (
    LONGEST_HOOK,
    HookAction,
    HookDecision,
    HookEnd,
    HookResult,
    decide_hook,
    describe_hook,
    ends_by_itself,
    find_hooks,
    find_last_end,
    find_own_times,
    is_run,
    make_hook_body,
    make_trial_body,
    name_hook,
    read_result,
    refuse_hook,
    split_waves,
)
from gitopsd.kube.names import HookPhase

RUN = "shop-staging-1"
MIGRATE = ObjectKey("batch", "Job", "shop", "migrate")


def hook(kind: str = "Job", name: str = "migrate", **annotations: str) -> dict[str, Any]:
    """Make an object with a hook annotation; names are those of our own keys."""
    versions = {"Job": "batch/v1", "Pod": "v1", "ConfigMap": "v1", "Deployment": "apps/v1"}
    marks = {f"gitopsd.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": "shop", "annotations": marks}
    return {"apiVersion": versions[kind], "kind": kind, "metadata": metadata}


def live(
    *, run: str = RUN, phase: str = "PreSync", condition: str = "", **status: int
) -> dict[str, Any]:
    """Make a Job as the server has it, of a run, with a condition."""
    conditions = [{"type": condition, "status": "True", "reason": "R", "message": "said"}]
    found = hook(run=run, hook_phase=phase) if run else hook()
    found["metadata"]["uid"] = "u1"
    found["status"] = {**status, "conditions": conditions if condition else []}
    return found


def known(state: HookState = HookState.STARTED, uid: str = "u1", message: str = "") -> HookRun:
    """Make what is stored of the hook."""
    return HookRun(RunId(RUN), "PreSync Job shop/migrate", uid, state, message)


def decide(
    found: dict[str, Any] | None, stored: HookRun | None, *, idempotent: bool = False
) -> HookDecision:
    """Decide about the hook in its run and phase."""
    return decide_hook(found, stored, run=RUN, phase=HookPhase.PRE_SYNC, idempotent=idempotent)


def ended(pod: str = "", **states: dict[str, Any]) -> dict[str, Any]:
    """Make a pod whose container has the given states."""
    return {"metadata": {"name": pod}, "status": {"containerStatuses": [{"name": "c", **states}]}}


@pytest.mark.parametrize("stored", [None, known(uid="")])
def test_what_was_never_created_is_created(stored: HookRun | None) -> None:
    """Nothing is there, and no uid was stored: it never was."""
    assert decide(None, stored) == HookDecision(HookAction.CREATE)


@pytest.mark.parametrize(
    "found,message",
    [
        (live(), "it runs (no pod yet)"),
        (live(active=1, failed=2), "it runs (1 active, 2 failed)"),
        (live(condition="SuccessCriteriaMet"), "it runs (no pod yet)"),
    ],
)
def test_a_hook_of_this_run_goes_on(found: dict[str, Any], message: str) -> None:
    """It is waited for, in the words of its status."""
    assert decide(found, known()) == HookDecision(HookAction.WAIT, message, ours=True)


def test_a_hook_that_is_found_after_a_crash_is_this_runs_own() -> None:
    """Its uid was not stored yet; its marks say whose it is."""
    assert decide(live(condition="Complete"), known(uid="")).action is HookAction.SUCCEED
    assert decide(live(condition="Complete"), None).action is HookAction.SUCCEED


def test_a_hook_of_this_run_ends() -> None:
    """Complete is success; Failed is not, with the cluster's words."""
    assert decide(live(condition="Complete"), known()) == HookDecision(
        HookAction.SUCCEED, ours=True
    )
    assert decide(live(condition="Failed"), known()) == HookDecision(
        HookAction.FAIL, "R: said", ours=True
    )


def test_a_suspended_and_a_terminating_hook_are_said_to_be_so() -> None:
    """A person sees why it does not end."""
    suspended = {**live(), "spec": {"suspend": True}}
    assert decide(suspended, known()).message == "it is suspended"
    leaving = live()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert decide(leaving, known()).message == "it is being deleted"


def test_an_outcome_that_is_stored_stands() -> None:
    """Whatever is found afterwards."""
    good, bad = known(HookState.SUCCEEDED), known(HookState.FAILED, message="why")
    assert decide(None, good) == HookDecision(HookAction.SUCCEED)
    assert decide(None, bad) == HookDecision(HookAction.FAIL, "why")
    assert decide(live(condition="Failed"), bad) == HookDecision(HookAction.FAIL, "why", ours=True)
    assert decide(live(run="other"), good) == HookDecision(HookAction.SUCCEED)


def test_an_outcome_that_was_taken_early_leaves_an_object_that_has_to_go() -> None:
    """Its pod could not begin; left alone it might begin later."""
    assert decide(live(), known(HookState.FAILED)).unended
    assert not decide(live(condition="Failed"), known(HookState.FAILED)).unended


@pytest.mark.parametrize("found", [None, live(run="other", condition="Complete")])
def test_a_hook_that_is_gone_without_a_result_asks_people(found: dict[str, Any] | None) -> None:
    """Unless it says that it may run twice."""
    assert decide(found, known()).action is HookAction.ASK
    again = HookAction.CREATE if found is None else HookAction.DELETE
    assert decide(found, known(), idempotent=True).action is again


def test_the_same_name_with_another_uid_is_not_what_was_started() -> None:
    """Somebody deleted it and made it anew, marks and all."""
    assert decide(live(), known(uid="u0")).action is HookAction.ASK


def test_another_runs_hook_goes_when_it_has_ended_and_is_waited_for_before() -> None:
    """Half a migration is worse than a late one."""
    assert decide(live(run="other", condition="Failed"), None) == HookDecision(
        HookAction.DELETE, "that of run other has ended"
    )
    assert decide(live(run="other"), None) == HookDecision(
        HookAction.WAIT, "that of run other still works, and is waited for"
    )
    assert decide(live(run="", condition="Complete"), None) == HookDecision(
        HookAction.DELETE, "one that is no run's has ended"
    )
    leaving = live(run="other")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert decide(leaving, None) == HookDecision(
        HookAction.WAIT, "that of run other is being deleted"
    )


def test_the_same_run_in_another_phase_is_another_hook() -> None:
    """A Job that runs before and after is made anew for the second."""
    assert decide(live(phase="PostSync", condition="Complete"), None).action is HookAction.DELETE


def test_pods_end_by_their_phase() -> None:
    """Succeeded and Failed, with the container's exit code or the pod's reason."""
    pod = hook("Pod", run=RUN, hook_phase="PreSync")
    assert decide(pod, None).message == "it is Pending"
    assert read_result({**pod, "status": {"phase": "Running"}}) is None
    assert read_result({**pod, "status": {"phase": "Succeeded"}}) == HookResult(succeeded=True)
    evicted = {**pod, "status": {"phase": "Failed", "reason": "Evicted"}}
    assert read_result(evicted) == HookResult(succeeded=False, message="Evicted")
    lost = {**pod, "status": {"phase": "Failed"}}
    assert read_result(lost) == HookResult(succeeded=False, message="it failed")
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    killed = {**ended(state=state), **pod}
    killed["status"] = {**ended(state=state)["status"], "phase": "Failed"}
    message = "container c exited with 137 (OOMKilled)"
    assert read_result(killed) == HookResult(succeeded=False, message=message)


def test_a_job_that_failed_without_a_word_has_no_message() -> None:
    """Nothing is made up."""
    found = live()
    found["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    assert read_result(found) == HookResult(succeeded=False)


def test_the_last_end_of_a_failed_job_is_said() -> None:
    """Of several pods that failed, the last; containers that ended well are none."""
    first = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:01Z"}}
    last = {"terminated": {"exitCode": 2, "reason": "Error", "finishedAt": "2026-01-01T00:00:09Z"}}
    well = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:01:00Z"}}
    pods = [ended(lastState=last), ended(state=first), ended(state=well), ended()]
    assert find_last_end(pods) == HookEnd(
        "2026-01-01T00:00:09Z", "", "c", "container c exited with 2"
    )
    assert find_last_end([]) is None


def test_what_ended_before_the_container_began_is_said_with_its_last_words() -> None:
    """A dump that fails in an init container is the cause; its words are redacted."""
    words = "pg_dump: error: connection to postgres://u:p@db refused\n"
    state = {"terminated": {"exitCode": 1, "reason": "Error", "message": words}}
    status: dict[str, Any] = {"initContainerStatuses": [{"name": "dump", "state": state}]}
    said = "init container dump exited with 1: pg_dump: error: connection to postgres://***@db"
    end = find_last_end([{"kind": "Pod", "status": status}])
    assert end == HookEnd("", "", "dump", f"{said} refused")


def test_hooks_are_found_by_phase_and_ordered_by_wave() -> None:
    """What only is there comes before what runs; a restored set has only those marked for it."""
    late = hook(name="late", hook="PreSync,PostSync", sync_wave="1")
    early = hook(name="early", hook="PreSync", hook_on_rollback="true")
    settings = hook("ConfigMap", "settings", hook="PreSync")
    skipped = hook(name="never", hook="Skip,PreSync")
    plain = hook(name="plain")
    objects = [late, early, settings, plain]

    assert find_hooks(objects, HookPhase.PRE_SYNC) == (settings, early, late)
    assert find_hooks(objects, HookPhase.POST_SYNC) == (late,)
    assert find_hooks(objects, HookPhase.PRE_SYNC, restoring=True) == (early,)
    assert split_waves([late, early, settings]) == ((0, (settings, early)), (1, (late,)))
    assert [is_run(obj) for obj in (late, skipped, plain)] == [True, False, False]


def test_hooks_are_said_as_people_read_a_plan() -> None:
    """Phase, wave and object."""
    both = hook(hook="PreSync,PostSync", sync_wave="2")
    assert describe_hook(both) == "PreSync and PostSync, wave 2: Job shop/migrate"
    assert describe_hook(hook(hook="Sync")) == "Sync: Job shop/migrate"
    assert name_hook(MIGRATE, HookPhase.SYNC) == "Sync Job shop/migrate"


def test_what_is_created_carries_its_run_and_phase_and_no_time_to_live() -> None:
    """The outcome is read before the object may go."""
    obj = {**hook(hook="PreSync"), "spec": {"ttlSecondsAfterFinished": 5, "backoffLimit": 1}}
    made = make_hook_body(obj, RUN, HookPhase.PRE_SYNC)

    assert (made["apiVersion"], made["kind"]) == ("batch/v1", "Job")
    assert made["spec"] == {"backoffLimit": 1}
    assert made["metadata"] == {
        "name": "migrate",
        "namespace": "shop",
        "annotations": {
            "gitopsd.io/hook": "PreSync",
            "gitopsd.io/run": RUN,
            "gitopsd.io/hook-phase": "PreSync",
        },
    }
    assert "spec" not in make_hook_body(hook("ConfigMap"), RUN, HookPhase.SYNC)


def test_a_dry_run_uses_a_name_that_nothing_bears() -> None:
    """Also where the hook's own name is as long as names may be."""
    made = make_trial_body(hook(name="m" * 63))
    assert (made["apiVersion"], made["kind"]) == ("batch/v1", "Job")
    metadata = made["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["name"] == "m" * 49 + "-gitopsd-trial"
    assert metadata["namespace"] == "shop"


def test_only_some_kinds_can_be_hooks() -> None:
    """Those that end, and those that are only there."""
    assert refuse_hook(hook("Job")) == ""
    assert refuse_hook(hook("ConfigMap")) == ""
    assert refuse_hook(hook("Deployment")) == (
        "Deployment shop/migrate: a hook is one of ConfigMap, Job, NetworkPolicy, Pod, Role, "
        "RoleBinding, Secret, ServiceAccount; take the annotation away, or make it one of these"
    )
    versions = {
        "Role": "rbac.authorization.k8s.io/v1",
        "RoleBinding": "rbac.authorization.k8s.io/v1",
    }
    for kind in ("NetworkPolicy", "Role", "RoleBinding", "Secret", "ServiceAccount"):
        version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else versions.get(kind, "v1")
        assert refuse_hook({**hook("Job"), "apiVersion": version, "kind": kind}) == ""
        assert refuse_hook({**hook("Job"), "apiVersion": "other.io/v1", "kind": kind}) != ""
    assert ends_by_itself(MIGRATE)
    assert not ends_by_itself(ObjectKey("", "ConfigMap", "shop", "settings"))


def test_hooks_say_how_long_they_may_work() -> None:
    """What only is there takes no time; a number beyond all time is none to wait for."""
    bound = {"spec": {"activeDeadlineSeconds": 1800}}
    endless = {"spec": {"activeDeadlineSeconds": 2**62}}
    hooks = [{**hook(), **bound}, hook("ConfigMap"), {**hook(), "spec": {}}, {**hook(), **endless}]
    assert find_own_times(hooks) == (timedelta(minutes=30), None, LONGEST_HOOK)
