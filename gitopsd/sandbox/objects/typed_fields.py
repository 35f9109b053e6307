"""Values seen through their types: which fields they hold, how two differ, what is left of one.

The rules are those of structured-merge-diff (sigs.k8s.io/structured-merge-diff, ``typed``), told
for sets in the shape of :mod:`gitopsd.sandbox.objects.managed_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.objects.managed_fields import (
    LEAF,
    SELF,
    FieldSet,
    Scalar,
    is_member,
    key_element,
    value_element,
)
from gitopsd.sandbox.objects.schema_tree import ABSENT, DEDUCED, UNTYPED, Maybe, Schema


class ItemError(ValueError):
    """An item of a keyed list or a set cannot be told apart from others; the text says why."""


def item_element(schema: Schema, item: Json) -> str:
    """The path element of an item of a keyed list or a set.

    Raises:
        ItemError: It has none.
    """
    if schema.keys:
        return _keyed_element(schema, item)
    if isinstance(item, Mapping):
        raise ItemError("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise ItemError("not supported: associative list with lists as elements")
    if item is None:
        raise ItemError("associative list without keys has an element that's an explicit null")
    return value_element(_scalar(item))


def _scalar(value: Json) -> Scalar:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _keyed_element(schema: Schema, item: Json) -> str:
    if item is None:
        raise ItemError("associative list with keys may not have a null element")
    if not isinstance(item, Mapping):
        raise ItemError("associative list with keys may not have non-map elements")
    names, values = [], []
    for name in schema.keys:
        value = item.get(name, ABSENT)
        if value is ABSENT:
            value = schema.key_default(name)
            if value is ABSENT or value is None:
                continue
        names.append(name)
        values.append(_scalar(value))
    if not names:
        keys = " ".join(f'"{key}"' for key in schema.keys)
        raise ItemError(
            f"associative list with keys has an element that omits all key fields [{keys}] "
            "(and doesn't have default values for any key fields)"
        )
    return key_element(tuple(names), tuple(values))


def _items(schema: Schema, value: Json) -> tuple[Schema, dict[str, list[Json]]]:
    """The type of a list's items, and the items by element; more than one each when duplicated."""
    found: dict[str, list[Json]] = {}
    for item in value if isinstance(value, list) else ():
        found.setdefault(item_element(schema, item), []).append(item)
    return schema.items or UNTYPED, found


def below(schema: Schema, name: str) -> Schema:
    """The type of a field; anything when the type does not say."""
    known = schema.fields.get(name)
    return known.schema if known is not None else schema.values or DEDUCED


def owned_fields(value: Json, schema: Schema) -> FieldSet:
    """The set of every leaf and item that a value mentions: what its applier owns."""
    return _owned(value, schema) or {}


def _owned(value: Json, schema: Schema) -> FieldSet | None:
    """The node of a value; None when nothing of it is in the set."""
    shape = schema.shape_of(value)
    if shape == "scalar":
        return LEAF
    if shape == "map":
        if schema.atomic:
            return LEAF
        return _owned_map(value, schema) if isinstance(value, Mapping) else None
    if shape == "list":
        if schema.list_kind == "atomic":
            return LEAF
        return _owned_list(value, schema) if isinstance(value, list) else None
    return None


def _owned_map(value: JsonObject, schema: Schema) -> FieldSet | None:
    node: FieldSet = {}
    fields = schema.fields
    for name, item in value.items():
        known = fields.get(name)
        found = _owned(item, known.schema if known else schema.values or DEDUCED)
        if known is None or item is None or item == {}:
            found = _member(found)
        if found is not None:
            node[f"f:{name}"] = found
    return node or None


def _owned_list(value: Json, schema: Schema) -> FieldSet | None:
    type_, items = _items(schema, value)
    node = {
        element: LEAF if len(same) > 1 else _member(_owned(same[0], type_))
        for element, same in items.items()
    }
    return node or None


def _member(node: FieldSet | None) -> FieldSet:
    """The node, itself in the set too."""
    if not node:
        return LEAF
    return node if SELF in node else {SELF: LEAF, **node}


def all_fields(value: Json, schema: Schema) -> FieldSet:
    """The node of a value that was not there before: everything in it, objects and lists too."""
    shape = schema.shape_of(value)
    if shape == "map" and not schema.atomic and isinstance(value, Mapping) and value:
        node: FieldSet = {SELF: LEAF}
        for name, item in value.items():
            node[f"f:{name}"] = all_fields(item, below(schema, name))
        return node
    if shape == "list" and schema.list_kind != "atomic" and isinstance(value, list) and value:
        type_, items = _items(schema, value)
        node = {SELF: LEAF}
        for element, same in items.items():
            node[element] = LEAF if len(same) > 1 else all_fields(same[0], type_)
        return node
    return LEAF


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two values differ.

    Attributes:
        removed: What only the first has.
        modified: What both have, differently.
        added: What only the second has.
    """

    removed: FieldSet
    modified: FieldSet
    added: FieldSet


_Nodes: TypeAlias = "tuple[FieldSet | None, FieldSet | None, FieldSet | None]"
_SAME: _Nodes = (None, None, None)
_MODIFIED: _Nodes = (None, LEAF, None)


def compare(before: Json, after: Json, schema: Schema) -> Comparison:
    """How two values of a type differ."""
    removed, modified, added = _compare(before, after, schema)
    return Comparison(removed or {}, modified or {}, added or {})


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if one is other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def _compare(before: Json, after: Json, schema: Schema) -> _Nodes:
    if same(before, after):
        return _SAME
    one, other = schema.shape_of(before), schema.shape_of(after)
    found = _compare_as(one, before, after, schema)
    if one != other:
        found = _merge_nodes(found, _compare_as(other, before, after, schema))
    return found


def _merge_nodes(one: _Nodes, other: _Nodes) -> _Nodes:
    return (one[0] or other[0], one[1] if one[1] is not None else other[1], one[2] or other[2])


def _compare_as(shape: str, before: Json, after: Json, schema: Schema) -> _Nodes:
    # What is no object or no list counts as an empty one; two empty ones are a leaf.
    if shape == "map" and not schema.atomic:
        ours: JsonObject = before if isinstance(before, Mapping) else {}
        theirs: JsonObject = after if isinstance(after, Mapping) else {}
        if ours or theirs:
            return _compare_maps(ours, theirs, schema)
    elif (
        shape == "list"
        and schema.list_kind != "atomic"
        and (_has_items(before) or _has_items(after))
    ):
        return _compare_lists(before, after, schema)
    return _MODIFIED


class _Collector:
    """Gathers what is below a node."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.removed: FieldSet = {}
        self.modified: FieldSet = {}
        self.added: FieldSet = {}

    def add(self, element: str, nodes: _Nodes) -> None:
        """Put what was found of an element below it."""
        removed, modified, added = nodes
        if removed is not None:
            self.removed[element] = removed
        if modified is not None:
            self.modified[element] = modified
        if added is not None:
            self.added[element] = added

    def nodes(self) -> _Nodes:
        """What was gathered."""
        return (self.removed or None, self.modified or None, self.added or None)


def _has_items(value: Maybe) -> bool:
    return isinstance(value, list) and bool(value)


def _compare_maps(ours: JsonObject, theirs: JsonObject, schema: Schema) -> _Nodes:
    found = _Collector()
    for name, value in ours.items():
        other = theirs.get(name, ABSENT)
        if other is ABSENT:
            found.removed[f"f:{name}"] = all_fields(value, below(schema, name))
        elif value is not other and not same(value, other):
            found.add(f"f:{name}", _compare(value, other, below(schema, name)))
    for name, value in theirs.items():
        if name not in ours:
            found.added[f"f:{name}"] = all_fields(value, below(schema, name))
    return found.nodes()


def _compare_lists(before: Json, after: Json, schema: Schema) -> _Nodes:
    found = _Collector()
    type_, ours = _items(schema, before)
    _, theirs = _items(schema, after)
    for element in {**ours, **theirs}:
        found.add(element, _compare_items(ours.get(element, []), theirs.get(element, []), type_))
    return found.nodes()


def _compare_items(ours: list[Json], theirs: list[Json], schema: Schema) -> _Nodes:
    """Compare the items of one element: usually one each; duplicates are one atomic whole."""
    if len(ours) > 1 and len(theirs) > 1:
        return _SAME if ours == theirs else _MODIFIED
    if len(ours) > 1:
        return (LEAF, None, all_fields(theirs[0], schema) if theirs else None)
    if len(theirs) > 1:
        return (all_fields(ours[0], schema) if ours else None, None, LEAF)
    if not ours:
        return (None, None, all_fields(theirs[0], schema))
    if not theirs:
        return (all_fields(ours[0], schema), None, None)
    return _compare(ours[0], theirs[0], schema)


def remove_fields(value: Json, schema: Schema, fields: FieldSet) -> Json:
    """What is left of a value without these fields and items; null when nothing is."""
    shape = schema.shape_of(value)
    if shape == "map":
        left = _without_fields(value, schema, fields)
        return left or None
    if shape == "list":
        return _without_items(value, schema, fields) or None
    return value


def _without_fields(value: Json, schema: Schema, fields: FieldSet) -> dict[str, Json]:
    left: dict[str, Json] = {}
    if schema.atomic or not isinstance(value, Mapping):
        return left
    for name, item in value.items():
        node = fields.get(f"f:{name}")
        if node is None:
            left[name] = item
        elif not is_member(node):
            left[name] = remove_fields(item, below(schema, name), node)
    return left


def _without_items(value: Json, schema: Schema, fields: FieldSet) -> list[Json]:
    left: list[Json] = []
    if schema.list_kind == "atomic" or not isinstance(value, list):
        return left
    for item in value:
        node = fields.get(item_element(schema, item))
        if node is None:
            left.append(item)
        elif not is_member(node):
            left.append(remove_fields(item, schema.items or UNTYPED, node))
    return left


def with_named_fields(fields: FieldSet, schema: Schema) -> FieldSet:
    """The set with every field that the type names and that has something below it."""
    found: FieldSet = {}
    for element, node in fields.items():
        if not node or element == SELF:
            found[element] = node
            continue
        name = element[2:]
        if element.startswith("f:"):
            known = schema.fields.get(name) if schema.is_map else None
            type_ = known.schema if known else (schema.values if schema.is_map else None)
            inner = with_named_fields(node, type_) if type_ else node
            found[element] = {SELF: LEAF, **inner} if known and SELF not in inner else inner
        else:
            type_ = schema.items if element.startswith("k:") and schema.is_list else None
            found[element] = with_named_fields(node, type_) if type_ else node
    return found
