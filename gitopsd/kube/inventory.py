"""The objects gitopsd applied for a stage: their ConfigMap, and what may be deleted.

Theory: the list in the cluster is written before anything is applied (old united with new), so
that a crash leaves nothing untracked; an object is deleted only when the list, its uid and its
labels all say that it is ours; what could not be deleted stays on the list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Inventory, InventoryEntry, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError
from gitopsd.kube import names
from gitopsd.kube.objects import (
    annotations_of,
    is_terminating,
    labels_of,
    mapping_at,
    parse_integer,
    string_at,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gitopsd.domain.config import PruneLimits
    from gitopsd.domain.manifests import Json, JsonObject

OBJECTS_KEY = "objects"
_MAX_NAME = 253
_FIELDS = 7

_PROTECTED_KINDS = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)


@dataclass(frozen=True, slots=True)
class PruneItem:
    """One object that left Git.

    Attributes:
        entry: Its entry; for a deletion with the live uid, which is the delete's precondition.
        reason: Why this happens to it, in one clause.
    """

    entry: InventoryEntry
    reason: str


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What happens to objects that are on the list and no longer in Git.

    Attributes:
        delete: Objects to delete.
        keep: Objects that stay in the cluster and on the list.
        drop: Objects that only leave the list.
    """

    delete: tuple[PruneItem, ...] = ()
    keep: tuple[PruneItem, ...] = ()
    drop: tuple[PruneItem, ...] = ()


def is_protected(key: ObjectKey) -> bool:
    """Whether deleting the object would take others or data with it (Namespace, CRD, PV, PVC)."""
    return (key.group, key.kind) in _PROTECTED_KINDS


def inventory_name(application: str, stage: str) -> str:
    """Name the ConfigMap of a stage: ``gitopsd-<application>-<stage>``.

    Where that would be too long, or ambiguous because the stage's name has a hyphen, a hash of
    both names is appended.
    """
    name = f"gitopsd-{application}-{stage}"
    if len(name) <= _MAX_NAME and "-" not in stage:
        return name
    mark = hashlib.sha256(f"{application}/{stage}".encode()).hexdigest()[:10]
    return f"{name[: _MAX_NAME - len(mark) - 1]}-{mark}"


def encode_inventory(inventory: Inventory, namespace: str) -> dict[str, Json]:
    """Write an inventory as its ConfigMap.

    Args:
        inventory: The inventory; its ``resource_version``, when there is one, becomes the
            precondition of the write.
        namespace: gitopsd's own namespace of the cluster.
    """
    annotations = {
        names.INSTALLATION_ANNOTATION: inventory.installation,
        names.FENCE_ANNOTATION: str(inventory.fence),
        names.RELEASE_ANNOTATION: inventory.release,
        names.RENDERED_ANNOTATION: inventory.rendered,
    }
    if inventory.destination:
        annotations[names.DESTINATION_ANNOTATION] = inventory.destination
    if inventory.paused:
        annotations[names.PAUSED_ANNOTATION] = "true"
    metadata: dict[str, Json] = {
        "name": inventory_name(inventory.application, inventory.stage),
        "namespace": namespace,
        "labels": {
            names.APPLICATION_LABEL: inventory.application,
            names.STAGE_LABEL: inventory.stage,
            names.MANAGED_BY_LABEL: names.MANAGED_BY,
        },
        "annotations": annotations,
    }
    if inventory.resource_version:
        metadata["resourceVersion"] = inventory.resource_version
    lines = [_encode_entry(entry) for entry in sorted(inventory.entries, key=_by_ref)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {OBJECTS_KEY: "".join(f"{line}\n" for line in lines)},
    }


def _by_ref(entry: InventoryEntry) -> ObjectRef:
    return entry.ref


def _encode_entry(entry: InventoryEntry) -> str:
    key = entry.ref.key
    fields = (key.group, entry.ref.version, key.kind, key.namespace, key.name)
    return json.dumps([*fields, entry.uid, entry.applied], separators=(",", ":"))


def decode_inventory(config_map: JsonObject) -> Inventory:
    """Read an inventory from its ConfigMap.

    Raises:
        PermanentError: ``BadInventory``, when it is damaged: guessing would delete or forget.
    """
    annotations = annotations_of(config_map)
    labels = labels_of(config_map)
    fence = parse_integer(annotations.get(names.FENCE_ANNOTATION, ""))
    installation = annotations.get(names.INSTALLATION_ANNOTATION, "")
    application = labels.get(names.APPLICATION_LABEL, "")
    stage = labels.get(names.STAGE_LABEL, "")
    if fence is None or fence < 0:
        raise _damaged(config_map, f"annotation {names.FENCE_ANNOTATION} is no number")
    if not (installation and application and stage):
        raise _damaged(config_map, "it does not say whose it is")
    text = mapping_at(config_map, "data").get(OBJECTS_KEY, "")
    if not isinstance(text, str):
        raise _damaged(config_map, f"data.{OBJECTS_KEY} is no text")
    return Inventory(
        installation=installation,
        application=application,
        stage=stage,
        fence=fence,
        release=annotations.get(names.RELEASE_ANNOTATION, ""),
        rendered=annotations.get(names.RENDERED_ANNOTATION, ""),
        entries=tuple(
            _decode_entry(config_map, number, line)
            for number, line in enumerate(text.splitlines(), start=1)
        ),
        paused=names.parse_paused(config_map),
        resource_version=string_at(config_map, "metadata", "resourceVersion"),
        destination=annotations.get(names.DESTINATION_ANNOTATION, ""),
    )


def begin_anew(inventory: Inventory, destination: str) -> tuple[Inventory, Inventory | None]:
    """Begin a new inventory when a stage writes elsewhere now.

    The objects at the old destination are shown and not touched: their list lives on in a
    ConfigMap of its own, and nothing prunes by it.

    Args:
        inventory: The inventory as the cluster has it.
        destination: Where the stage writes now, in the words of `Inventory.destination`.

    Returns:
        The inventory to go on with, and the one to keep for people; None when it is the same.
    """
    if not inventory.entries or inventory.destination in ("", destination):
        return replace(inventory, destination=destination), None
    fresh = replace(inventory, entries=(), destination=destination)
    return fresh, replace(inventory, resource_version="")


def encode_retired(inventory: Inventory, namespace: str) -> dict[str, Json]:
    """Write the list of a destination that was left, under the stage's name and its last fence."""
    body = encode_inventory(inventory, namespace)
    metadata = dict(mapping_at(body, "metadata"))
    name = inventory_name(inventory.application, f"{inventory.stage}-left-{inventory.fence}")
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    return {**body, "metadata": {**metadata, "name": name, "labels": labels}}


def _decode_entry(config_map: JsonObject, number: int, line: str) -> InventoryEntry:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(config_map, f"line {number} of data.{OBJECTS_KEY} is no JSON") from error
    if (
        not isinstance(fields, list)
        or len(fields) != _FIELDS
        or not all(isinstance(field, str) for field in fields)
    ):
        raise _damaged(config_map, f"line {number} of data.{OBJECTS_KEY} is no entry")
    group, version, kind, namespace, name, uid, applied = fields
    return InventoryEntry(ObjectRef(ObjectKey(group, kind, namespace, name), version), uid, applied)


def _damaged(config_map: JsonObject, problem: str) -> PermanentError:
    name = string_at(config_map, "metadata", "name")
    return PermanentError(
        f"inventory ConfigMap {name}: {problem}; restore it, or delete it; then what left Git "
        "before is yours to delete",
        reason="BadInventory",
    )


def union(
    old: Iterable[InventoryEntry], new: Iterable[InventoryEntry]
) -> tuple[InventoryEntry, ...]:
    """Unite what is on the list with what is about to be applied.

    The new version of a reference wins; a uid is kept while the new one is not known; ``applied``
    survives only where both sides agree, because a crash must not leave the list claiming that
    bytes are in the cluster which may not be.

    Returns:
        One entry an object, sorted.
    """
    united = {entry.ref.key: entry for entry in old}
    for entry in new:
        before = united.get(entry.ref.key, InventoryEntry(entry.ref))
        united[entry.ref.key] = replace(
            entry,
            uid=entry.uid or before.uid,
            applied=entry.applied if entry.applied == before.applied else "",
        )
    return tuple(sorted(united.values(), key=_by_ref))


def compute_prune(
    old: Iterable[InventoryEntry],
    new: Iterable[ObjectRef],
    live: Mapping[ObjectKey, JsonObject | None],
    *,
    application: str,
    stage: str,
) -> PrunePlan:
    """Decide what happens to the objects that left Git.

    Deleted is only what carries the labels of this application and stage and has the uid on the
    list (or none is on it: the crash that lost it came after our labels were set), is not
    excluded by annotation, and is no Namespace, CRD, PV or PVC without an annotation that asks.

    Args:
        old: Entries on the list.
        new: Objects of the set that is applied now; when empty, nothing is pruned.
        live: Live object by key, None where it does not exist; a key that is not in it could not
            be looked at, and its object stays.
        application: Application of the stage.
        stage: The stage.
    """
    wanted = {ref.key for ref in new}
    delete: list[PruneItem] = []
    keep: list[PruneItem] = []
    drop: list[PruneItem] = []
    for entry in sorted(old, key=_by_ref):
        if entry.ref.key in wanted:
            continue
        if not wanted:
            keep.append(PruneItem(entry, "nothing is pruned when nothing was rendered"))
        elif entry.ref.key not in live:
            keep.append(PruneItem(entry, "it could not be looked at"))
        else:
            found = live[entry.ref.key]
            reason = _reason_to_drop(entry, found, application, stage)
            if reason or found is None:
                drop.append(PruneItem(entry, reason))
                continue
            item = PruneItem(replace(entry, uid=uid_of(found)), _reason_to_keep(entry, found))
            if item.reason:
                keep.append(item)
            else:
                delete.append(replace(item, reason="it left Git"))
    return PrunePlan(tuple(delete), tuple(keep), tuple(drop))


def _reason_to_drop(
    entry: InventoryEntry, live: JsonObject | None, application: str, stage: str
) -> str:
    if live is None:
        return "it is gone already"
    if entry.uid and entry.uid != uid_of(live):
        return "another object has its name now"
    labels = labels_of(live)
    owner = (labels.get(names.APPLICATION_LABEL, ""), labels.get(names.STAGE_LABEL, ""))
    if owner == (application, stage):
        return ""
    if any(owner):
        return f"it belongs to {owner[0]}/{owner[1]} now"
    return "it no longer carries our labels"


def _reason_to_keep(entry: InventoryEntry, live: JsonObject) -> str:
    if names.parse_prune_disabled(live):
        return "its annotation says that it is not pruned"
    if is_protected(entry.ref.key) and not names.parse_prune_enabled(live):
        return (
            f"a {entry.ref.key.kind} is not pruned unless annotated "
            f"{names.PRUNE_ANNOTATION}: enabled"
        )
    if is_terminating(live):
        return "it is being deleted already"
    return ""


def survivors(plan: PrunePlan, failed: Collection[ObjectKey] = ()) -> tuple[InventoryEntry, ...]:
    """List the entries that stay on the list beside the applied set.

    Args:
        plan: The prune plan that was carried out.
        failed: Objects whose deletion failed or has not ended.
    """
    left = [item.entry for item in plan.keep]
    left += [item.entry for item in plan.delete if item.entry.ref.key in failed]
    return tuple(sorted(left, key=_by_ref))


def exceeds(limits: PruneLimits, deletions: int, total: int) -> bool:
    """Whether so many deletions need a person.

    Args:
        limits: The stage's limits.
        deletions: Objects that would be deleted.
        total: Objects on the list.
    """
    return deletions > limits.objects or deletions > limits.share * total
