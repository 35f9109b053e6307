"""DaemonSets: one pod on every node that takes it. Pure.

Rules: ``pkg/controller/daemon/{daemon_controller,update}.go``; of updates only the kind without
surge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.amounts import scaled
from gitopsd.sandbox.controllers.facts import (
    DAEMON_SET,
    NODE,
    NOTHING,
    POD,
    Announcement,
    Create,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.node_fit import is_wanted_by, tolerates
from gitopsd.sandbox.controllers.ownership import claim
from gitopsd.sandbox.controllers.pods import (
    is_available,
    is_finished,
    is_ready,
    min_ready_of,
    next_available,
    phase_of,
    pod_from_template,
)
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    with_metadata,
    with_status,
)
from gitopsd.sandbox.controllers.replica_set import announced_pod, delete_pod
from gitopsd.sandbox.controllers.revisions import POD_LABEL, outdated, revisions_of
from gitopsd.sandbox.fields import field_at, object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

_GENERATION = "deprecated.daemonset.template.generation"
# A daemon stays on a node that is in trouble: it may be what helps.
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one DaemonSet."""
    owner = facts.find(DAEMON_SET.resource, *key)
    if owner is None:
        return NOTHING
    mine = claim(facts, owner, DAEMON_SET, POD)
    if mine.writes:
        return Plan(mine.writes)
    revisions = revisions_of(facts, owner, DAEMON_SET, label=POD_LABEL)
    if revisions.update is None or revisions.write is not None:
        if refusals or revisions.write is None:
            return Plan(failed=not any(item.namespace_ends for item in refusals))
        return Plan((revisions.write,))
    mark = labels_of(revisions.update).get(POD_LABEL, "")
    nodes = {name_of(node): node for node in facts.among(NODE.resource)}
    hosts = {name for name, node in nodes.items() if _takes(owner, node)}
    placed = _by_host(mine.owned)
    writes: list[Write] = []
    if not refusals and not is_deleted(owner):
        writes.extend(_moves(owner, hosts, placed, mark) or _replacements(owner, placed, mark, now))
    status = _status(owner, hosts, placed, mark, now)
    if status != object_at(owner, "status"):
        writes.append(Replace(DAEMON_SET.resource, with_status(owner, status), "status"))
    live = {
        name_of(item)
        for item in revisions.all
        if labels_of(item).get(POD_LABEL) in {mark, *map(_mark_of, mine.owned)}
    }
    limit = count_at(owner, "spec", "revisionHistoryLimit", default=10)
    again = next_available(mine.owned, min_ready_of(owner), now)
    failed = any(not item.namespace_ends for item in refusals)
    return Plan((*writes, *outdated(revisions.all, live, limit)), again, failed=failed)


def _mark_of(pod: JsonObject) -> str:
    return labels_of(pod).get(POD_LABEL, "")


def _takes(owner: JsonObject, node: JsonObject) -> bool:
    template = object_at(owner, "spec", "template")
    tolerations = [*objects_at(template, "spec", "tolerations"), *_tolerations()]
    taints = objects_at(node, "spec", "taints")
    bearable = all(
        tolerates(tolerations, taint)
        for taint in taints
        if text_at(taint, "effect") != "PreferNoSchedule"
    )
    return bearable and is_wanted_by(template, node)


def _tolerations() -> list[JsonObject]:
    return [
        {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect}
        for name, effect in _TOLERATED
    ]


def _by_host(pods: Sequence[JsonObject]) -> dict[str, list[JsonObject]]:
    placed: dict[str, list[JsonObject]] = {}
    for pod in pods:
        placed.setdefault(_host(pod), []).append(pod)
    return placed


def _host(pod: JsonObject) -> str:
    """The node that a daemon's pod is on, or is meant for while it waits for the scheduler."""
    bound = text_at(pod, "spec", "nodeName")
    if bound:
        return bound
    terms = objects_at(pod, "spec", "affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms")
    for term in terms:
        for rule in objects_at(term, "matchFields"):
            return next(iter(texts_at(rule, "values")), "")
    return ""


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _moves(
    owner: JsonObject, hosts: set[str], placed: Mapping[str, Sequence[JsonObject]], mark: str
) -> list[Write]:
    writes: list[Write] = []
    for host in sorted(hosts | placed.keys()):
        pods = [pod for pod in placed.get(host, ()) if not is_deleted(pod)]
        if host not in hosts:
            writes.extend(delete_pod(pod, owner) for pod in pods)
            continue
        failed = [pod for pod in pods if is_finished(pod)]
        for pod in failed:
            said = f"daemon pod {namespace_of(pod)}/{name_of(pod)} on node {host}"
            reason = "FailedDaemonPod" if phase_of(pod) == "Failed" else "SucceededDaemonPod"
            kind = "failed" if phase_of(pod) == "Failed" else "succeeded"
            message = (
                f"Found {kind} {said}, will try to {'kill' if kind == 'failed' else 'delete'} it"
            )
            writes.append(Announcement(owner, reason, message, warning=kind == "failed"))
            writes.append(delete_pod(pod, owner))
        writes.extend(delete_pod(pod, owner) for pod in pods[1:] if pod not in failed)
        if not placed.get(host):
            writes.append(_new_pod(owner, host, mark))
    return writes


def _new_pod(owner: JsonObject, host: str, mark: str) -> Create:
    template = object_at(owner, "spec", "template")
    pod = pod_from_template(template, owner, DAEMON_SET)
    labels = {**labels_of(pod), POD_LABEL: mark}
    generation = annotations_of(owner).get(_GENERATION)
    if generation is not None:
        labels["pod-template-generation"] = generation
    spec = object_at(pod, "spec")
    rule: JsonObject = {"key": "metadata.name", "operator": "In", "values": [host]}
    term: JsonObject = {"nodeSelectorTerms": [{"matchFields": [rule]}]}
    affinity: dict[str, Json] = {
        **object_at(spec, "affinity"),
        "nodeAffinity": {**object_at(spec, "affinity", "nodeAffinity"), _REQUIRED: term},
    }
    tolerations = [*objects_at(spec, "tolerations"), *_tolerations()]
    named = with_metadata(pod, {"namespace": namespace_of(owner), "labels": labels})
    changed = {**spec, "affinity": affinity, "tolerations": tolerations}
    return announced_pod({**named, "spec": changed}, owner)


def _replacements(
    owner: JsonObject, placed: Mapping[str, Sequence[JsonObject]], mark: str, now: datetime
) -> list[Write]:
    """Deletions of pods of older templates, as many as may be missing at a time."""
    if text_at(owner, "spec", "updateStrategy", "type", default="RollingUpdate") == "OnDelete":
        return []
    path = ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    allowed = scaled(field_at(owner, *path), len(placed), up=True, default=1)
    missing = 0
    broken: list[JsonObject] = []
    candidates: list[JsonObject] = []
    for host in sorted(placed):
        pod = next((pod for pod in placed[host] if not is_deleted(pod)), None)
        up = pod is not None and is_available(pod, min_ready_of(owner), now)
        missing += not up
        if pod is not None and _mark_of(pod) != mark:
            (candidates if up else broken).append(pod)
    chosen = [*broken, *candidates[: max(allowed - missing, 0)]]
    return [delete_pod(pod, owner) for pod in chosen]


def _status(
    owner: JsonObject,
    hosts: set[str],
    placed: Mapping[str, Sequence[JsonObject]],
    mark: str,
    now: datetime,
) -> dict[str, Json]:
    living = {
        host: [pod for pod in pods if not is_deleted(pod) or not is_finished(pod)]
        for host, pods in placed.items()
    }
    chosen = [living[host][0] for host in sorted(hosts) if living.get(host)]
    available = sum(is_available(pod, min_ready_of(owner), now) for pod in chosen)
    status: dict[str, Json] = {
        "currentNumberScheduled": len(chosen),
        "numberMisscheduled": sum(bool(living[host]) for host in living if host not in hosts),
        "desiredNumberScheduled": len(hosts),
        "numberReady": sum(is_ready(pod) for pod in chosen),
        "observedGeneration": count_at(owner, "metadata", "generation"),
    }
    numbers = {
        "updatedNumberScheduled": sum(_mark_of(pod) == mark for pod in chosen),
        "numberAvailable": available,
        "numberUnavailable": len(hosts) - available,
    }
    status.update({name: number for name, number in numbers.items() if number})
    return status
