"""Strategic merge patch: what client-side ``kubectl apply`` and ``kubectl patch`` send.

Lists merge by the keys that the schema names, with the directives ``$patch``, ``$retainKeys``,
``$deleteFromPrimitiveList/<list>`` and ``$setElementOrder/<list>``. The rules are those of
k8s.io/apimachinery ``pkg/util/strategicpatch``, on the server's side: null removes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.objects.go_text import go_text
from gitopsd.sandbox.objects.patches import PatchError
from gitopsd.sandbox.objects.schema_tree import DEDUCED, Schema

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_patch(value: JsonObject, patch: JsonObject, schema: Schema) -> dict[str, Json]:
    """Apply a strategic merge patch and return the new object.

    Raises:
        PatchError: The patch makes no sense.
    """
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: item for name, item in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive is not None:
        raise PatchError(f"unknown patch type: {directive} in map: {go_text(patch)}")
    merged = _retained(value, patch)
    done = set()
    for name, order in patch.items():
        if name.startswith(_ORDER):
            list_name = name.removeprefix(_ORDER)
            done.add(list_name)
            _merge_ordered(merged, patch, list_name, order, schema)
    for name, item in patch.items():
        if name.startswith(_DELETE_FROM):
            _delete_from(merged, name.removeprefix(_DELETE_FROM), item)
        elif name not in done and not name.startswith("$"):
            _merge_field(merged, name, item, schema)
    return merged


def _retained(value: JsonObject, patch: JsonObject) -> dict[str, Json]:
    """The object without the fields that a list of kept ones leaves out."""
    if _RETAIN not in patch:
        return dict(value)
    kept = patch[_RETAIN]
    named = {name for name, item in patch.items() if item is not None and not name.startswith("$")}
    if not isinstance(kept, list) or not named <= set(kept):
        raise PatchError("invalid patch format of retainKeys")
    return {name: item for name, item in value.items() if name in kept}


def _field(schema: Schema, name: str) -> tuple[Schema, tuple[str, ...], str]:
    """A field's type, strategies and merge key."""
    known = schema.fields.get(name)
    if known is not None:
        return known.schema, known.strategies, known.merge_key
    return schema.values or DEDUCED, (), ""


def _merge_field(merged: dict[str, Json], name: str, item: Json, schema: Schema) -> None:
    if item is None:
        merged.pop(name, None)
        return
    old = merged.get(name)
    if isinstance(old, Mapping) and isinstance(item, Mapping):
        type_, strategies, _ = _field(schema, name)
        merged[name] = item if "replace" in strategies else strategic_patch(old, item, type_)
    elif isinstance(old, list) and isinstance(item, list):
        type_, strategies, key = _field(schema, name)
        if "merge" in strategies:
            item = _merge_lists(old, item, type_.items or DEDUCED, key)
        merged[name] = item
    else:
        plain = _plain(item)
        if plain is None:
            merged.pop(name, None)
        else:
            merged[name] = plain


def _plain(item: Json) -> Json:
    """A value that nothing was there for: without directives and nulls; None when it is one."""
    if isinstance(item, Mapping):
        if _PATCH in item:
            return None
        found = {name: _plain(value) for name, value in item.items() if not name.startswith("$")}
        return {name: value for name, value in found.items() if value is not None}
    if isinstance(item, list):
        kept = (_plain(value) for value in item)
        return [value for value in kept if value is not None]
    return item


def _delete_from(merged: dict[str, Json], name: str, items: Json) -> None:
    old = merged.get(name)
    if isinstance(old, list) and isinstance(items, list):
        merged[name] = [item for item in old if item not in items]


def _merge_lists(old: list[Json], new: list[Json], schema: Schema, key: str) -> list[Json]:
    merged, wanted = _merge_items(old, new, schema, key)
    return _ordered(merged, wanted, old, key)


def _merge_items(
    old: list[Json], new: list[Json], schema: Schema, key: str
) -> tuple[list[Json], list[Json]]:
    """The merged items in no particular order, and the patch's without directives."""
    if not any(isinstance(item, Mapping) for item in (*old, *new)):
        unique: list[Json] = []
        for item in (*old, *new):
            if item not in unique:
                unique.append(item)
        return unique, new
    if not key:
        raise PatchError(f"cannot merge lists without merge key for {schema.name}")
    merged, wanted = _follow_directives(old, new, key)
    if merged is None:
        return wanted, wanted
    for item in wanted:
        value = _key_of(item, key)
        place = next((i for i, kept in enumerate(merged) if _peek(kept, key) == value), None)
        kept = {} if place is None else merged[place]
        if place is None:
            merged.append(_plain(item))
        elif isinstance(kept, Mapping) and isinstance(item, Mapping):
            merged[place] = strategic_patch(kept, item, schema)
    return merged, wanted


def _follow_directives(
    old: list[Json], new: list[Json], key: str
) -> tuple[list[Json] | None, list[Json]]:
    """The old items that stay, None when all are replaced; and the new ones."""
    merged, wanted, replaces = list(old), [], False
    for item in new:
        directive = item.get(_PATCH) if isinstance(item, Mapping) else None
        if directive is None:
            wanted.append(item)
        elif directive == "delete":
            gone = _key_of(item, key)
            merged = [kept for kept in merged if _peek(kept, key) != gone]
        elif directive == "replace":
            replaces = True
        else:
            raise PatchError(f"unknown patch type: {directive} in map: {go_text(item)}")
    return (None if replaces else merged), wanted


def _key_of(item: Json, key: str) -> Json:
    if not isinstance(item, Mapping) or key not in item:
        raise PatchError(f"map: {go_text(item)} does not contain declared merge key: {key}")
    return item[key]


def _peek(item: Json, key: str) -> Json:
    return item.get(key) if isinstance(item, Mapping) else None


def _check_order(new: list[Json], order: list[Json], key: str) -> None:
    """Check that what is listed comes in the order that is told; deletions come anywhere."""
    listed = iter([_peek(item, key) if key else item for item in order])
    for item in new:
        is_directive = isinstance(item, Mapping) and _PATCH in item
        if not is_directive and (_peek(item, key) if key else item) not in listed:
            raise PatchError(
                f"The order in patch list:\n{go_text(new)}\n doesn't match $setElementOrder list:\n"
                f"{go_text(order)}\n"
            )


def _merge_ordered(
    merged: dict[str, Json], patch: JsonObject, name: str, order: Json, schema: Schema
) -> None:
    """Merge a list whose order the patch tells."""
    old, new = merged.get(name), patch.get(name)
    type_, strategies, key = _field(schema, name)
    if not isinstance(order, list):
        raise PatchError("invalid patch format of setElementOrder list")
    if isinstance(new, list) and order:
        _check_order(new, order, key)
    removed = patch.get(f"{_DELETE_FROM}{name}")
    if isinstance(old, list) and isinstance(new, list):
        items = (
            _merge_items(old, new, type_.items or DEDUCED, key)[0] if "merge" in strategies else new
        )
    elif isinstance(new, list):
        plain = _plain(new)
        items = plain if isinstance(plain, list) else []
    elif isinstance(old, list):
        items = old
    else:
        return
    if isinstance(removed, list):
        items = [item for item in items if item not in removed]
    merged[name] = _ordered(items, order, old if isinstance(old, list) else [], key)


def _ordered(
    items: Sequence[Json], wanted: Sequence[Json], old: Sequence[Json], key: str
) -> list[Json]:
    """Items in the order of the patch, and the server's own ones where they were between them."""

    def place(order: Sequence[Json], item: Json) -> int:
        value = _peek(item, key) if key else item
        for index, other in enumerate(order):
            if (_peek(other, key) if key else other) == value:
                return index
        return -1

    ours = sorted(
        (item for item in items if place(wanted, item) >= 0), key=lambda item: place(wanted, item)
    )
    theirs = sorted(
        (item for item in items if place(wanted, item) < 0), key=lambda item: place(old, item)
    )
    merged: list[Json] = []
    i = j = 0
    while i < len(theirs) or j < len(ours):
        if j >= len(ours):
            take_theirs = True
        elif i >= len(theirs):
            take_theirs = False
        else:
            left, right = place(old, theirs[i]), place(old, ours[j])
            take_theirs = 0 <= left < right
        merged.append(theirs[i] if take_theirs else ours[j])
        i, j = (i + 1, j) if take_theirs else (i, j + 1)
    return merged


def left_over(patch: Json) -> Json:
    """What merging leaves of a patch: a real server shows it after lists were taken out of it."""
    if not isinstance(patch, Mapping):
        return patch
    ordered = {name.removeprefix(_ORDER) for name in patch if name.startswith(_ORDER)}
    return {
        name: left_over(value)
        for name, value in patch.items()
        if name not in ordered and name != _RETAIN and not name.startswith(_ORDER)
    }
