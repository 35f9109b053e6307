"""Nodes that fall silent: what is said of them, of their pods, and when those are given up. Pure.

Rules: ``pkg/controller/nodelifecycle``, ``pkg/controller/tainteviction``, ``pkg/controller/podgc``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    UNKNOWN,
    conditions_of,
    find_condition,
    is_true,
    set_in_place,
)
from gitopsd.sandbox.controllers.facts import (
    LEASE,
    NODE,
    NOTHING,
    POD,
    Announcement,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.node_fit import tolerates
from gitopsd.sandbox.controllers.pods import is_finished, is_ready
from gitopsd.sandbox.controllers.reading import (
    count_at,
    is_deleted,
    name_of,
    namespace_of,
    time_at,
    with_spec,
    with_status,
)
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

LEASES = "kube-node-lease"
SILENT_FOR = timedelta(seconds=40)
"""``--node-monitor-grace-period``; also how long a node may be missing before its pods go."""
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_SILENCE = "NodeStatusUnknown"
_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def watch(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Say of a node that it is silent, and mark it by what its condition Ready says."""
    node = facts.find(NODE.resource, "", key.name)
    if node is None or refusals:
        return Plan(failed=bool(refusals))
    lease = facts.find(LEASE.resource, LEASES, key.name)
    renewed = time_at(lease, "spec", "renewTime") if lease is not None else None
    if renewed is None:
        again = None
    else:
        left = renewed + SILENT_FOR - now
        again = left if left > timedelta() else None
        if again is None and _ready_status(node) != UNKNOWN:
            return Plan(_silent(node, now))
        if again is not None and _is_given_up(node):
            return Plan((_revived(node, now),), again)
    taints = _taints(node, now)
    if taints != list(objects_at(node, "spec", "taints")):
        changed = with_spec(node, {"taints": taints or None})
        spec = {name: value for name, value in object_at(changed, "spec").items() if value}
        return Plan((Replace(NODE.resource, {**changed, "spec": spec}),), again)
    if _ready_status(node) == TRUE:
        return Plan(tuple(_ready_pods(node, facts, now)), again)
    return Plan(tuple(_unready_pods(node, facts, now)), again)


def evict(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Delete a pod whose node has been in trouble for longer than the pod tolerates."""
    pod = facts.find(POD.resource, *key)
    if pod is None or refusals or is_finished(pod):
        return Plan(failed=bool(refusals))
    name = text_at(pod, "spec", "nodeName")
    if not name:
        return NOTHING
    node = facts.find(NODE.resource, "", name)
    if node is None:
        made = time_at(pod, "metadata", "creationTimestamp") or now
        grace = made + SILENT_FOR - now
        # A pod may come before its node; after that nobody else can end it.
        if grace > timedelta():
            return Plan(again=grace)
        return Plan((Delete(POD.resource, pod, at_once=True),))
    if is_deleted(pod):
        return NOTHING
    left = _tolerated_for(pod, node, now)
    if left is None:
        return NOTHING
    if left > timedelta():
        return Plan(again=left)
    said = f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"
    news = Announcement(pod, "TaintManagerEviction", said)
    return Plan((Delete(POD.resource, pod, done=news),))


def pods_on(node: str, facts: Facts) -> list[JsonObject]:
    """The pods that are bound to a node."""
    pods = facts.among(POD.resource)
    return [pod for pod in pods if text_at(pod, "spec", "nodeName") == node]


def _ready_status(node: JsonObject) -> str:
    return text_at(find_condition(conditions_of(node), "Ready"), "status")


def _silent(node: JsonObject, now: datetime) -> tuple[Write, ...]:
    conditions = conditions_of(node)
    for kind in _WATCHED:
        old = find_condition(conditions, kind) or {}
        condition: dict[str, Json] = {
            **old,
            "type": kind,
            "status": UNKNOWN,
            "reason": _SILENCE,
            "message": "Kubelet stopped posting node status.",
            "lastTransitionTime": stamp(now),
        }
        conditions = set_in_place(conditions, condition)
    status = {**object_at(node, "status"), "conditions": conditions}
    said = f"Node {name_of(node)} status is now: NodeNotReady"
    return (
        Replace(NODE.resource, with_status(node, status), "status"),
        Announcement(node, "NodeNotReady", said),
    )


def _is_given_up(node: JsonObject) -> bool:
    reason = text_at(find_condition(conditions_of(node), "Ready"), "reason")
    return _ready_status(node) == UNKNOWN and reason == _SILENCE


def _revived(node: JsonObject, now: datetime) -> Replace:
    """A node whose lease is renewed again is as it was.

    A kubelet compares what it says with what the API has; the sandbox's node says it only every
    few minutes, and a machine that slept must not make everybody wait for that.
    """
    conditions = conditions_of(node)
    for kind in _WATCHED:
        old = find_condition(conditions, kind) or {}
        is_ready_one = kind == "Ready"
        condition: dict[str, Json] = {
            **old,
            "status": TRUE if is_ready_one else FALSE,
            "reason": "KubeletReady" if is_ready_one else f"KubeletHasNo{kind}",
            "message": "the node reports again",
            "lastTransitionTime": stamp(now),
        }
        conditions = set_in_place(conditions, condition)
    status = {**object_at(node, "status"), "conditions": conditions}
    news = Announcement(node, "NodeReady", f"Node {name_of(node)} status is now: NodeReady")
    return Replace(NODE.resource, with_status(node, status), "status", done=news)


def _ready_pods(node: JsonObject, facts: Facts, now: datetime) -> list[Write]:
    """The pods that were only unready because their node was silent."""
    writes: list[Write] = []
    for pod in pods_on(name_of(node), facts):
        runs = is_true(pod, "ContainersReady") and not is_finished(pod) and not is_deleted(pod)
        if not runs or is_ready(pod) or objects_at(pod, "spec", "readinessGates"):
            continue
        old = find_condition(conditions_of(pod), "Ready") or {"type": "Ready"}
        condition = {**old, "status": TRUE, "lastTransitionTime": stamp(now)}
        conditions = set_in_place(conditions_of(pod), condition)
        status = {**object_at(pod, "status"), "conditions": conditions}
        writes.append(Replace(POD.resource, with_status(pod, status), "status"))
    return writes


def _taints(node: JsonObject, now: datetime) -> list[JsonObject]:
    """The node's taints with those that its condition asks for, and without those it does not."""
    status = _ready_status(node)
    wanted = {FALSE: _NOT_READY, UNKNOWN: _UNREACHABLE}.get(status, "")
    taints: list[JsonObject] = [
        taint
        for taint in objects_at(node, "spec", "taints")
        if text_at(taint, "key") == wanted
        or text_at(taint, "key") not in {_NOT_READY, _UNREACHABLE}
    ]
    for effect in ("NoSchedule", "NoExecute"):
        there = any(
            text_at(taint, "key") == wanted and text_at(taint, "effect") == effect
            for taint in taints
        )
        if wanted and not there:
            taints.append({"key": wanted, "effect": effect, "timeAdded": stamp(now)})
    return taints


def _unready_pods(node: JsonObject, facts: Facts, now: datetime) -> list[Write]:
    """The pods of a node that does not report cannot be said to be ready."""
    writes: list[Write] = []
    for pod in pods_on(name_of(node), facts):
        if is_deleted(pod) or not is_ready(pod):
            continue
        old = find_condition(conditions_of(pod), "Ready") or {}
        condition = {**old, "status": FALSE, "lastTransitionTime": stamp(now)}
        conditions = set_in_place(conditions_of(pod), condition)
        status = {**object_at(pod, "status"), "conditions": conditions}
        news = Announcement(pod, "NodeNotReady", "Node is not ready", warning=True)
        writes.append(Replace(POD.resource, with_status(pod, status), "status", done=news))
    return writes


def _tolerated_for(pod: JsonObject, node: JsonObject, now: datetime) -> timedelta | None:
    """How long a pod still bears the taints of its node; None: for ever."""
    tolerations = objects_at(pod, "spec", "tolerations")
    waits: list[timedelta] = []
    for taint in objects_at(node, "spec", "taints"):
        if text_at(taint, "effect") != "NoExecute":
            continue
        bearing = [item for item in tolerations if tolerates([item], taint)]
        if not bearing:
            return timedelta()
        limits = [item for item in bearing if "tolerationSeconds" in item]
        if len(limits) == len(bearing):
            since = time_at(taint, "timeAdded") or now
            seconds = min(count_at(item, "tolerationSeconds") for item in limits)
            waits.append(since + timedelta(seconds=seconds) - now)
    return max(min(waits), timedelta()) if waits else None
