"""Server-side apply in memory: who owns which field, what conflicts, what goes.

Simpler than a server's in one thing: a list is one field, whatever its items are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gitopsd.domain.manifests import Json

Path: TypeAlias = tuple[str, ...]
Owner: TypeAlias = tuple[str, str]
"""(manager, ``Apply`` or ``Update``)."""
Owners: TypeAlias = "dict[Owner, frozenset[Path]]"

_SERVER_FIELDS = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"}
)
_IDENTITY = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply makes of an object."""

    body: dict[str, Json]
    owners: Owners


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that an apply without force may not take.

    Attributes:
        path: The field.
        manager: Who owns it.
    """

    path: Path
    manager: str


def leaves(obj: Mapping[str, Json]) -> dict[Path, Json]:
    """Read every field that somebody can own: no identity, nothing that only the server writes."""
    return {
        path: value
        for path, value in _walk(obj, ())
        if path not in _IDENTITY
        and path[0] != "status"
        and not (path[0] == "metadata" and path[1] in {*_SERVER_FIELDS, "managedFields"})
    }


def _walk(value: Mapping[str, Json], path: Path) -> Iterable[tuple[Path, Json]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _walk(inner, (*path, key))
        else:
            yield (*path, key), inner


def apply_fields(
    body: Mapping[str, Json], owners: Owners, manager: str, sent: Mapping[str, Json], *, force: bool
) -> Applied | tuple[FieldConflict, ...]:
    """Apply a manifest: set what it lists, drop what its manager listed before and alone."""
    wanted, live = leaves(sent), leaves(body)
    mine: Owner = (manager, "Apply")
    conflicts = [
        FieldConflict(path, owner[0])
        for owner, paths in sorted(owners.items())
        if owner != mine
        for path in sorted(paths & wanted.keys())
        if live.get(path) != wanted[path]
    ]
    if conflicts and not force:
        return tuple(conflicts)
    taken = {conflict.path for conflict in conflicts}
    kept = {owner: paths - taken for owner, paths in owners.items() if owner != mine}
    others = frozenset().union(*kept.values())
    dropped = owners.get(mine, frozenset()) - wanted.keys() - others
    merged = copy.deepcopy(dict(body))
    for path in dropped:
        _remove(merged, path)
    for path, value in wanted.items():
        _put(merged, path, value)
    for path in _IDENTITY:
        found = _find(sent, path)
        if found is not None:
            _put(merged, path, found)
    owned = {owner: paths for owner, paths in kept.items() if paths}
    return Applied(merged, {**owned, mine: frozenset(wanted)})


def write_fields(
    before: Mapping[str, Json], owners: Owners, manager: str, after: Mapping[str, Json]
) -> Owners:
    """Give the fields that a write changed to its manager; others lose them."""
    old, new = leaves(before), leaves(after)
    changed = frozenset(path for path, value in new.items() if old.get(path) != value)
    mine: Owner = (manager, "Update")
    kept = {
        owner: frozenset(path for path in paths - changed if path in new)
        for owner, paths in owners.items()
    }
    kept[mine] = kept.get(mine, frozenset()) | changed
    return {owner: paths for owner, paths in kept.items() if paths}


def to_managed_fields(owners: Owners, api_version: str) -> list[Json]:
    """Write ownership as ``metadata.managedFields``."""
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": _to_fields(paths),
        }
        for (manager, operation), paths in sorted(owners.items())
    ]


def from_managed_fields(entries: Json) -> Owners:
    """Read ownership back from ``metadata.managedFields``."""
    owners: Owners = {}
    for entry in entries if isinstance(entries, list) else ():
        fields = entry.get("fieldsV1") if isinstance(entry, Mapping) else None
        if isinstance(entry, Mapping) and isinstance(fields, Mapping):
            owner = (str(entry.get("manager")), str(entry.get("operation")))
            paths = (path for path, _ in _walk(fields, ()))
            owners[owner] = frozenset(
                tuple(part.removeprefix("f:") for part in path) for path in paths
            )
    return owners


def _to_fields(paths: Iterable[Path]) -> dict[str, Json]:
    fields: dict[str, Json] = {}
    for path in sorted(paths):
        _put(fields, tuple(f"f:{part}" for part in path), {})
    return fields


def _put(obj: dict[str, Json], path: Path, value: Json) -> None:
    for part in path[:-1]:
        inner = obj.get(part)
        if not isinstance(inner, dict):
            inner = {}
            obj[part] = inner
        obj = inner
    obj[path[-1]] = copy.deepcopy(value)


def _remove(obj: dict[str, Json], path: Path) -> None:
    inner = obj.get(path[0])
    if len(path) > 1 and isinstance(inner, dict):
        _remove(inner, path[1:])
        if inner:
            return
    obj.pop(path[0], None)


def _find(obj: Mapping[str, Json], path: Path) -> Json:
    found: Json = dict(obj)
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
