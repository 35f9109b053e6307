"""The garbage collector: what nobody owns any more goes, in the way that was asked for. Pure.

Rules: ``pkg/controller/garbagecollector/garbagecollector.go``. A key's name is an object's uid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.deletion import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from gitopsd.sandbox.controllers.facts import (
    NOTHING,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Resource,
    Write,
)
from gitopsd.sandbox.controllers.ownership import without_reference
from gitopsd.sandbox.controllers.reading import (
    finalizers_of,
    is_deleted,
    name_of,
    namespace_of,
    uid_of,
    with_finalizers,
    with_metadata,
)
from gitopsd.sandbox.fields import objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one object, by its owners and by how its deletion was asked for."""
    del now
    found = facts.by_uid(key.name)
    if found is None:
        return NOTHING
    if refusals:
        return Plan(failed=True)
    resource, item = found
    if is_deleted(item):
        if ORPHAN_FINALIZER in finalizers_of(item):
            return _orphan(resource, item, facts)
        return _wait_for_dependents(resource, item, facts)
    return _judge(resource, item, facts)


def concerned(item: JsonObject, before: JsonObject | None, facts: Facts, *, gone: bool) -> set[Key]:
    """The objects to look at after a change of one: itself, its owners, those that it owned."""
    keys = set[Key]()
    if gone or is_deleted(item):
        keys.update(Key("", uid_of(other)) for _, other in facts.dependents(uid_of(item)))
    references = objects_at(item, "metadata", "ownerReferences")
    old = objects_at(before, "metadata", "ownerReferences") if before is not None else ()
    for reference in (*references, *old):
        owner = facts.by_uid(text_at(reference, "uid"))
        if owner is not None and is_deleted(owner[1]):
            keys.add(Key("", text_at(reference, "uid")))
    if not gone and (references or (is_deleted(item) and finalizers_of(item))):
        keys.add(Key("", uid_of(item)))
    return keys


def _orphan(resource: Resource, item: JsonObject, facts: Facts) -> Plan:
    """Let the dependents go free, then the object go."""
    writes: list[Write] = [
        Replace(place, _without_owners(other, {uid_of(item)}))
        for place, other in facts.dependents(uid_of(item))
    ]
    kept = tuple(text for text in finalizers_of(item) if text != ORPHAN_FINALIZER)
    writes.append(Replace(resource, with_finalizers(item, kept)))
    return Plan(tuple(writes))


def _wait_for_dependents(resource: Resource, item: JsonObject, facts: Facts) -> Plan:
    """An object deleted in the foreground goes when nothing is left that blocks it."""
    if FOREGROUND_FINALIZER not in finalizers_of(item):
        return NOTHING
    if any(_blocks(other, item) for _, other in facts.dependents(uid_of(item))):
        return NOTHING
    kept = tuple(text for text in finalizers_of(item) if text != FOREGROUND_FINALIZER)
    return Plan((Replace(resource, with_finalizers(item, kept)),))


def _judge(resource: Resource, item: JsonObject, facts: Facts) -> Plan:
    """An object without a living owner is deleted; references to dead ones are taken off."""
    references = objects_at(item, "metadata", "ownerReferences")
    solid, dying, dead = 0, set[str](), set[str]()
    for reference in references:
        owner = _owner(reference, item, facts)
        if owner is None:
            dead.add(text_at(reference, "uid"))
        elif is_deleted(owner) and FOREGROUND_FINALIZER in finalizers_of(owner):
            dying.add(text_at(reference, "uid"))
        else:
            solid += 1
    if not dead and not dying:
        return NOTHING
    if solid:
        return Plan((Replace(resource, _without_owners(item, dead | dying)),))
    return Plan((Delete(resource, item, _propagation(item, facts, foreground=bool(dying))),))


def _propagation(item: JsonObject, facts: Facts, *, foreground: bool) -> str:
    finalizers = finalizers_of(item)
    if foreground and facts.dependents(uid_of(item)):
        return "Foreground"
    if ORPHAN_FINALIZER in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND_FINALIZER in finalizers else "Background"


def _owner(reference: JsonObject, item: JsonObject, facts: Facts) -> JsonObject | None:
    """The owner that a reference means: the same uid and name, here or without a namespace."""
    found = facts.by_uid(text_at(reference, "uid"))
    if found is None:
        return None
    owner = found[1]
    in_reach = namespace_of(owner) in {"", namespace_of(item)}
    return owner if in_reach and name_of(owner) == text_at(reference, "name") else None


def _blocks(other: JsonObject, owner: JsonObject) -> bool:
    return any(
        text_at(reference, "uid") == uid_of(owner) and reference.get("blockOwnerDeletion") is True
        for reference in objects_at(other, "metadata", "ownerReferences")
    )


def _without_owners(item: JsonObject, uids: set[str]) -> JsonObject:
    changed = item
    for uid in uids:
        changed = with_metadata(
            changed, {"ownerReferences": without_reference(changed, uid) or None}
        )
    return changed
