"""What a node assumes of a pod's containers when it takes the pod. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.fields import named, number_at, object_at, objects_at, text_at
from gitopsd.sandbox.restarts import Role
from gitopsd.sandbox.status import (
    ContainerRecord,
    Running,
    State,
    Terminated,
    Waiting,
    read_stamp,
)

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

# What the kubelet says of containers that were running when the machine went down.
UNKNOWN_EXIT = 255


def first_records(pod: JsonObject, *, now: datetime) -> list[tuple[JsonObject, ContainerRecord]]:
    """Each container's spec with its record, init containers first.

    A pod that an earlier agent ran starts from what its status says: whatever was running then has
    ended with that agent.
    """
    inits = objects_at(pod, "spec", "initContainers")
    apps = objects_at(pod, "spec", "containers")
    reason = "PodInitializing" if inits else "ContainerCreating"
    found: list[tuple[JsonObject, ContainerRecord]] = []
    for spec in inits:
        role = Role.Sidecar if text_at(spec, "restartPolicy") == "Always" else Role.Init
        statuses = objects_at(pod, "status", "initContainerStatuses")
        found.append((spec, _record(spec, role, reason, statuses, now)))
    for spec in apps:
        statuses = objects_at(pod, "status", "containerStatuses")
        found.append((spec, _record(spec, Role.App, reason, statuses, now)))
    return found


def _record(
    spec: JsonObject,
    role: Role,
    reason: str,
    statuses: tuple[JsonObject, ...],
    now: datetime,
) -> ContainerRecord:
    name = text_at(spec, "name")
    status = named(statuses, name) or {}
    state = _read_state(object_at(status, "state"), reason, now)
    last = _read_state(object_at(status, "lastState"), reason, now)
    if isinstance(state, Running):
        container_id = text_at(status, "containerID")
        last = Terminated(UNKNOWN_EXIT, "Unknown", state.started_at, now, container_id)
        state = Waiting(reason)
    return ContainerRecord(
        name=name,
        role=role,
        image=text_at(spec, "image"),
        state=state,
        last=last if isinstance(last, Terminated) else None,
        restart_count=int(number_at(status, "restartCount")),
        image_id=text_at(status, "imageID"),
        container_id=text_at(status, "containerID"),
    )


def _read_state(state: JsonObject, reason: str, now: datetime) -> State:
    if "running" in state:
        return Running(read_stamp(text_at(state, "running", "startedAt")) or now)
    ended = object_at(state, "terminated")
    if ended:
        return Terminated(
            exit_code=int(number_at(ended, "exitCode")),
            reason=text_at(ended, "reason"),
            started_at=read_stamp(text_at(ended, "startedAt")) or now,
            finished_at=read_stamp(text_at(ended, "finishedAt")) or now,
            container_id=text_at(ended, "containerID"),
            message=text_at(ended, "message"),
        )
    return Waiting(reason)
