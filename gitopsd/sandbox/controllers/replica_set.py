"""ReplicaSets: as many pods as wanted, no more, no less. Pure.

Rules: ``pkg/controller/replicaset/{replica_set,replica_set_utils}.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    TRUE,
    conditions_of,
    find_condition,
    make_condition,
    without_condition,
)
from gitopsd.sandbox.controllers.deployment_numbers import wanted
from gitopsd.sandbox.controllers.facts import (
    NOTHING,
    POD,
    REPLICA_SET,
    Announcement,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.ownership import claim, controlled, controller_of
from gitopsd.sandbox.controllers.pods import (
    first_to_go,
    is_active,
    is_terminating,
    min_ready_of,
    next_available,
    pod_from_template,
    ready_numbers,
)
from gitopsd.sandbox.controllers.reading import (
    count_at,
    is_deleted,
    labels_of,
    namespace_of,
    with_metadata,
    with_status,
)
from gitopsd.sandbox.controllers.selectors import has_all
from gitopsd.sandbox.fields import object_at, text_at, text_map_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

FAILURE = "ReplicaFailure"
BURST = 500
"""So many pods at most are made or deleted at one look."""


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one ReplicaSet.

    Pods come and go before the status tells of it; when some were refused, `refusals` say so and
    only the status is written.
    """
    found = facts.find(REPLICA_SET.resource, *key)
    if found is None:
        return NOTHING
    mine = claim(facts, found, REPLICA_SET, POD)
    if mine.writes:
        return Plan(mine.writes)
    pods = [pod for pod in mine.owned if is_active(pod)]
    leaving = [pod for pod in mine.owned if is_terminating(pod)]
    refused = [item for item in refusals if not item.namespace_ends]
    writes: list[Write] = []
    if not refusals and not is_deleted(found):
        writes.extend(_moves(found, pods, facts, now))
    status = _status(found, pods, len(leaving), refused, now)
    if status != object_at(found, "status"):
        writes.append(Replace(REPLICA_SET.resource, with_status(found, status), "status"))
    return Plan(tuple(writes), next_available(pods, min_ready_of(found), now), failed=bool(refused))


def _moves(
    found: JsonObject, pods: list[JsonObject], facts: Facts, now: datetime
) -> list[Create] | list[Delete]:
    missing = wanted(found) - len(pods)
    if missing > 0:
        return [new_pod(found)] * min(missing, BURST)
    if missing == 0:
        return []
    return [
        delete_pod(pod, found)
        for pod in first_to_go(pods, _related(found, facts), now)[: min(-missing, BURST)]
    ]


def new_pod(owner: JsonObject) -> Create:
    """The write that makes one pod of a ReplicaSet."""
    template = object_at(owner, "spec", "template")
    pod = pod_from_template(template, owner, REPLICA_SET)
    return announced_pod(with_metadata(pod, {"namespace": namespace_of(owner)}), owner)


def announced_pod(pod: JsonObject, owner: JsonObject) -> Create:
    """The write that makes a pod, with the Events about its owner that tell how it went."""
    return Create(
        POD,
        pod,
        done=Announcement(owner, "SuccessfulCreate", "Created pod: {name}"),
        refused=Announcement(owner, "FailedCreate", "Error creating: {problem}", warning=True),
    )


def delete_pod(pod: JsonObject, owner: JsonObject) -> Delete:
    """The write that deletes a pod, with the Events about its owner that tell how it went."""
    return Delete(
        POD.resource,
        pod,
        done=Announcement(owner, "SuccessfulDelete", "Deleted pod: {name}"),
        refused=Announcement(owner, "FailedDelete", "Error deleting: {problem}", warning=True),
    )


def _related(found: JsonObject, facts: Facts) -> list[JsonObject]:
    """Pods of every ReplicaSet of the same owner: where they are decides who goes first."""
    reference = controller_of(found)
    uid = text_at(reference, "uid")
    sets = [
        item
        for resource, item in facts.dependents(uid)
        if resource == REPLICA_SET.resource and controller_of(item) == reference
    ]
    return [pod for item in sets or [found] for pod in controlled(facts, item, POD)]


def _status(
    found: JsonObject,
    pods: list[JsonObject],
    leaving: int,
    refusals: Sequence[Refusal],
    now: datetime,
) -> dict[str, Json]:
    labels = text_map_at(found, "spec", "template", "metadata", "labels")
    numbers = {
        "fullyLabeledReplicas": sum(has_all(labels, labels_of(pod)) for pod in pods),
        **ready_numbers(pods, min_ready_of(found), now),
        "observedGeneration": count_at(found, "metadata", "generation"),
    }
    conditions = conditions_of(found)
    failure = find_condition(conditions, FAILURE)
    if refusals and failure is None:
        reason = "FailedCreate" if len(pods) < wanted(found) else "FailedDelete"
        message = refusals[0].message
        failed = make_condition(FAILURE, TRUE, reason, message, stamp(now))
        conditions = [*conditions, failed]
    elif not refusals:
        conditions = without_condition(conditions, FAILURE)
    status: dict[str, Json] = {"replicas": len(pods)}
    status.update({name: number for name, number in numbers.items() if number})
    status["terminatingReplicas"] = leaving
    if conditions:
        status["conditions"] = conditions
    return status
