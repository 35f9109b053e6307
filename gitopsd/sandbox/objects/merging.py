"""Server-side apply, and keeping book of who owns which field when an object is written otherwise.

The rules are those of structured-merge-diff (``merge/update.go``) and of the field managers around
it (k8s.io/apimachinery ``pkg/util/managedfields``). Objects are never changed in place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.managed_fields import (
    FieldsError,
    FieldSet,
    Path,
    difference,
    format_path,
    has,
    intersection,
    paths,
    union,
    without,
)
from gitopsd.sandbox.objects.managers import (
    BEFORE_FIRST_APPLY,
    Entry,
    Identity,
    Managed,
    Operation,
    format_managed,
    is_reset,
    merge_oldest_updaters,
    parse_managed,
    with_fields,
    without_common_fields,
)
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.status_errors import Cause, StatusError, apply_conflict
from gitopsd.sandbox.objects.typed_fields import (
    Comparison,
    ItemError,
    compare,
    owned_fields,
    remove_fields,
    same,
    with_named_fields,
)
from gitopsd.sandbox.objects.typed_merge import merge_values

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, and where.

    Attributes:
        name: The field manager.
        api_version: The version of the request.
        now: The time, as the API writes it.
        subresource: Empty for the object itself.
        ignored: Fields that a write here cannot change, such as the status.
    """

    name: str
    api_version: str
    now: str
    subresource: str = ""
    ignored: FieldSet | None = None

    def entry(self, operation: Operation, fields: FieldSet) -> Entry:
        """An entry of its own, without a time."""
        return Entry(self.name, operation, self.api_version, self.subresource, "", fields)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that another manager owns.

    Attributes:
        owner: Its entry.
        path: The field.
    """

    owner: Entry
    path: Path


@dataclass(frozen=True, slots=True)
class Merged:
    """What an apply comes to.

    Attributes:
        object: The object with its new managed fields, not yet defaulted.
        changed: Whether anything but the managed fields is new.
    """

    object: dict[str, Json]
    changed: bool


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What an apply would take from other managers.

    Attributes:
        found: Every field, in the order of owners and paths.
    """

    found: tuple[Conflict, ...]

    def refusal(self) -> StatusError:
        """The answer of an API server."""
        causes = [
            Cause(
                "FieldManagerConflict",
                f"conflict with {conflict.owner}",
                format_path(conflict.path),
            )
            for conflict in self.found
        ]
        if len(self.found) == 1:
            message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
            return apply_conflict(message, causes)
        owners: dict[str, list[str]] = {}
        for conflict in self.found:
            owners.setdefault(str(conflict.owner), []).append(format_path(conflict.path))
        lines = []
        for owner, fields in owners.items():
            lines += [f"conflicts with {owner}:", *(f"- {field}" for field in fields)]
        message = f"Apply failed with {len(self.found)} conflicts: " + "\n".join(lines)
        return apply_conflict(message, causes)


def apply(
    live: JsonObject, applied: JsonObject, *, schema: Schema, manager: Manager, force: bool = False
) -> Merged | Conflicts:
    """Lay what a manager applies over the live object, and take away what it no longer applies.

    Args:
        live: The object as it is; the kind's empty object when there is none.
        applied: What is applied; it fits the schema.
        schema: The kind's type.
        manager: Who applies.
        force: Take fields from other managers instead of refusing.

    Raises:
        FieldsError: The live object's managed fields cannot be read.
    """
    managed = parse_managed(object_at(live, "metadata").get("managedFields"))
    bare = set_managed(live, [])
    if not managed:
        managed = _before_first_apply(bare, schema, manager)
    outcome = _apply(bare, applied, schema, managed, manager, force=force)
    if isinstance(outcome, Conflicts) and manager.name == _KUBECTL:
        outcome = _upgrade_from_client_side(bare, applied, schema, managed, manager, outcome)
    if isinstance(outcome, Conflicts):
        return outcome
    merged, after, changed = outcome
    if manager.name == _KUBECTL:
        merged = _follow_last_applied(merged, applied)
    return Merged(set_managed(merged, format_managed(after)), changed)


_Applied = tuple[JsonObject, Managed, bool]


def _apply(
    live: JsonObject,
    applied: JsonObject,
    schema: Schema,
    managed: Managed,
    manager: Manager,
    *,
    force: bool,
) -> _Applied | Conflicts:
    merged: Json = merge_values(live, applied, schema)
    fields = owned_fields(applied, schema)
    if manager.ignored:
        fields = without(fields, manager.ignored)
    entry = manager.entry("Apply", fields)
    last = managed.get(entry.identity)
    after = {**managed, entry.identity: replace(entry, time=last.time if last else "")}
    # Whatever was applied last time and is again stays: only what is missing asks for pruning.
    if last is not None and difference(last.fields, fields):
        merged = _prune(merged, last.fields, after, schema)
    new = merged if isinstance(merged, Mapping) else {}
    difference_ = compare(live, new, schema)
    conflicts = _take(after, difference_, entry.identity, manager)
    if conflicts and not force:
        return Conflicts(conflicts)
    if entry.identity in after:
        without_common_fields(after, entry.identity)
    changed = not same(live, new)
    if changed and entry.identity in after:
        after[entry.identity] = replace(after[entry.identity], time=manager.now)
    return (new if changed else live), after, changed


def _prune(merged: Json, last: FieldSet, managed: Managed, schema: Schema) -> Json:
    """Take away what the manager applied last time, unless anybody owns it now.

    What would go along with it (an item whose last field goes) stays when the manager never
    applied it.
    """
    last = with_named_fields(last, schema)
    pruned = remove_fields(merged, schema, last)
    owned: FieldSet = {}
    for entry in managed.values():
        owned = union(owned, entry.fields)
    everything = with_named_fields(owned_fields(merged, schema), schema)
    left = with_named_fields(owned_fields(pruned, schema), schema)
    gone = difference(everything, union(left, with_named_fields(owned, schema)))
    pruned = remove_fields(merged, schema, gone)
    left = with_named_fields(owned_fields(pruned, schema), schema)
    return remove_fields(merged, schema, intersection(difference(everything, left), last))


def _take(
    managed: Managed, change: Comparison, own: Identity, manager: Manager
) -> tuple[Conflict, ...]:
    """Take what changes from the other entries.

    Returns:
        What was taken although its value is another one now.
    """
    removed, changed = change.removed, union(change.modified, change.added)
    if manager.ignored:
        removed, changed = without(removed, manager.ignored), without(changed, manager.ignored)
    conflicts: list[Conflict] = []
    for identity in sorted(managed):
        entry = managed[identity]
        if identity != own:
            taken = intersection(entry.fields, changed)
            conflicts += [Conflict(entry, path) for path in paths(taken)]
            fields = difference(difference(entry.fields, taken), removed)
            if fields != entry.fields:
                with_fields(managed, identity, fields)
    if own in managed and not managed[own].fields:
        del managed[own]
    return tuple(conflicts)


def _before_first_apply(live: JsonObject, schema: Schema, manager: Manager) -> Managed:
    """Entries for an object that nobody is known to own: what is there belongs to one updater."""
    if not text_at(live, "metadata", "uid"):
        return {}
    before = replace(manager, name=BEFORE_FIRST_APPLY)
    return _update({}, live, schema, {}, before)


def update(
    before: JsonObject, after: JsonObject, *, schema: Schema, manager: Manager
) -> dict[str, Json]:
    """The object with its managed fields after a create, a replacement or a patch.

    Args:
        before: The object as it was; the kind's empty object when it is created.
        after: The object as it shall be, with the managed fields that the request names.
        schema: The kind's type.
        manager: Who writes.
    """
    managed = _entries_of_update(before, after, manager)
    bare = set_managed(after, [])
    # Nobody's book is begun for an object that came to be without one.
    if managed or not text_at(before, "metadata", "uid"):
        try:
            managed = _update(set_managed(before, []), bare, schema, managed, manager)
        except ItemError:
            # An item that cannot be told apart is no matter here: validation complains about it.
            kept = object_at(before, "metadata").get("managedFields")
            return set_managed(bare, kept if isinstance(kept, list) else [])
    return set_managed(bare, format_managed(managed))


def _entries_of_update(before: JsonObject, after: JsonObject, manager: Manager) -> Managed:
    """The entries to go on from: the request's own when it names any that can be read."""
    named = object_at(after, "metadata").get("managedFields")
    if not manager.subresource:
        if is_reset(named):
            return {}
        try:
            managed = parse_managed(named)
        except FieldsError:
            managed = {}
        if managed:
            return managed
    try:
        return parse_managed(object_at(before, "metadata").get("managedFields"))
    except FieldsError:
        return {}


def _update(
    before: JsonObject, after: JsonObject, schema: Schema, managed: Managed, manager: Manager
) -> Managed:
    change = compare(before, after, schema)
    managed = dict(managed)
    nobody: Identity = ("", "", "", "")
    _take(managed, change, nobody, manager)
    fields = union(change.modified, change.added)
    if manager.ignored:
        fields = without(fields, manager.ignored)
    entry = manager.entry("Update", fields)
    if fields:
        bare = {entry.identity: entry}
        without_common_fields(bare, entry.identity)
        if bare:
            known = managed.get(entry.identity)
            own = bare[entry.identity].fields
            managed[entry.identity] = replace(
                entry, fields=union(own, known.fields) if known else own, time=manager.now
            )
    merge_oldest_updaters(managed)
    return managed


def set_managed(obj: JsonObject, entries: list[Json]) -> dict[str, Json]:
    """The object with these managed fields; without any when there are none."""
    metadata = dict(object_at(obj, "metadata"))
    metadata.pop("managedFields", None)
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def _upgrade_from_client_side(
    live: JsonObject,
    applied: JsonObject,
    schema: Schema,
    managed: Managed,
    manager: Manager,
    conflicts: Conflicts,
) -> _Applied | Conflicts:
    """Let kubectl take over what it applied on the client's side before, and nothing else."""
    allowed = _last_applied_fields(live, schema)
    if allowed is None:
        return conflicts
    others = tuple(conflict for conflict in conflicts.found if not has(allowed, conflict.path))
    if others:
        return Conflicts(others)
    return _apply(live, applied, schema, managed, manager, force=True)


def _last_applied_fields(live: JsonObject, schema: Schema) -> FieldSet | None:
    """What the annotation of client-side apply holds and what is still so; None without one."""
    text = text_at(live, "metadata", "annotations", LAST_APPLIED)
    try:
        last = json.loads(text)
    except ValueError:
        return None
    if not isinstance(last, Mapping) or last.get("apiVersion") != live.get("apiVersion"):
        return None
    change = compare(last, live, schema)
    fields = owned_fields(last, schema)
    for changed in (change.modified, change.added, change.removed):
        fields = difference(fields, changed)
    return fields


def _follow_last_applied(merged: JsonObject, applied: JsonObject) -> JsonObject:
    """Keep kubectl's annotation true for those who go back to client-side apply."""
    if not text_at(merged, "metadata", "annotations", LAST_APPLIED):
        return merged
    metadata = object_at(applied, "metadata")
    annotations = {
        key: value
        for key, value in object_at(metadata, "annotations").items()
        if key != LAST_APPLIED
    }
    source: JsonObject = {**applied, "metadata": {**metadata, "annotations": annotations}}
    if not annotations:
        bare = {key: value for key, value in metadata.items() if key != "annotations"}
        source = {**applied, "metadata": bare}
    text = json.dumps(source, separators=(",", ":"), sort_keys=True) + "\n"
    ours = object_at(merged, "metadata")
    annotated = {**object_at(ours, "annotations"), LAST_APPLIED: text}
    return {**merged, "metadata": {**ours, "annotations": annotated}}
