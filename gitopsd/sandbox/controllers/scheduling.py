"""The scheduler: gives each pod that waits to a node, or says why it cannot. Pure.

Rules: ``pkg/scheduler/schedule_one.go``, ``pkg/scheduler/framework/types.go``. Preemption is only
spoken of: no pod is ever sent away for another.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    conditions_of,
    find_condition,
    make_condition,
    set_in_place,
)
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    NODE,
    NOTHING,
    POD,
    Announcement,
    Bind,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.node_fit import Objection, object_to
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.reading import (
    count_at,
    is_deleted,
    name_of,
    namespace_of,
    with_status,
)
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

NAME = "default-scheduler"
SCHEDULED = "PodScheduled"
_HOPELESS = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one pod: bind it, or tell why it waits.

    A pod that waits is looked at again when a node or another pod changes, see `waiting`.
    """
    pod = facts.find(POD.resource, *key)
    if pod is None or not is_waiting(pod):
        return NOTHING
    if refusals:
        return Plan(failed=True)
    nodes = facts.among(NODE.resource)
    problem = _without_nodes(nodes) or _claims_problem(pod, nodes, facts)
    if problem:
        return _hold(pod, problem, now)
    objections: list[Objection] = []
    open_to: list[tuple[int, str]] = []
    for node in nodes:
        name = name_of(node)
        load = facts.load(name)
        objection = object_to(pod, node, load)
        if objection is None:
            open_to.append((load.pods, name))
        else:
            objections.append(objection)
    if not open_to:
        return _hold(pod, _say(objections), now)
    _, chosen = min(open_to)
    said = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {chosen}"
    news = Announcement(pod, "Scheduled", said, action="Binding")
    return Plan((Bind(pod, chosen, done=news),))


def is_waiting(pod: JsonObject) -> bool:
    """Whether a pod waits for this scheduler."""
    return (
        not text_at(pod, "spec", "nodeName")
        and not is_deleted(pod)
        and not is_finished(pod)
        and text_at(pod, "spec", "schedulerName", default=NAME) == NAME
        and not objects_at(pod, "spec", "schedulingGates")
    )


def waiting(facts: Facts) -> list[Key]:
    """The pods that wait, of all namespaces, oldest first."""
    return [
        Key(namespace_of(pod), name_of(pod)) for pod in facts.among(POD.resource) if is_waiting(pod)
    ]


def _without_nodes(nodes: Sequence[JsonObject]) -> str:
    return "" if nodes else "no nodes available to schedule pods"


def _claims_problem(pod: JsonObject, nodes: Sequence[JsonObject], facts: Facts) -> str:
    """What is wrong with the claims that a pod mounts; empty when nothing is."""
    begin = f"0/{len(nodes)} nodes are available:"
    for volume in objects_at(pod, "spec", "volumes"):
        name = text_at(volume, "persistentVolumeClaim", "claimName")
        if not name:
            continue
        found = facts.find(CLAIM.resource, namespace_of(pod), name)
        if found is None:
            return f'{begin} persistentvolumeclaim "{name}" not found. not found'
        if is_deleted(found):
            return f'{begin} persistentvolumeclaim "{name}" is being deleted. not found'
        if not text_at(found, "spec", "volumeName"):
            return f"{begin} pod has unbound immediate PersistentVolumeClaims. not found"
    return ""


def _say(objections: Sequence[Objection]) -> str:
    reasons = Counter(reason for objection in objections for reason in objection.reasons)
    help_in = Counter(_NO_VICTIMS if item.curable else _HOPELESS for item in objections)
    begin = f"0/{len(objections)} nodes are available: "
    return f"{begin}{_histogram(reasons)}. preemption: {begin}{_histogram(help_in)}."


def _histogram(reasons: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))


def _hold(pod: JsonObject, message: str, now: datetime) -> Plan:
    old = find_condition(conditions_of(pod), SCHEDULED)
    if old is not None and (old.get("reason"), old.get("message")) == ("Unschedulable", message):
        return NOTHING
    condition = {
        **make_condition(SCHEDULED, FALSE, "Unschedulable", message, stamp(now)),
        "observedGeneration": count_at(pod, "metadata", "generation", default=1),
        "lastProbeTime": None,
    }
    conditions = set_in_place(conditions_of(pod), condition)
    status = {**object_at(pod, "status"), "conditions": conditions}
    writes: tuple[Write, ...] = (
        Announcement(pod, "FailedScheduling", message, warning=True, action="Scheduling"),
        Replace(POD.resource, with_status(pod, status), "status"),
    )
    return Plan(writes)
