"""Merging an applied value into the live one, and checking that a value fits its type.

The rules, the order of merged lists and the words are those of structured-merge-diff
(sigs.k8s.io/structured-merge-diff, ``typed``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.objects.go_text import go_syntax, go_text, go_type
from gitopsd.sandbox.objects.managed_fields import format_element
from gitopsd.sandbox.objects.schema_tree import ABSENT, DEDUCED, UNTYPED, Maybe, Schema
from gitopsd.sandbox.objects.typed_fields import ItemError, below, item_element


class TypeMismatchError(ValueError):
    """A value does not fit its type; the text lists where and why."""


def check_type(value: Json, schema: Schema) -> None:
    """Check an applied value: known fields, right types, no item twice.

    Raises:
        TypeMismatchError: It does not fit.
    """
    problems = [
        f"{path}: {problem}" if path else problem for path, problem in _check(value, schema)
    ]
    if len(problems) == 1:
        raise TypeMismatchError(problems[0])
    if problems:
        raise TypeMismatchError("\n  ".join(["errors:", *problems]))


_Problem = tuple[str, str]


def _check(value: Json, schema: Schema) -> Iterator[_Problem]:
    shape = schema.shape_of(value)
    if value is None:
        return
    if shape == "map":
        yield from _check_map(value, schema)
    elif shape == "list":
        yield from _check_list(value, schema)
    elif shape == "scalar":
        yield from _check_scalar(value, schema)


def _check_map(value: Json, schema: Schema) -> Iterator[_Problem]:
    if not isinstance(value, Mapping):
        yield "", f"expected map, got &{{{go_text(value)}}}"
        return
    for name, item in sorted(value.items()):
        known = schema.fields.get(name)
        type_ = known.schema if known else schema.values
        if type_ is None:
            yield f".{name}", "field not declared in schema"
            return
        for path, problem in _check(item, type_):
            yield f".{name}{path}", problem


def _check_list(value: Json, schema: Schema) -> Iterator[_Problem]:
    if not isinstance(value, list):
        yield "", f"expected list, got &{{{go_text(value)}}}"
        return
    seen = set()
    for index, item in enumerate(value):
        element = f"i:{index}"
        if schema.list_kind != "atomic":
            try:
                element = item_element(schema, item)
            except ItemError as error:
                yield "", f"element {index}: {error}"
                return
            if element in seen:
                yield "", f"duplicate entries for key {format_element(element)}"
            seen.add(element)
        for path, problem in _check(item, schema.items or UNTYPED):
            yield f"{format_element(element)}{path}", problem


def _check_scalar(value: Json, schema: Schema) -> Iterator[_Problem]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = schema.scalar
    if kind == "numeric" and not is_number:
        yield "", f"expected numeric (int or float), got {go_type(value)}"
    elif kind == "string" and not isinstance(value, str):
        yield "", f"expected string, got &value.valueUnstructured{{Value:{go_syntax(value)}}}"
    elif kind == "boolean" and not isinstance(value, bool):
        yield "", f"expected boolean, got &{{{go_text(value)}}}"
    elif kind == "untyped" and isinstance(value, Mapping | list):
        yield "", f"expected any scalar, got &{{{go_text(value)}}}"


def merge_values(live: Json, applied: Json, schema: Schema) -> Json:
    """The live value with what is applied laid over it; nothing of it is removed.

    Both fit the type; only `live` may have items twice in a keyed list.
    """
    merged = _merge(live, applied, schema)
    return None if merged is ABSENT else merged


def _merge(live: Maybe, applied: Maybe, schema: Schema) -> Maybe:
    if applied is ABSENT or live is ABSENT:
        return live if applied is ABSENT else applied
    shape = schema.shape_of(applied)
    # What is no object or no list counts as an empty one; two empty ones are a leaf.
    if shape == "map" and not schema.atomic:
        ours: JsonObject = live if isinstance(live, Mapping) else {}
        theirs: JsonObject = applied if isinstance(applied, Mapping) else {}
        if ours or theirs:
            return _merge_maps(ours, theirs, schema) or ABSENT
    elif (
        shape == "list"
        and schema.list_kind != "atomic"
        and (_has_items(live) or _has_items(applied))
    ):
        return _merge_lists(live, applied, schema) or ABSENT
    return applied


def _has_items(value: Maybe) -> bool:
    return isinstance(value, list) and bool(value)


def _merge_maps(ours: JsonObject, theirs: JsonObject, schema: Schema) -> dict[str, Json]:
    merged = dict(ours)
    for name, value in theirs.items():
        found = _merge(ours.get(name, ABSENT), value, below(schema, name))
        if found is ABSENT:
            merged.pop(name, None)
        else:
            merged[name] = found
    return merged


def _merge_lists(live: Json, applied: Json, schema: Schema) -> list[Json]:
    """Merge item by item.

    Items that only one side has keep their place beside those of that side; where the sides
    order shared items differently, the applied order wins.
    """
    ours = [(item_element(schema, item), item) for item in live] if isinstance(live, list) else []
    theirs = (
        {item_element(schema, item): item for item in applied} if isinstance(applied, list) else {}
    )
    first: dict[str, Maybe] = {}
    for element, item in ours:
        # Items that are there twice are not merged with: the applied one replaces them.
        first[element] = None if element in first else item
    wanted = list(theirs)
    shared = deque(element for element in wanted if element in first)
    merged: list[Json] = []
    done: set[str] = set()
    i = 0
    while i < len(ours) or len(done) < len(wanted):
        next_wanted = wanted[len(done)] if len(done) < len(wanted) else None
        if i < len(ours):
            element, item = ours[i]
            if element not in theirs:
                merged.append(item)
                i += 1
                continue
            if next_wanted and element != next_wanted and shared and shared[0] != element:
                i += 1  # it comes when its turn in the applied order does
                continue
            if element == next_wanted or element in done:
                i += 1
        if next_wanted is not None:
            found = _merge(
                first.get(next_wanted, ABSENT), theirs[next_wanted], schema.items or DEDUCED
            )
            if found is not ABSENT:
                merged.append(found)
            done.add(next_wanted)
            if shared and shared[0] == next_wanted:
                shared.popleft()
    return merged
