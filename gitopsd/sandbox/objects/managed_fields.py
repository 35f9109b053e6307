"""Which fields a manager owns: sets of field paths in the format of ``metadata.managedFields``.

A set is kept in the very shape that Kubernetes writes (FieldsV1), so that reading and writing cost
nothing: a dict from path element to the set below it. An element is one of ``f:name`` (a field),
``k:{"name":"x"}`` (an item of a keyed list) and ``v:"x"`` (an item of a set). An element with
nothing below it is a member; one with something below it is a member when that holds ``.``.

Sets are never changed after they were made, and share their parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError

Scalar: TypeAlias = "str | int | float | bool | None"
"""A JSON value without parts."""

FieldSet: TypeAlias = "dict[str, FieldSet]"
"""A set of field paths."""

Path: TypeAlias = tuple[str, ...]
"""Path elements from the object's root."""

SELF = "."
LEAF: FieldSet = {}
"""What stands below a member that has nothing below it. Never changed."""


class FieldsError(PermanentError):
    """``fieldsV1`` is not in its format."""


def _go_json(value: Json) -> str:
    """Compact JSON as Go writes it: markup characters are escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@lru_cache(maxsize=8192, typed=True)
def _key(names: tuple[str, ...], *values: Scalar) -> str:
    pairs = sorted(zip(names, values, strict=True), key=lambda pair: pair[0])
    return "k:{" + ",".join(f"{_go_json(name)}:{_go_json(value)}" for name, value in pairs) + "}"


@lru_cache(maxsize=8192, typed=True)
def _value(value: Scalar) -> str:
    return f"v:{_go_json(value)}"


def key_element(names: tuple[str, ...], values: tuple[Scalar, ...]) -> str:
    """The element of the list item that has these values in its key fields."""
    return _key(names, *values)


def value_element(value: Scalar) -> str:
    """The element of this item of a set."""
    return _value(value)


def is_member(node: FieldSet) -> bool:
    """Whether the element above `node` is itself in the set."""
    return not node or SELF in node


def parse_fields(fields: Json) -> FieldSet:
    """Read ``fieldsV1``.

    Raises:
        FieldsError: It is not in the format.
    """
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise FieldsError("fieldsV1 must be an object")
    return {_parse_element(element): parse_fields(below) for element, below in fields.items()}


@lru_cache(maxsize=8192)
def _parse_element(element: str) -> str:
    if element == SELF or element.startswith("f:"):
        return element
    content = element[2:]
    try:
        if element.startswith("v:"):
            return _value(json.loads(content))
        if element.startswith("k:"):
            keys = json.loads(content)
            return _key(tuple(keys), *keys.values())
        if element.startswith("i:"):
            return f"i:{int(content)}"
    except (AttributeError, TypeError, ValueError) as error:
        raise FieldsError(f"a path element cannot be read: {element}") from error
    raise FieldsError(f"a path element is of no known kind: {element}")


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in either."""
    if not one or not other:
        return one or other
    found = dict(one)
    for element, theirs in other.items():
        ours = found.get(element)
        if ours is None:
            found[element] = theirs
        elif ours is not theirs and element != SELF:
            found[element] = _with_self(union(ours, theirs), is_member(ours) or is_member(theirs))
    return found


def _with_self(node: FieldSet, member: bool) -> FieldSet:  # noqa: FBT001 - two sides of one fact
    """The node with its own membership; an empty one is always a member."""
    if not node or member == (SELF in node):
        return node
    if member:
        return {SELF: LEAF, **node}
    return {element: below for element, below in node.items() if element != SELF}


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in `one` and not in `other`, element by element: children stay without parents."""
    found: FieldSet = {}
    for element, ours in one.items():
        if element == SELF:
            if SELF not in other:
                found[SELF] = LEAF
            continue
        theirs = other.get(element)
        if theirs is None:
            found[element] = ours
            continue
        below = {key: node for key, node in difference(ours, theirs).items() if key != SELF}
        if is_member(ours) and not is_member(theirs):
            found[element] = {SELF: LEAF, **below} if below else LEAF
        elif below:
            found[element] = below
    return found


def without(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in `one` and neither in `other` nor below a member of it."""
    found: FieldSet = {}
    for element, ours in one.items():
        theirs = other.get(element)
        if theirs is None:
            found[element] = ours
        elif not is_member(theirs):
            member = is_member(ours)
            below = without({key: node for key, node in ours.items() if key != SELF}, theirs)
            if below:
                found[element] = {SELF: LEAF, **below} if member else below
            elif member:
                found[element] = LEAF
    return found


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in both."""
    if one is other:
        return one
    found: FieldSet = {}
    for element, ours in one.items():
        theirs = other.get(element)
        if theirs is None or element == SELF:
            continue
        below = intersection(ours, theirs)
        if is_member(ours) and is_member(theirs):
            found[element] = {SELF: LEAF, **below} if below else LEAF
        elif below:
            found[element] = below
    return found


def has(fields: FieldSet, path: Path) -> bool:
    """Whether a path is a member."""
    node = fields
    for element in path:
        below = node.get(element)
        if below is None:
            return False
        node = below
    return bool(path) and is_member(node)


def paths(fields: FieldSet) -> Iterator[Path]:
    """Every member in Kubernetes' order: at each level members first, then what is below."""
    elements = sorted((element for element in fields if element != SELF), key=_order)
    for element in elements:
        if is_member(fields[element]):
            yield (element,)
    for element in elements:
        for below in paths(fields[element]):
            yield (element, *below)


_KINDS = {"f": 0, "k": 1, "v": 2, "i": 3}


@lru_cache(maxsize=8192)
def _order(element: str) -> tuple[object, ...]:
    kind = _KINDS[element[0]]
    if kind == 0:
        return (kind, element[2:])
    content = json.loads(element[2:])
    if kind == _KINDS["k"]:
        return (kind, tuple((name, *_value_order(value)) for name, value in content.items()))
    return (kind, *_value_order(content))


def _value_order(value: Json) -> tuple[object, ...]:
    """Numbers before strings before booleans, as structured-merge-diff compares them."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    return (1, value) if isinstance(value, str) else (3, str(value))


def format_path(path: Path) -> str:
    """A path as Kubernetes prints it: ``.spec.containers[name="api"].image``."""
    return "".join(format_element(element) for element in path)


@lru_cache(maxsize=8192)
def format_element(element: str) -> str:
    """One element as Kubernetes prints it."""
    content = element[2:]
    if element.startswith("f:"):
        return f".{content}"
    if element.startswith("i:"):
        return f"[{content}]"
    if element.startswith("v:"):
        return f"[={_print(json.loads(content))}]"
    keys = json.loads(content)
    return "[" + ",".join(f"{name}={_print(value)}" for name, value in keys.items()) + "]"


def _print(value: Json) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else f"{value}"
