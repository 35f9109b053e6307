"""Deployments: one ReplicaSet for each template, rolled from old to new. Pure.

Rules: ``pkg/controller/deployment/deployment_controller.go`` and the modules beside this one. Where
the real one goes on after a write with the object it has, this one ends: the write is a change, and
the next look goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import FALSE, TRUE
from gitopsd.sandbox.controllers.deployment_numbers import (
    REVISION,
    active,
    deadline_seconds,
    history_limit,
    is_complete,
    is_rolling,
    revision_of,
    status_sum,
    wanted,
)
from gitopsd.sandbox.controllers.deployment_revisions import (
    Generations,
    first_replica_set,
    noted,
    sort_out,
)
from gitopsd.sandbox.controllers.deployment_scaling import (
    grow_new,
    resize,
    shrink_old,
    size_of_new,
    spread,
    was_resized,
)
from gitopsd.sandbox.controllers.deployment_status import (
    count_up,
    look_again,
    pause_condition,
    progress_condition,
    progress_of,
    rollout_status,
    with_progress,
)
from gitopsd.sandbox.controllers.facts import (
    DEPLOYMENT,
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
from gitopsd.sandbox.controllers.ownership import claim, controlled
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    created_order,
    is_deleted,
    name_of,
    with_annotations,
    with_status,
)
from gitopsd.sandbox.controllers.selectors import is_empty
from gitopsd.sandbox.fields import flag_at, object_at, text_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one Deployment.

    Args:
        key: Which.
        facts: What there is.
        now: The time.
        refusals: What the API refused of the plan just made.
    """
    deployment = facts.find(DEPLOYMENT.resource, *key)
    if deployment is None:
        return NOTHING
    if refusals:
        return _refused(deployment, refusals[0], now)
    if is_empty(object_at(deployment, "spec", "selector")):
        return _selects_all(deployment)
    mine = claim(facts, deployment, DEPLOYMENT, REPLICA_SET)
    if mine.writes:
        return Plan(mine.writes)
    found = sort_out(deployment, mine.owned)
    if is_deleted(deployment):
        return _write_status(deployment, count_up(deployment, found, now))
    pause = pause_condition(deployment, now)
    if pause is not None:
        return _write_status(deployment, with_progress(deployment, pause))
    notes = _notes(deployment, found, now)
    if notes:
        return Plan(notes)
    if flag_at(deployment, "spec", "paused") or was_resized(deployment, found.all):
        return _resized(deployment, found, now)
    if is_rolling(deployment):
        return _roll(deployment, found, now)
    return _recreate(deployment, found, facts, now)


def _resized(deployment: JsonObject, found: Generations, now: datetime) -> Plan:
    writes: list[Write] = list(spread(deployment, found))
    if not writes and flag_at(deployment, "spec", "paused"):
        writes.extend(_forget_old(deployment, found))
    writes.extend(_status_write(deployment, count_up(deployment, found, now)))
    return Plan(tuple(writes))


def _roll(deployment: JsonObject, found: Generations, now: datetime) -> Plan:
    if found.new is None:
        return _start(deployment, found, now)
    writes: list[Write] = list(grow_new(deployment, found) or shrink_old(deployment, found))
    if not writes and is_complete(deployment, object_at(deployment, "status")):
        writes.extend(_forget_old(deployment, found))
    return _end(deployment, found, writes, now)


def _recreate(deployment: JsonObject, found: Generations, facts: Facts, now: datetime) -> Plan:
    down = [resize(deployment, item, 0) for item in active(found.old)]
    if down or _old_pods_live(found, facts):
        return _end(deployment, found, down, now)
    if found.new is None:
        return _start(deployment, found, now)
    writes: list[Write] = []
    if wanted(found.new) != wanted(deployment):
        writes.append(resize(deployment, found.new, wanted(deployment)))
    if is_complete(deployment, object_at(deployment, "status")):
        writes.extend(_forget_old(deployment, found))
    return _end(deployment, found, writes, now)


def _end(
    deployment: JsonObject, found: Generations, writes: Sequence[Write], now: datetime
) -> Plan:
    status = rollout_status(deployment, found, now)
    changes = _status_write(deployment, status)
    again = None if changes else look_again(deployment, status, now)
    return Plan((*writes, *changes), again)


def _start(deployment: JsonObject, found: Generations, now: datetime) -> Plan:
    """Make the ReplicaSet of the Deployment's template, and say so."""
    replicas = size_of_new(deployment, found.old, 0)
    manifest = first_replica_set(deployment, found.old, replicas)
    name = name_of(manifest)
    message = f"Scaled up replica set {name} from 0 to {replicas}"
    news = Announcement(deployment, "ScalingReplicaSet", message) if replicas else None
    changed = _with_revision(deployment, annotations_of(manifest)[REVISION])
    if deadline_seconds(deployment) is not None:
        said = f'Created new replica set "{name}"'
        condition = progress_condition(TRUE, "NewReplicaSetCreated", said, now)
        changed = with_status(changed, with_progress(deployment, condition))
    writes: list[Write] = [Create(REPLICA_SET, manifest, done=news)]
    if changed != deployment:
        writes.append(Replace(DEPLOYMENT.resource, changed, "status"))
    return Plan(tuple(writes))


def _notes(deployment: JsonObject, found: Generations, now: datetime) -> tuple[Write, ...]:
    """Annotations and revision numbers that have to be put right before anything else."""
    if found.new is None:
        return ()
    new = noted(deployment, found.new, found.old)
    if new is not found.new:
        return (Replace(REPLICA_SET.resource, new),)
    changed = _with_revision(deployment, str(revision_of(new)))
    if deadline_seconds(deployment) is not None and progress_of(deployment) is None:
        said = f'Found new replica set "{name_of(new)}"'
        condition = progress_condition(TRUE, "FoundNewReplicaSet", said, now)
        changed = with_status(changed, with_progress(deployment, condition))
    return () if changed is deployment else (Replace(DEPLOYMENT.resource, changed, "status"),)


def _with_revision(deployment: JsonObject, revision: str) -> JsonObject:
    annotations = annotations_of(deployment)
    if annotations.get(REVISION) == revision:
        return deployment
    return with_annotations(deployment, {**annotations, REVISION: revision})


def _forget_old(deployment: JsonObject, found: Generations) -> list[Delete]:
    """Deletions of the oldest revisions beyond the limit; one that has pods stays."""
    limit = history_limit(deployment)
    alive = [item for item in found.old if not is_deleted(item)]
    if limit is None or len(alive) <= limit:
        return []
    ordered = sorted(alive, key=lambda item: (revision_of(item), created_order(item)))
    return [
        Delete(REPLICA_SET.resource, item)
        for item in ordered[: len(alive) - limit]
        if not wanted(item) and not count_at(item, "status", "replicas") and _is_observed(item)
    ]


def _is_observed(item: JsonObject) -> bool:
    seen = count_at(item, "status", "observedGeneration")
    return seen >= count_at(item, "metadata", "generation")


def _old_pods_live(found: Generations, facts: Facts) -> bool:
    if status_sum(found.old, "replicas"):
        return True
    return any(not is_finished(pod) for item in found.old for pod in controlled(facts, item, POD))


def _selects_all(deployment: JsonObject) -> Plan:
    message = "This deployment is selecting all pods. A non-empty selector is required."
    news = Announcement(deployment, "SelectingAll", message, warning=True)
    if _is_observed(deployment):
        return NOTHING
    seen = count_at(deployment, "metadata", "generation")
    status = {**object_at(deployment, "status"), "observedGeneration": seen}
    return Plan((news, *_status_write(deployment, status)))


def _refused(deployment: JsonObject, refusal: Refusal, now: datetime) -> Plan:
    """Say why the new ReplicaSet could not be made; a name that is taken is counted."""
    write = refusal.write
    if not isinstance(write, Create) or refusal.namespace_ends:
        return Plan(failed=not refusal.namespace_ends)
    if refusal.reason == "AlreadyExists":
        collisions = count_at(deployment, "status", "collisionCount") + 1
        status = {**object_at(deployment, "status"), "collisionCount": collisions}
        return Plan(tuple(_status_write(deployment, status)))
    name = text_at(write.manifest, "metadata", "name")
    message = f'Failed to create new replica set "{name}": {refusal.message}'
    reason = "ReplicaSetCreateError"
    writes: list[Write] = []
    if deadline_seconds(deployment) is not None:
        condition = progress_condition(FALSE, reason, message, now)
        writes.extend(_status_write(deployment, with_progress(deployment, condition)))
    writes.append(Announcement(deployment, reason, message, warning=True))
    return Plan(tuple(writes), failed=True)


def _write_status(deployment: JsonObject, status: JsonObject) -> Plan:
    return Plan(tuple(_status_write(deployment, status)))


def _status_write(deployment: JsonObject, status: JsonObject) -> list[Replace]:
    if object_at(deployment, "status") == status:
        return []
    return [Replace(DEPLOYMENT.resource, with_status(deployment, status), "status")]
