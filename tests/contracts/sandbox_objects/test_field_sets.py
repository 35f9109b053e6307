"""Sets of owned fields: the algebra, and the shape that Kubernetes writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.sandbox.objects.managed_fields import (
    LEAF,
    SELF,
    FieldsError,
    FieldSet,
    difference,
    format_path,
    has,
    intersection,
    key_element,
    parse_fields,
    paths,
    union,
    value_element,
    without,
)

_ELEMENTS = st.sampled_from(
    ["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'k:{"name":"y"}', 'v:"z"', "v:1"]
)
_PATHS = st.lists(_ELEMENTS, min_size=1, max_size=3).map(tuple)


def _make(members: list[tuple[str, ...]]) -> FieldSet:
    made: FieldSet = {}
    for path in members:
        node: FieldSet = LEAF
        for element in reversed(path):
            node = {element: node}
        made = union(made, node)
    return made


_SETS = st.lists(_PATHS, max_size=6).map(_make)


def _members(fields: FieldSet) -> set[tuple[str, ...]]:
    return set(paths(fields))


@given(members=st.lists(_PATHS, max_size=6))
def test_set_holds_what_was_put_in(members: list[tuple[str, ...]]) -> None:
    """Members are found again, each once, and nothing else is."""
    fields = _make(members)

    assert _members(fields) == set(members)
    assert len(list(paths(fields))) == len(set(members))
    assert all(has(fields, path) for path in members)


@given(one=_SETS, other=_SETS)
def test_algebra_is_that_of_sets(one: FieldSet, other: FieldSet) -> None:
    """Union, difference and intersection are those of the sets of paths."""
    ours, theirs = _members(one), _members(other)

    assert _members(union(one, other)) == ours | theirs
    assert _members(difference(one, other)) == ours - theirs
    assert _members(intersection(one, other)) == ours & theirs


@given(one=_SETS, other=_SETS)
def test_a_field_goes_with_all_that_is_below_it(one: FieldSet, other: FieldSet) -> None:
    """Taking a field away entirely takes everything below it, and nothing beside it."""
    gone = {
        path
        for path in _members(one)
        if any(path[: len(other_path)] == other_path for other_path in _members(other))
    }

    assert _members(without(one, other)) == _members(one) - gone


@given(fields=_SETS)
def test_written_form_is_read_again(fields: FieldSet) -> None:
    """A set is its own written form."""
    assert parse_fields(fields) == fields


@given(one=_SETS, other=_SETS)
def test_sets_never_change(one: FieldSet, other: FieldSet) -> None:
    """Operations leave what they are given as it was."""
    before = (_members(one), _members(other))

    for operate in (union, difference, intersection, without):
        operate(one, other)

    assert (_members(one), _members(other)) == before


@pytest.mark.parametrize(
    "path,expected",
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (
            ("f:spec", "f:containers", key_element(("name",), ("api",)), "f:image"),
            '.spec.containers[name="api"].image',
        ),
        (
            ("f:ports", key_element(("port", "protocol"), (80, "TCP"))),
            '.ports[port=80,protocol="TCP"]',
        ),
        (("f:finalizers", value_element("a/b")), '.finalizers[="a/b"]'),
        (("f:numbers", value_element(5)), ".numbers[=5]"),
        (("f:flags", value_element(True)), ".flags[=true]"),
        (("f:list", "i:3"), ".list[3]"),
    ],
)
def test_path_is_printed_as_kubernetes_does(path: tuple[str, ...], expected: str) -> None:
    """Fields by name, items by their keys, members of sets by their value."""
    assert format_path(path) == expected


def test_keys_are_in_one_form_however_they_came() -> None:
    """Keys in another order or with spaces mean the same item."""
    read = parse_fields({'k:{"protocol": "TCP", "port": 80}': {}})

    assert read == {key_element(("port", "protocol"), (80, "TCP")): {}}


def test_true_is_not_one_in_a_key() -> None:
    """Values of different types are different items, whatever Python thinks of them."""
    assert value_element(1) != value_element(value=True)


def test_markup_is_escaped_as_go_escapes_it() -> None:
    """Characters that mean something in HTML are written as escapes."""
    assert value_element("<a&b>") == 'v:"\\u003ca\\u0026b\\u003e"'


@pytest.mark.parametrize("fields", ["text", {"x:y": {}}, {"k:[1]": {}}, {"v:": {}}, {"i:x": {}}])
def test_what_is_no_set_is_refused(fields: object) -> None:
    """Anything that is not in the format is told apart from an empty set."""
    with pytest.raises(FieldsError):
        parse_fields(fields)  # type: ignore[arg-type] # the point of the test


def test_members_come_before_what_is_below_them() -> None:
    """Paths are listed level by level: first what is there itself, then what is below."""
    fields = parse_fields({"f:b": {}, "f:a": {SELF: {}, "f:x": {}}, "f:c": {"f:y": {}}})

    assert [format_path(path) for path in paths(fields)] == [".a", ".b", ".a.x", ".c.y"]
