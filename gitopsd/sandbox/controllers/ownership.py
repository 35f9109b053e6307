"""Who controls what: controller references, adoption and release. Pure.

Rules: ``pkg/controller/controller_ref_manager.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import Facts, Key, Kind, Replace
from gitopsd.sandbox.controllers.reading import (
    finalizers_of,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_finalizers,
    with_metadata,
)
from gitopsd.sandbox.controllers.selectors import is_empty, matches
from gitopsd.sandbox.fields import object_at, objects_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject


def controller_reference(owner: JsonObject, kind: Kind) -> dict[str, str | bool]:
    """The ownerReference of an object that `owner` manages."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(item: JsonObject) -> JsonObject | None:
    """The reference to the one owner that manages an object; None for an orphan."""
    for reference in objects_at(item, "metadata", "ownerReferences"):
        if reference.get("controller") is True:
            return reference
    return None


def is_controlled_by(item: JsonObject, owner: JsonObject) -> bool:
    """Whether `owner`, and no other object of its name, manages an object."""
    reference = controller_of(item)
    return reference is not None and text_at(reference, "uid") == uid_of(owner)


def controlled(facts: Facts, owner: JsonObject, kind: Kind) -> list[JsonObject]:
    """The objects of a kind that `owner` manages, oldest first."""
    return [
        item
        for resource, item in facts.dependents(uid_of(owner))
        if resource == kind.resource and is_controlled_by(item, owner)
    ]


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner has, and the writes that make it so.

    Attributes:
        owned: What it manages, adopted ones included.
        writes: Adoptions and releases.
    """

    owned: tuple[JsonObject, ...]
    writes: tuple[Replace, ...]


def claim(
    facts: Facts, owner: JsonObject, owner_kind: Kind, kind: Kind, *, finalizer: str = ""
) -> Claim:
    """Adopt orphans that the owner's selector chooses; let go of what it no longer chooses.

    An owner that is being deleted adopts nothing. `finalizer` is added to what is adopted.
    """
    selector = object_at(owner, "spec", "selector")
    owned: list[JsonObject] = []
    writes: list[Replace] = []
    for item in controlled(facts, owner, kind):
        if matches(selector, labels_of(item)):
            owned.append(item)
        elif not is_deleted(owner):
            writes.append(Replace(kind.resource, _released(item, owner, finalizer)))
    if not is_deleted(owner) and not is_empty(selector):
        for item in facts.orphans(kind.resource, namespace_of(owner)):
            if not is_deleted(item) and matches(selector, labels_of(item)):
                adopted = _adopted(item, owner, owner_kind, finalizer)
                owned.append(adopted)
                writes.append(Replace(kind.resource, adopted))
    return Claim(tuple(owned), tuple(writes))


def without_reference(item: JsonObject, uid: str) -> list[JsonObject]:
    """An object's ownerReferences but for those to one owner."""
    references = objects_at(item, "metadata", "ownerReferences")
    return [reference for reference in references if text_at(reference, "uid") != uid]


def _adopted(item: JsonObject, owner: JsonObject, kind: Kind, finalizer: str) -> JsonObject:
    references = [*without_reference(item, uid_of(owner)), controller_reference(owner, kind)]
    changed = with_metadata(item, {"ownerReferences": references})
    return with_finalizers(changed, (*_but(item, finalizer), finalizer)) if finalizer else changed


def _released(item: JsonObject, owner: JsonObject, finalizer: str) -> JsonObject:
    references = without_reference(item, uid_of(owner))
    changed = with_metadata(item, {"ownerReferences": references or None})
    return with_finalizers(changed, _but(item, finalizer)) if finalizer else changed


def _but(item: JsonObject, finalizer: str) -> tuple[str, ...]:
    return tuple(text for text in finalizers_of(item) if text != finalizer)


def owner_keys(item: JsonObject | None, kind: Kind) -> set[Key]:
    """The key of the object of `kind` that manages an object: for telling it of a change."""
    if item is None:
        return set()
    reference = controller_of(item)
    if reference is None or text_at(reference, "kind") != kind.kind:
        return set()
    if text_at(reference, "apiVersion").rpartition("/")[0] != kind.resource.group:
        return set()
    return {Key(namespace_of(item), text_at(reference, "name"))}


def suitor_keys(facts: Facts, item: JsonObject | None, kind: Kind) -> set[Key]:
    """Keys of the objects of `kind` that would adopt an orphan."""
    if item is None or controller_of(item) is not None:
        return set()
    labels = labels_of(item)
    found = set[Key]()
    for owner in facts.among(kind.resource, namespace_of(item)):
        selector = object_at(owner, "spec", "selector")
        if not is_empty(selector) and matches(selector, labels):
            found.add(Key(namespace_of(owner), name_of(owner)))
    return found
