"""How a Deployment moves its ReplicaSets' sizes. Pure.

Rules: ``pkg/controller/deployment/{sync,rolling,recreate}.go``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.deployment_numbers import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    active,
    annotated_number,
    is_rolling,
    max_surge,
    max_unavailable,
    size_annotations,
    spec_sum,
    status_sum,
    wanted,
)
from gitopsd.sandbox.controllers.facts import REPLICA_SET, Announcement, Replace
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    created_order,
    name_of,
    with_annotations,
    with_spec,
)
from gitopsd.sandbox.fields import text_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.controllers.deployment_revisions import Generations


def resize(deployment: JsonObject, replica_set: JsonObject, replicas: int) -> Replace:
    """The write that gives a ReplicaSet a size, and the Event that tells of it."""
    had = wanted(replica_set)
    annotations = {**annotations_of(replica_set), **size_annotations(deployment)}
    changed = with_annotations(with_spec(replica_set, {"replicas": replicas}), annotations)
    direction = "up" if replicas > had else "down"
    name = name_of(replica_set)
    message = f"Scaled {direction} replica set {name} from {had} to {replicas}"
    news = Announcement(deployment, "ScalingReplicaSet", message) if replicas != had else None
    return Replace(REPLICA_SET.resource, changed, done=news)


def size_of_new(deployment: JsonObject, sets: Sequence[JsonObject], has: int) -> int:
    """How large the new ReplicaSet should be now, when it has `has` pods.

    Args:
        deployment: The Deployment.
        sets: All its ReplicaSets, the new one included if it exists.
        has: The new one's size.
    """
    total = wanted(deployment)
    if not is_rolling(deployment):
        return total
    room = total + max_surge(deployment) - spec_sum(sets)
    return has if room <= 0 else has + min(room, total - has)


def was_resized(deployment: JsonObject, sets: Sequence[JsonObject]) -> bool:
    """Whether the Deployment's size changed since its ReplicaSets were told."""
    told = (annotated_number(item, DESIRED_REPLICAS) for item in active(sets))
    return any(number is not None and number != wanted(deployment) for number in told)


def spread(deployment: JsonObject, found: Generations) -> list[Replace]:
    """Resize outside of a rollout: what is active takes its share of the difference."""
    total = wanted(deployment)
    one = _only_active(found)
    if one is not None:
        return [] if wanted(one) == total else [resize(deployment, one, total)]
    if found.new is not None and _is_saturated(deployment, found.new):
        return [resize(deployment, item, 0) for item in active(found.old)]
    if not is_rolling(deployment):
        return []
    sets = active(found.all)
    to_add = (total + max_surge(deployment) if total > 0 else 0) - spec_sum(sets)
    ordered = _largest_first(sets, newer=to_add > 0)
    added = 0
    sizes: list[int] = []
    for item in ordered:
        part = _share(item, deployment, to_add, added)
        sizes.append(wanted(item) + part)
        added += part
    if sizes and to_add:
        sizes[0] = max(sizes[0] + to_add - added, 0)
    told = size_annotations(deployment)
    return [
        resize(deployment, item, size)
        for item, size in zip(ordered, sizes, strict=True)
        if size != wanted(item) or not told.items() <= annotations_of(item).items()
    ]


def grow_new(deployment: JsonObject, found: Generations) -> list[Replace]:
    """The rollout's step up: the new ReplicaSet, as far as the surge allows."""
    if found.new is None:
        return []
    has, total = wanted(found.new), wanted(deployment)
    size = total if has > total else size_of_new(deployment, found.all, has)
    return [] if has == size else [resize(deployment, found.new, size)]


def shrink_old(deployment: JsonObject, found: Generations) -> list[Replace]:
    """The rollout's step down: old pods go as far as enough others are available.

    Those that are not healthy go first, since nobody misses them.
    """
    old = active(found.old)
    if not old or found.new is None:
        return []
    min_available = wanted(deployment) - max_unavailable(deployment)
    new_missing = wanted(found.new) - count_at(found.new, "status", "availableReplicas")
    allowed = spec_sum(found.all) - min_available - new_missing
    if allowed <= 0:
        return []
    ordered = sorted(old, key=created_order)
    sizes = [wanted(item) for item in ordered]
    for place, item in enumerate(ordered):
        unhealthy = wanted(item) - count_at(item, "status", "availableReplicas")
        cut = max(min(allowed, unhealthy), 0)
        sizes[place] -= cut
        allowed -= cut
    spare = status_sum([*ordered, found.new], "availableReplicas") - min_available
    for place in range(len(ordered)):
        cut = max(min(spare, sizes[place]), 0)
        sizes[place] -= cut
        spare -= cut
    return [
        resize(deployment, item, size)
        for item, size in zip(ordered, sizes, strict=True)
        if size != wanted(item)
    ]


def _only_active(found: Generations) -> JsonObject | None:
    busy = active(found.all)
    if len(busy) == 1:
        return busy[0]
    if busy or not found.all:
        return None
    return found.new if found.new is not None else max(found.old, key=created_order)


def _is_saturated(deployment: JsonObject, new: JsonObject) -> bool:
    total = wanted(deployment)
    return (
        wanted(new) == total
        and annotated_number(new, DESIRED_REPLICAS) == total
        and count_at(new, "status", "availableReplicas") == total
    )


def _largest_first(sets: Sequence[JsonObject], *, newer: bool) -> list[JsonObject]:
    """By size; among equals the newest first when growing, the oldest first when shrinking."""
    by_age = sorted(
        sets, key=lambda item: text_at(item, "metadata", "creationTimestamp"), reverse=newer
    )
    return sorted(by_age, key=wanted, reverse=True)


def _share(replica_set: JsonObject, deployment: JsonObject, to_add: int, added: int) -> int:
    left = to_add - added
    if wanted(replica_set) == 0 or left == 0:
        return 0
    fraction = _fraction(replica_set, deployment)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(replica_set: JsonObject, deployment: JsonObject) -> int:
    has, total = wanted(replica_set), wanted(deployment)
    if total == 0:
        return -has
    before = annotated_number(replica_set, MAX_REPLICAS) or count_at(
        deployment, "status", "replicas"
    )
    if before == 0:
        return 0
    size = has * (total + max_surge(deployment)) / before
    return math.floor(size + 0.5) - has
