"""Every stored kind of value is read back as it was written, by this version and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from functools import cache
from types import MappingProxyType, UnionType
from typing import NewType, TypeAlias, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gates import GateState
from gitopsd.domain.manifests import Inventory, Json, JsonObject
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Run
from gitopsd.domain.stages import Freeze, Stage
from gitopsd.domain.verifications import Quarantine, Verification
from gitopsd.domain.work import Notification, Token, WorkItem
from gitopsd.errors import PermanentError
from gitopsd.store.codec import Codec, LazyDocuments, codec_of
from gitopsd.store.json_text import dump_json, load_json
from tests.support.store_values import run

_STORED = (
    ApplicationSpec,
    Freeze,
    GateState,
    Inventory,
    Notification,
    Quarantine,
    Release,
    Run,
    Stage,
    Token,
    Verification,
    WorkItem,
)

_TEXT = st.text(max_size=5)
_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is a strategy of its own
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)


class _AnyJson:
    """Stands for JSON, whose own type refers to itself."""


_LEAVES: dict[object, st.SearchStrategy[object]] = {
    _AnyJson: st.dictionaries(_TEXT, _JSON, max_size=3),
    str: _TEXT,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(0, 1),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: _TIMES,
    timedelta: st.timedeltas(timedelta(0), timedelta(days=10_000)),
}


@cache
def _values(kind: object) -> st.SearchStrategy[object]:
    """Values of a type in which every field takes part, those with a default too."""
    while isinstance(kind, NewType):
        kind = kind.__supertype__
    if kind in _LEAVES:
        return _LEAVES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of(*map(_values, arguments))
    if origin is Mapping:
        return st.dictionaries(_TEXT, _values(arguments[1]), max_size=2)
    if origin is tuple and arguments[-1] is ...:
        return st.lists(_values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_values, arguments))
    assert isinstance(kind, type), kind
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert is_dataclass(kind), kind
    hints = get_type_hints(kind, localns={"Json": _AnyJson, "JsonObject": _AnyJson})
    return st.builds(kind, **{one.name: _values(hints[one.name]) for one in fields(kind)})


@pytest.mark.parametrize("kind", _STORED)
@given(data=st.data())
def test_a_value_is_read_back_as_it_was_written(kind: type, data: st.DataObject) -> None:
    """Through JSON text and back, every field is equal to what it was."""
    value = data.draw(_values(kind))
    codec: Codec[object] = codec_of(kind)

    assert codec.decode(load_json(dump_json(codec.encode(value)))) == value


class _Colour(Enum):
    RED = "Red"


@dataclass(frozen=True)
class _Circle:
    radius: float


@dataclass(frozen=True)
class _Square:
    side: int
    colour: _Colour = _Colour.RED


_Shape: TypeAlias = _Circle | _Square


@dataclass(frozen=True)
class _Drawing:
    shapes: tuple[_Shape, ...] = ()
    main: _Shape | None = None
    size: tuple[int, str] = (1, "cm")
    picture: bytes = b""
    notes: JsonObject = field(default_factory=dict)
    made_at: datetime | None = None


def test_members_of_a_union_are_told_apart_by_name() -> None:
    """Each member is written with the name of its class."""
    drawing = _Drawing((_Circle(1.0), _Square(2)), _Square(3), (4, "m"), b"\x00\xff")
    document = codec_of(_Drawing).encode(drawing)

    assert document["shapes"] == [
        {"_type": "_Circle", "radius": 1.0},
        {"_type": "_Square", "side": 2, "colour": "Red"},
    ]
    assert codec_of(_Drawing).decode(document) == drawing


def test_a_member_without_a_name_is_the_first() -> None:
    """A document from before its type became a union is still read."""
    assert codec_of(_Drawing).decode({"main": {"radius": 2}}).main == _Circle(2.0)


def test_fields_of_a_newer_version_are_ignored() -> None:
    """What the version after this one added does not stop this one."""
    document: Json = {"side": 2, "colour": "Red", "added": {"later": [1, 2]}}

    assert codec_of(_Square).decode(document) == _Square(2)


def test_fields_missing_from_an_older_version_take_their_default() -> None:
    """What the version before this one did not know is filled in."""
    assert codec_of(_Drawing).decode({}) == _Drawing()


def test_an_integer_where_a_fraction_was_expected_is_read() -> None:
    """JSON does not tell 1 from 1.0; the type does."""
    found = codec_of(_Circle).decode({"radius": 1})

    assert isinstance(found.radius, float)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"side": 1, "colour": "Blue"},
        [],
        None,
        "text",
        {"main": {"_type": "_Triangle"}},
        {"made_at": "yesterday"},
        {"made_at": 5},
        {"size": [1]},
    ],
)
def test_a_document_that_cannot_be_read_is_said(document: Json) -> None:
    """The sentence names the type and what to do; nothing is guessed."""
    drawing = isinstance(document, dict) and {"main", "made_at", "size"} & set(document)
    kind: type = _Drawing if drawing else _Square

    with pytest.raises(PermanentError, match=f"stored {kind.__name__}.*newer gitopsd") as caught:
        codec_of(kind).decode(document)

    assert caught.value.reason == "UnreadableRecord"


def test_times_are_written_in_utc() -> None:
    """Whatever zone a time had, the document holds UTC; a time without zone is refused."""
    there = timezone(timedelta(hours=2))
    drawing = _Drawing(made_at=datetime(2026, 1, 1, 12, 30, tzinfo=there))

    assert codec_of(_Drawing).encode(drawing)["made_at"] == "2026-01-01T10:30:00+00:00"
    with pytest.raises(TypeError, match="time zone"):
        codec_of(_Drawing).encode(replace(drawing, made_at=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is what is refused


def test_any_mapping_can_be_written() -> None:
    """Frozen values hold read-only mappings."""
    drawing = _Drawing(notes=MappingProxyType({"a": 1}))

    assert codec_of(_Drawing).decode(codec_of(_Drawing).encode(drawing)) == drawing


@dataclass(frozen=True)
class _ByNumber:
    names: dict[int, str]


@dataclass(frozen=True)
class _Mixed:
    value: _Circle | int


@dataclass(frozen=True)
class _Odd:
    value: set[int]


@dataclass(frozen=True)
class _Raw:
    value: complex


@pytest.mark.parametrize("kind", [_ByNumber, _Mixed, _Odd, _Raw, int])
def test_types_that_cannot_be_stored_are_refused_at_once(kind: type) -> None:
    """A field of such a type is found when its codec is made, not when a value is lost."""
    with pytest.raises(TypeError):
        codec_of(kind)


def test_documents_are_read_when_they_are_asked_for() -> None:
    """One unreadable document among many hurts only who asks for it."""
    circles = LazyDocuments(codec_of(_Circle), {"a": '{"radius": 1}', "b": "{}"})

    assert circles["a"] is circles["a"]
    assert (list(circles), len(circles)) == (["a", "b"], 2)
    with pytest.raises(PermanentError):
        _ = circles["b"]
    assert circles.get("c") is None


@pytest.mark.parametrize("value", ["\ud800 alone", 2**70, {"a": ["\udfff", -(2**65)]}])
def test_text_and_numbers_beyond_the_usual_are_written(value: Json) -> None:
    """Lone surrogates and large numbers, which outside text may hold, do not stop a transition."""
    text = dump_json(value)

    text.encode()
    assert load_json(text) is not None


def test_a_run_is_small() -> None:
    """A run's document stays within a database page."""
    assert len(dump_json(codec_of(Run).encode(run("r" * 40)))) < 2000
