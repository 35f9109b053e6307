"""A pod's status follows from what its containers do, by the kubelet's rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gitopsd.sandbox.fields import named, object_at, objects_at, text_at
from gitopsd.sandbox.restarts import Role
from gitopsd.sandbox.status import (
    ContainerRecord,
    PodFacts,
    Running,
    Terminated,
    Waiting,
    compute_phase,
    compute_status,
    ended,
    read_stamp,
    stamp,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.status import State

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
WAITING = Waiting("ContainerCreating")
RUNNING = Running(NOW)
DONE = Terminated(0, "Completed", NOW, LATER, "gitopsd://1")
BROKEN = Terminated(3, "Error", NOW, LATER, "gitopsd://2", "no such table")


def app(state: State, *, last: Terminated | None = None, ready: bool = False) -> ContainerRecord:
    """A container of the pod."""
    return ContainerRecord("web", Role.App, "acme/web:1", state, last=last, ready=ready)


def init(state: State, *, role: Role = Role.Init, started: bool = False) -> ContainerRecord:
    """An init container of the pod."""
    return ContainerRecord("prepare", role, "acme/prepare:1", state, started=started)


def facts(**changes: object) -> PodFacts:
    """What the node knows of the pod."""
    known = PodFacts(host_ip="10.0.0.1", pod_ip="10.0.1.2", start_time=NOW, now=NOW)
    return replace(known, **changes)  # type: ignore[arg-type]  # the tests name real fields


def condition(status: JsonObject, kind: str) -> JsonObject:
    """One condition of a status."""
    found = [item for item in objects_at(status, "conditions") if item["type"] == kind]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "policy, state, last, phase",
    [
        ("Always", WAITING, None, "Pending"),
        ("Always", RUNNING, None, "Running"),
        ("Always", BROKEN, None, "Running"),
        ("Always", DONE, None, "Running"),
        ("Always", Waiting("CrashLoopBackOff"), BROKEN, "Running"),
        ("OnFailure", BROKEN, None, "Running"),
        ("OnFailure", DONE, None, "Succeeded"),
        ("OnFailure", Waiting("CrashLoopBackOff"), BROKEN, "Running"),
        ("Never", DONE, None, "Succeeded"),
        ("Never", BROKEN, None, "Failed"),
        ("Never", RUNNING, None, "Running"),
    ],
)
def test_the_phase_follows_from_policy_and_container(
    policy: str, state: State, last: Terminated | None, phase: str
) -> None:
    """One container decides the phase of its pod."""
    assert compute_phase(policy, [app(state, last=last)]) == phase


@pytest.mark.parametrize(
    "policy, state, phase",
    [
        ("Always", WAITING, "Pending"),
        ("Always", RUNNING, "Pending"),
        ("Always", BROKEN, "Pending"),
        ("Never", BROKEN, "Failed"),
        ("Never", RUNNING, "Pending"),
        ("Always", DONE, "Running"),
    ],
)
def test_init_containers_hold_the_phase(policy: str, state: State, phase: str) -> None:
    """Until the last init container is done the pod is pending, or has failed for good."""
    assert compute_phase(policy, [init(state), app(RUNNING)]) == phase


def test_two_containers_are_judged_together() -> None:
    """A pod succeeds when all of its containers do."""
    second = replace(app(DONE), name="second")
    assert compute_phase("Never", [app(DONE), second]) == "Succeeded"
    assert compute_phase("Never", [app(BROKEN), second]) == "Failed"
    assert compute_phase("Never", [app(RUNNING), second]) == "Running"
    assert compute_phase("Never", [app(WAITING), second]) == "Pending"


@pytest.mark.parametrize(
    "state, phase", [(DONE, "Succeeded"), (BROKEN, "Failed"), (WAITING, "Failed")]
)
def test_a_stopped_pod_is_terminal(state: State, phase: str) -> None:
    """Once the node ended everything, even a pod that always restarts has an end."""
    assert compute_phase("Always", [app(state)], stopped=True) == phase


def test_a_ready_pod_says_so_in_every_condition() -> None:
    """Running and ready: all conditions are true and addresses are there."""
    status = compute_status({}, [app(RUNNING, ready=True)], facts())

    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    assert [condition(status, kind)["status"] for kind in kinds] == ["True"] * 4
    assert status["podIPs"] == [{"ip": "10.0.1.2"}]
    assert status["hostIP"] == "10.0.0.1"
    assert status["startTime"] == "2026-03-01T12:00:00Z"


def test_an_unready_container_is_named() -> None:
    """The conditions say which container is not ready."""
    status = compute_status({}, [app(RUNNING)], facts())

    for kind in ("Ready", "ContainersReady"):
        assert condition(status, kind)["status"] == "False"
        assert condition(status, kind)["reason"] == "ContainersNotReady"
        assert condition(status, kind)["message"] == "containers with unready status: [web]"


def test_an_incomplete_init_container_is_named() -> None:
    """The condition Initialized says which init container is missing."""
    status = compute_status({}, [init(RUNNING), app(WAITING)], facts())

    assert condition(status, "Initialized")["status"] == "False"
    message = condition(status, "Initialized")["message"]
    assert message == "containers with incomplete status: [prepare]"
    assert text_at(objects_at(status, "initContainerStatuses")[0], "name") == "prepare"


def test_a_started_sidecar_counts_as_done_and_as_a_container() -> None:
    """A sidecar lets the pod go on once it has started, and its readiness counts."""
    sidecar = init(RUNNING, role=Role.Sidecar, started=True)
    status = compute_status({}, [sidecar, app(RUNNING, ready=True)], facts())

    assert status["phase"] == "Running"
    assert condition(status, "Initialized")["status"] == "True"
    assert condition(status, "Ready")["message"] == "containers with unready status: [prepare]"


@pytest.mark.parametrize("state, reason", [(DONE, "PodCompleted"), (BROKEN, "PodFailed")])
def test_a_pod_that_ended_is_not_ready(state: State, reason: str) -> None:
    """Conditions of a pod that ran to its end give the end as the reason."""
    pod: JsonObject = {"spec": {"restartPolicy": "Never"}}
    status = compute_status(pod, [app(state)], facts())

    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Ready")["reason"] == reason
    assert condition(status, "Initialized")["status"] == "True"


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ([], "False"),
        ([{"type": "acme.io/warm", "status": "False"}], "False"),
        ([{"type": "acme.io/warm", "status": "True"}], "True"),
    ],
)
def test_readiness_gates_keep_a_pod_unready(conditions: list[JsonObject], expected: str) -> None:
    """A readiness gate has to be open as well, its containers are ready without it."""
    pod: JsonObject = {
        "spec": {"readinessGates": [{"conditionType": "acme.io/warm"}]},
        "status": {"conditions": conditions},
    }
    status = compute_status(pod, [app(RUNNING, ready=True)], facts())

    assert condition(status, "Ready")["status"] == expected
    assert condition(status, "ContainersReady")["status"] == "True"


def test_unchanged_conditions_keep_their_time() -> None:
    """Only a condition whose status changed gets a new transition time."""
    first = compute_status({}, [app(RUNNING)], facts())
    second = compute_status(
        {},
        [app(RUNNING, ready=True)],
        facts(now=LATER, conditions=objects_at(first, "conditions")),
    )

    assert condition(second, "Initialized")["lastTransitionTime"] == stamp(NOW)
    assert condition(second, "Ready")["lastTransitionTime"] == stamp(LATER)


def test_no_address_yet_is_told() -> None:
    """Without an address the pod has none in its status, and its condition says so."""
    status = compute_status({}, [app(WAITING)], facts(pod_ip=""))

    assert "podIP" not in status
    assert condition(status, "PodReadyToStartContainers")["status"] == "False"


def test_states_are_written_as_the_api_wants_them() -> None:
    """Waiting, running and terminated, now and before."""
    restarted = replace(app(Waiting("CrashLoopBackOff", "back-off 10s"), last=BROKEN))
    status = compute_status({}, [restarted], facts())
    said = named(objects_at(status, "containerStatuses"), "web")

    assert said is not None
    assert said["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert object_at(said, "lastState", "terminated") == {
        "exitCode": 3,
        "reason": "Error",
        "message": "no such table",
        "startedAt": "2026-03-01T12:00:00Z",
        "finishedAt": "2026-03-01T12:01:00Z",
        "containerID": "gitopsd://2",
    }


def test_an_end_takes_readiness_away() -> None:
    """A container that ended is neither ready nor started."""
    record = ended(replace(app(RUNNING, ready=True), started=True), BROKEN)

    assert (record.state, record.ready, record.started) == (BROKEN, False, False)


def test_times_survive_the_api() -> None:
    """A written time reads as itself; rubbish reads as none."""
    assert read_stamp(stamp(NOW)) == NOW
    assert read_stamp("yesterday") is None
