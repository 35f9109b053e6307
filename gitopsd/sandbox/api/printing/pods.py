"""A pod's row: what ``kubectl get pods`` says in STATUS and RESTARTS.

The rules follow upstream's ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import (
    NONE,
    Cells,
    Printer,
    age_of,
    columns,
    count_at,
    name_of,
)
from gitopsd.sandbox.api.printing.spans import say_since
from gitopsd.sandbox.fields import field_at, flag_at, named, object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

_ENDED = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


@dataclass(slots=True)
class _Count:
    """Restarts so far, and when the last one was."""

    restarts: int = 0
    last: str = ""

    def add(self, container: JsonObject) -> None:
        self.restarts += count_at(container, "restartCount")
        self.last = max(self.last, text_at(container, "lastState", "terminated", "finishedAt"))


def _row(pod: JsonObject, now: datetime) -> Cells:
    ready, restarts, status = _look(pod)
    begun = objects_at(pod, "spec", "initContainers")
    total = len(objects_at(pod, "spec", "containers")) + sum(_is_sidecar(item) for item in begun)
    said = str(restarts.restarts)
    if restarts.restarts and restarts.last:
        said = f"{said} ({say_since(restarts.last, now)} ago)"
    addresses = objects_at(pod, "status", "podIPs")
    return [
        name_of(pod),
        f"{ready}/{total}",
        status,
        said,
        age_of(pod, now),
        (text_at(addresses[0], "ip") if addresses else "") or NONE,
        text_at(pod, "spec", "nodeName") or NONE,
        text_at(pod, "status", "nominatedNodeName") or NONE,
        _gates(pod),
    ]


PODS = Printer(
    columns("Name,Ready,Status,Restarts,Age|IP,Node,Nominated Node,Readiness Gates"), _row
)


def conditions_of_row(pod: JsonObject) -> list[Json]:
    """What a row says beside its cells: that the pod has ended."""
    phase = text_at(pod, "status", "phase")
    if phase not in _ENDED:
        return []
    said: JsonObject = {
        "type": "Completed",
        "status": "True",
        "reason": phase,
        "message": _ENDED[phase],
    }
    return [said]


def _look(pod: JsonObject) -> tuple[int, _Count, str]:
    phase = text_at(pod, "status", "phase")
    reason = text_at(pod, "status", "reason") or phase
    for condition in objects_at(pod, "status", "conditions"):
        if _is(condition, "PodScheduled") and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    first, sidecars, ready, begun = _Count(), _Count(), 0, ""
    statuses = objects_at(pod, "status", "initContainerStatuses")
    specs = objects_at(pod, "spec", "initContainers")
    for place, item in enumerate(statuses):
        first.add(item)
        sidecar = _is_sidecar(named(specs, text_at(item, "name")) or {})
        if sidecar:
            sidecars.add(item)
        if field_at(item, "state", "terminated", "exitCode") == 0:
            continue
        if sidecar and flag_at(item, "started"):
            ready += flag_at(item, "ready")
            continue
        begun = _say_begun(item, f"Init:{place}/{len(specs)}")
        break
    counted = first
    if begun:
        reason = begun
    if not begun or _has(pod, "Initialized"):
        counted = sidecars
        more, reason = _look_at_containers(pod, counted, reason)
        ready += more
    return ready, counted, _say_deletion(pod, phase, reason)


def _say_begun(item: JsonObject, default: str) -> str:
    ended = field_at(item, "state", "terminated")
    if ended is not None:
        return f"Init:{_say_ended(object_at(item, 'state', 'terminated'))}"
    waiting = text_at(item, "state", "waiting", "reason")
    return f"Init:{waiting}" if waiting and waiting != "PodInitializing" else default


def _look_at_containers(pod: JsonObject, count: _Count, reason: str) -> tuple[int, str]:
    ready, failed, running = 0, "", False
    for item in reversed(objects_at(pod, "status", "containerStatuses")):
        count.add(item)
        waiting = text_at(item, "state", "waiting", "reason")
        if waiting:
            reason = waiting
        elif field_at(item, "state", "terminated") is not None:
            reason = _say_ended(object_at(item, "state", "terminated"))
            if count_at(item, "state", "terminated", "exitCode") != 0:
                failed = reason
        elif flag_at(item, "ready") and field_at(item, "state", "running") is not None:
            running = True
            ready += 1
    if reason != "Completed":
        return ready, reason
    if running and _has(pod, "Ready"):
        return ready, "Running"
    return ready, failed or ("NotReady" if running else reason)


def _say_ended(ended: JsonObject) -> str:
    if text_at(ended, "reason"):
        return text_at(ended, "reason")
    number = count_at(ended, "signal")
    return f"Signal:{number}" if number else f"ExitCode:{count_at(ended, 'exitCode')}"


def _say_deletion(pod: JsonObject, phase: str, reason: str) -> str:
    if field_at(pod, "metadata", "deletionTimestamp") is None:
        return reason
    if text_at(pod, "status", "reason") == "NodeLost":
        return "Unknown"
    return reason if phase in _ENDED else "Terminating"


def _gates(pod: JsonObject) -> str:
    wanted = [text_at(gate, "conditionType") for gate in objects_at(pod, "spec", "readinessGates")]
    return f"{sum(_has(pod, name) for name in wanted)}/{len(wanted)}" if wanted else NONE


def _is_sidecar(spec: JsonObject) -> bool:
    return text_at(spec, "restartPolicy") == "Always"


def _has(pod: JsonObject, name: str) -> bool:
    conditions: Iterable[JsonObject] = objects_at(pod, "status", "conditions")
    return any(_is(item, name) and text_at(item, "status") == "True" for item in conditions)


def _is(condition: JsonObject, name: str) -> bool:
    return text_at(condition, "type") == name
