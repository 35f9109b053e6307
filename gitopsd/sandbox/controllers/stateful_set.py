"""StatefulSets: pods with numbers, one after the other, rolled from the last to the first. Pure.

Rules: ``pkg/controller/statefulset/stateful_set_control.go``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.amounts import scaled
from gitopsd.sandbox.controllers.deployment_numbers import wanted
from gitopsd.sandbox.controllers.facts import (
    NOTHING,
    POD,
    STATEFUL_SET,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.ownership import claim
from gitopsd.sandbox.controllers.pods import (
    is_available,
    is_finished,
    is_ready,
    min_ready_of,
    next_available,
    phase_of,
)
from gitopsd.sandbox.controllers.reading import count_at, is_deleted, name_of, with_status
from gitopsd.sandbox.controllers.revisions import (
    HASH_LABEL,
    Revisions,
    outdated,
    revisions_of,
    template_of,
)
from gitopsd.sandbox.controllers.stateful_pods import (
    delete_pod,
    first_ordinal,
    leave_claims,
    make_pod,
    missing_claims,
    ordinal_of,
    revision_label,
)
from gitopsd.sandbox.fields import field_at, object_at, text_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject


@dataclass(slots=True)
class _Round:
    """One look at a StatefulSet: what is there, and what is to be written."""

    owner: JsonObject
    facts: Facts
    now: datetime
    current: JsonObject
    update: JsonObject
    pods: dict[int, JsonObject]
    writes: list[Write] = field(default_factory=list)
    deleted_for_update: int = 0

    @property
    def ordered(self) -> bool:
        return text_at(self.owner, "spec", "podManagementPolicy") != "Parallel"

    @property
    def places(self) -> range:
        start = first_ordinal(self.owner)
        return range(start, start + wanted(self.owner))

    @property
    def condemned(self) -> list[int]:
        return sorted((place for place in self.pods if place not in self.places), reverse=True)

    def is_up(self, pod: JsonObject) -> bool:
        """Whether a pod runs and has been ready for long enough."""
        running = phase_of(pod) == "Running"
        return running and is_available(pod, min_ready_of(self.owner), self.now)

    def is_missing(self, place: int) -> bool:
        """Whether a pod does not serve, or will soon not."""
        pod = self.pods.get(place)
        return pod is None or is_deleted(pod) or not self.is_up(pod)


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one StatefulSet."""
    owner = facts.find(STATEFUL_SET.resource, *key)
    if owner is None:
        return NOTHING
    mine = claim(facts, owner, STATEFUL_SET, POD)
    if mine.writes:
        return Plan(mine.writes)
    revisions = revisions_of(facts, owner, STATEFUL_SET, label=HASH_LABEL)
    if revisions.update is None or revisions.write is not None:
        return _number(revisions, refusals)
    numbered = ((ordinal_of(pod, owner), pod) for pod in mine.owned)
    pods = {place: pod for place, pod in numbered if place is not None}
    current = _current(owner, revisions.all, revisions.update)
    look = _Round(owner, facts, now, current, revisions.update, pods)
    if not refusals and not is_deleted(owner):
        _move(look)
    status = _status(look)
    if status != object_at(owner, "status"):
        look.writes.append(Replace(STATEFUL_SET.resource, with_status(owner, status), "status"))
    live = {name_of(current), name_of(revisions.update), *map(revision_label, mine.owned)}
    limit = count_at(owner, "spec", "revisionHistoryLimit", default=10)
    again = next_available(list(pods.values()), min_ready_of(owner), now)
    writes = (*look.writes, *outdated(revisions.all, live, limit))
    return Plan(writes, again, failed=any(not item.namespace_ends for item in refusals))


def _number(revisions: Revisions, refusals: Sequence[Refusal]) -> Plan:
    if refusals or revisions.write is None:
        return Plan(failed=not any(item.namespace_ends for item in refusals))
    return Plan((revisions.write,))


def _current(owner: JsonObject, revisions: Sequence[JsonObject], update: JsonObject) -> JsonObject:
    name = text_at(owner, "status", "currentRevision")
    return next((item for item in revisions if name_of(item) == name), update)


def _move(look: _Round) -> None:
    """Make, mend, end and replace pods, each only when what comes before it stands."""
    for place in look.places:
        if not _settle(look, place):
            return
    if not _end_condemned(look):
        return
    if text_at(look.owner, "spec", "updateStrategy", "type") != "OnDelete":
        _replace_old(look)


def _settle(look: _Round, place: int) -> bool:
    """See to one place; whether to go on with the next."""
    pod = look.pods.get(place)
    if pod is None:
        look.writes.extend(missing_claims(look.owner, place, look.facts))
        revision = _revision_for(look, place)
        template = template_of(revision)
        look.writes.append(make_pod(look.owner, template, name_of(revision), place))
        return not look.ordered
    if is_finished(pod):
        # Whatever its exit code was: a StatefulSet's pod is to run.
        if not is_deleted(pod):
            look.writes.append(delete_pod(look.owner, pod))
        return not look.ordered
    if phase_of(pod) == "Pending":
        look.writes.extend(missing_claims(look.owner, place, look.facts))
    return not look.ordered or not look.is_missing(place)


def _end_condemned(look: _Round) -> bool:
    """End pods beyond the wanted number, the last first; whether to go on."""
    unhealthy = next(
        (place for place in (*look.places, *reversed(look.condemned)) if look.is_missing(place)),
        None,
    )
    for place in look.condemned:
        pod = look.pods[place]
        if is_deleted(pod):
            if look.ordered:
                return False
            continue
        if look.ordered and not look.is_up(pod) and place != unhealthy:
            return False
        look.writes.extend(leave_claims(look.owner, pod, place, look.facts))
        look.writes.append(delete_pod(look.owner, pod))
        if look.ordered:
            return False
    return True


def _replace_old(look: _Round) -> None:
    """End pods of older revisions, the last first, as many as may be missing at a time."""
    rolling = ("spec", "updateStrategy", "rollingUpdate")
    allowed = max(
        scaled(
            field_at(look.owner, *rolling, "maxUnavailable"),
            wanted(look.owner),
            up=False,
            default=1,
        ),
        1,
    )
    partition = first_ordinal(look.owner) + count_at(look.owner, *rolling, "partition")
    old = [
        place
        for place in reversed(look.places)
        if place >= partition
        and place in look.pods
        and revision_label(look.pods[place]) != name_of(look.update)
        and not is_deleted(look.pods[place])
    ]
    budget = allowed - sum(look.is_missing(place) for place in look.places)
    if look.ordered:
        chosen = old[: max(budget, 0)]
    else:
        # Those that do not serve anyway go first and cost nothing.
        broken = [place for place in old if look.is_missing(place)]
        serving = [place for place in old if not look.is_missing(place)]
        chosen = [*broken, *serving[: max(budget, 0)]]
    look.writes.extend(delete_pod(look.owner, look.pods[place]) for place in chosen)
    look.deleted_for_update = len(chosen)


def _revision_for(look: _Round, place: int) -> JsonObject:
    """The revision of a pod to be made: below the partition the current one."""
    strategy = object_at(look.owner, "spec", "updateStrategy")
    if text_at(strategy, "type", default="RollingUpdate") != "RollingUpdate":
        return look.update
    rolling = object_at(strategy, "rollingUpdate")
    kept = (
        count_at(rolling, "partition")
        if rolling
        else count_at(look.owner, "status", "currentReplicas")
    )
    return look.current if place < first_ordinal(look.owner) + kept else look.update


def _status(look: _Round) -> dict[str, Json]:
    pods = list(look.pods.values())
    total = wanted(look.owner)
    staying = [pod for pod in pods if not is_deleted(pod)]
    ready = sum(phase_of(pod) == "Running" and is_ready(pod) for pod in pods)
    updated = sum(revision_label(pod) == name_of(look.update) for pod in staying)
    current = sum(revision_label(pod) == name_of(look.current) for pod in staying)
    current -= look.deleted_for_update
    current_revision = name_of(look.current)
    if updated == ready == len(pods) == total:
        current, current_revision = updated, name_of(look.update)
    numbers = {
        "readyReplicas": ready,
        "currentReplicas": current,
        "updatedReplicas": updated,
    }
    status: dict[str, Json] = {
        "observedGeneration": count_at(look.owner, "metadata", "generation"),
        "replicas": len(pods),
        **{name: number for name, number in numbers.items() if number},
        "currentRevision": current_revision,
        "updateRevision": name_of(look.update),
        "collisionCount": count_at(look.owner, "status", "collisionCount"),
        "availableReplicas": sum(look.is_up(pod) for pod in pods),
    }
    conditions = object_at(look.owner, "status").get("conditions")
    if conditions:
        status["conditions"] = conditions
    return status
