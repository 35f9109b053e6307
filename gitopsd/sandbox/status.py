"""What a pod's status says, computed from what its containers do. Pure.

The rules for phase and conditions are the kubelet's (``getPhase`` and ``GeneratePodReadyCondition``
in its source): the API server, the controllers and every client take them as the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.sandbox.fields import objects_at, text_at
from gitopsd.sandbox.restarts import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since a moment."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended.

    Attributes:
        exit_code: 0 to 255; 128 + signal for a process that a signal ended.
        reason: ``Completed``, ``Error``, ``OOMKilled``, ``StartError`` or ``Unknown``.
        started_at: When it began.
        finished_at: When it ended.
        container_id: The instance that ended.
        message: More words, if there are any.
    """

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    container_id: str = ""
    message: str = ""


State: TypeAlias = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """All that is known of one container.

    Attributes:
        name: Its name in the pod.
        role: What it is to the pod.
        image: The reference as the pod writes it.
        state: What it does now.
        last: How the instance before ended.
        restart_count: Instances started after the first.
        image_id: ``repository@digest`` once the image is there.
        container_id: The current instance, or the last one.
        ready: Whether it may get traffic.
        started: Whether its startup probe passed; true while it runs without one.
    """

    name: str
    role: Role
    image: str
    state: State = Waiting("PodInitializing")
    last: Terminated | None = None
    restart_count: int = 0
    image_id: str = ""
    container_id: str = ""
    ready: bool = False
    started: bool = False

    @property
    def done(self) -> bool:
        """For an init container: whether the ones after it may go on."""
        if self.role is Role.Sidecar:
            return isinstance(self.state, Running) and self.started
        return isinstance(self.state, Terminated) and self.state.exit_code == 0


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the node knows of a pod beside its containers.

    Attributes:
        host_ip: The node's address.
        pod_ip: The pod's address; empty before it has one.
        start_time: When the node took the pod.
        now: The time of this look.
        stopped: The node ended every container of the pod for good.
        conditions: The conditions as last written, so that unchanged ones keep their time.
    """

    host_ip: str
    pod_ip: str
    start_time: datetime
    now: datetime
    stopped: bool = False
    conditions: tuple[JsonObject, ...] = ()


def compute_status(
    pod: JsonObject, records: Sequence[ContainerRecord], facts: PodFacts
) -> JsonObject:
    """The status that belongs to the pod now: the part that a node owns.

    Conditions that others own (``PodScheduled``, readiness gates) are not in it; a strategic
    merge by type leaves them alone.
    """
    restart_policy = text_at(pod, "spec", "restartPolicy", default="Always")
    phase = compute_phase(restart_policy, records, stopped=facts.stopped)
    status: dict[str, Json] = {
        "phase": phase,
        "startTime": stamp(facts.start_time),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "conditions": compute_conditions(pod, records, facts, phase=phase),
        "containerStatuses": [_say(record) for record in records if record.role is Role.App],
    }
    inits = [_say(record) for record in records if record.role is not Role.App]
    if inits:
        status["initContainerStatuses"] = inits
    if facts.pod_ip:
        status["podIP"] = facts.pod_ip
        status["podIPs"] = [{"ip": facts.pod_ip}]
    return status


def compute_phase(
    restart_policy: str, records: Sequence[ContainerRecord], *, stopped: bool = False
) -> str:
    """The pod's phase; `stopped` says that nothing of it will ever run again."""
    inits = [record for record in records if record.role is Role.Init]
    if restart_policy == "Never" and any(_failed(record) for record in inits):
        return "Failed"
    apps = [record for record in records if record.role is Role.App]
    waiting = [
        record for record in apps if isinstance(record.state, Waiting) and record.last is None
    ]
    pending = any(not record.done for record in inits) or bool(waiting)
    if pending and not stopped:
        return "Pending"
    if any(isinstance(record.state, Running) for record in apps):
        return "Running"
    if restart_policy == "Always" and not stopped:
        return "Running"
    if all(_succeeded(record) for record in apps):
        return "Succeeded"
    return "Failed" if stopped or restart_policy == "Never" else "Running"


def compute_conditions(
    pod: JsonObject, records: Sequence[ContainerRecord], facts: PodFacts, *, phase: str
) -> list[Json]:
    """The conditions that a node owns, each with the time of its last change."""
    inits = [record for record in records if record.role is not Role.App]
    lasting = [record for record in records if record.role is not Role.Init]
    incomplete = [record.name for record in inits if not record.done]
    unready = [record.name for record in lasting if not record.ready]
    initialized = _condition(
        "Initialized",
        "" if phase == "Succeeded" else _names("containers with incomplete status", incomplete),
        "ContainersNotInitialized",
    )
    if phase == "Succeeded":
        initialized["reason"] = "PodCompleted"
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    complaint = _names("containers with unready status", unready)
    if not complaint and phase in TERMINAL_PHASES:
        complaint = "the pod has ended"
    gates = complaint or _closed_gates(pod)
    gate_reason = reason if complaint else "ReadinessGatesNotReady"
    conditions = [
        _condition("PodReadyToStartContainers", "" if facts.pod_ip else "no address yet", ""),
        initialized,
        _condition("Ready", gates, gate_reason),
        _condition("ContainersReady", complaint, reason),
    ]
    return [_dated(condition, facts) for condition in conditions]


def stamp(moment: datetime) -> str:
    """A time as the API writes it: RFC 3339 in UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_stamp(text: str) -> datetime | None:
    """The time in an API field; None when it is empty or not a time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def ended(record: ContainerRecord, state: Terminated) -> ContainerRecord:
    """The record after its instance ended."""
    return replace(record, state=state, ready=False, started=False)


def _failed(record: ContainerRecord) -> bool:
    state = record.state
    return isinstance(state, Terminated) and state.exit_code != 0


def _succeeded(record: ContainerRecord) -> bool:
    state = record.state if isinstance(record.state, Terminated) else record.last
    return state is not None and state.exit_code == 0


def _names(said: str, names: Sequence[str]) -> str:
    return f"{said}: [{' '.join(names)}]" if names else ""


def _closed_gates(pod: JsonObject) -> str:
    conditions = objects_at(pod, "status", "conditions")
    for gate in objects_at(pod, "spec", "readinessGates"):
        wanted = text_at(gate, "conditionType")
        found = next((item for item in conditions if item.get("type") == wanted), None)
        if found is None:
            return f'corresponding condition of pod readiness gate "{wanted}" does not exist.'
        if found.get("status") != "True":
            return (
                f'the status of pod readiness gate "{wanted}" is not "True", but '
                f"{text_at(found, 'status')}"
            )
    return ""


def _condition(kind: str, complaint: str, reason: str) -> dict[str, Json]:
    if not complaint:
        return {"type": kind, "status": "True", "reason": None, "message": None}
    return {
        "type": kind,
        "status": "False",
        "reason": reason or None,
        "message": complaint if reason and reason != "PodCompleted" else None,
    }


def _dated(condition: dict[str, Json], facts: PodFacts) -> JsonObject:
    since = stamp(facts.now)
    for before in facts.conditions:
        same = before.get("type") == condition["type"]
        if same and before.get("status") == condition["status"]:
            since = text_at(before, "lastTransitionTime") or since
    return {**condition, "lastProbeTime": None, "lastTransitionTime": since}


def _say(record: ContainerRecord) -> JsonObject:
    said: dict[str, Json] = {
        "name": record.name,
        "image": record.image,
        "imageID": record.image_id,
        "restartCount": record.restart_count,
        "ready": record.done if record.role is Role.Init else record.ready,
        "started": record.started,
        "state": _say_state(record.state),
        "lastState": {} if record.last is None else _say_state(record.last),
    }
    if record.container_id:
        said["containerID"] = record.container_id
    return said


def _say_state(state: State) -> JsonObject:
    if isinstance(state, Waiting):
        waiting: dict[str, Json] = {"reason": state.reason}
        if state.message:
            waiting["message"] = state.message
        return {"waiting": waiting}
    if isinstance(state, Running):
        return {"running": {"startedAt": stamp(state.started_at)}}
    terminated: dict[str, Json] = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": stamp(state.started_at),
        "finishedAt": stamp(state.finished_at),
    }
    if state.container_id:
        terminated["containerID"] = state.container_id
    if state.message:
        terminated["message"] = state.message
    return {"terminated": terminated}
