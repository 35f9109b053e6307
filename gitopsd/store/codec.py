"""Domain values as JSON documents, and back.

A rolling upgrade runs two neighbouring versions on one database, so a document may have been
written by either. Reading ignores unknown fields and gives missing ones their default. A new field
therefore needs a default that the older version may drop without harm; a new member of an enum or
union is written only by the version after the one that learned to read it.

How values are written: enums by value, times as ISO 8601 in UTC, durations as seconds, tuples as
arrays, bytes as base64, members of a union of dataclasses with their class name under ``_type``. A
document without that name is the union's first member: a class can become a union later.
"""

from __future__ import annotations

import base64
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.store.json_text import load_json

K = TypeVar("K")
T = TypeVar("T")

_TAG = "_type"
_PLAIN = (str, int, float, bool)


class _AnyJson:
    """Stands for `Json` among the types: its alias refers to itself, which cannot be walked."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """How values of one type are written and read; ``None`` leaves the value as it is."""

    write: Callable[[object], Json] | None = None
    read: Callable[[object], object] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Writes and reads values of one dataclass.

    Attributes:
        type: The dataclass.
        shape: How it is written and read.
    """

    type: type[T]
    shape: _Shape

    def encode(self, value: T) -> dict[str, Json]:
        """Write a value as a JSON document."""
        write = cast("Callable[[object], Json]", self.shape.write)
        return cast("dict[str, Json]", write(value))

    def decode(self, document: Json) -> T:
        """Read a document.

        Raises:
            PermanentError: It is not one of this type, or one that a newer version wrote.
        """
        read = cast("Callable[[object], object]", self.shape.read)
        try:
            return cast("T", read(document))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise PermanentError(
                f"A stored {self.type.__name__} cannot be read: {error}. A newer gitopsd may have "
                "written it: run that version, or restore the backup from before the upgrade.",
                reason="UnreadableRecord",
            ) from error


class LazyDocuments(Mapping[K, T]):
    """Values by key, each read from its document when it is first asked for.

    Args:
        codec: Reads the documents.
        texts: The documents as JSON text, by key.
    """

    def __init__(self, codec: Codec[T], texts: Mapping[K, str]) -> None:
        self._codec = codec
        self._texts = texts
        self._read: dict[K, T] = {}

    def __getitem__(self, key: K) -> T:
        if key not in self._read:
            self._read[key] = self._codec.decode(load_json(self._texts[key]))
        return self._read[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def codec_of(kind: type[T]) -> Codec[T]:
    """Make the codec of a dataclass; how its types are stored is worked out once.

    Raises:
        TypeError: A field has a type that this module cannot write.
    """
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind} is no dataclass")
    return Codec(kind, _shape(kind))


@cache
def _shape(kind: object) -> _Shape:
    kind = _unwrapped(kind)
    origin = get_origin(kind)
    if kind is _AnyJson or kind in _PLAIN or kind is type(None):
        return _Shape(read=_read_float) if kind is float else _Shape()
    if origin is Union or origin is types.UnionType:
        return _union(get_args(kind))
    if origin is tuple:
        return _tuple(get_args(kind))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(get_args(kind))
    if isinstance(kind, type):
        return _class(kind)
    raise TypeError(f"no way to store {kind}")


def _unwrapped(kind: object) -> object:
    """Look through ``NewType``."""
    while hasattr(kind, "__supertype__"):
        kind = kind.__supertype__
    return kind


def _class(kind: type) -> _Shape:
    if issubclass(kind, Enum):
        return _Shape(lambda value: cast("Json", cast("Enum", value).value), kind)
    if kind is datetime:
        return _Shape(_write_datetime, _read_datetime)
    if kind is timedelta:
        return _Shape(_write_timedelta, _read_timedelta)
    if kind is bytes:
        return _Shape(_write_bytes, _read_bytes)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"no way to store {kind}")


def _dataclass(kind: type) -> _Shape:
    hints = get_type_hints(kind, localns={"Json": _AnyJson, "JsonObject": _AnyJson})
    shapes = {one.name: _shape(hints[one.name]) for one in dataclasses.fields(kind) if one.init}
    plain = tuple(name for name, shape in shapes.items() if shape.write is None)
    written = tuple((name, shape.write) for name, shape in shapes.items() if shape.write)
    reads = tuple((name, shape.read) for name, shape in shapes.items())

    def write(value: object) -> Json:
        document: dict[str, Json] = {name: getattr(value, name) for name in plain}
        for name, write_field in written:
            document[name] = write_field(getattr(value, name))
        return document

    def read(document: object) -> object:
        known = cast("Mapping[str, object]", document)
        values = {
            name: known[name] if read_field is None else read_field(known[name])
            for name, read_field in reads
            if name in known
        }
        return kind(**values)

    return _Shape(write, read)


def _union(members: tuple[object, ...]) -> _Shape:
    some = tuple(one for one in map(_unwrapped, members) if one is not type(None))
    if all(one in _PLAIN for one in some):
        return _Shape()
    inner = _shape(some[0]) if len(some) == 1 else _tagged(some)
    if len(some) == len(members):
        return inner
    write, read = inner.write, inner.read
    return _Shape(
        write and (lambda value: None if value is None else write(value)),
        read and (lambda value: None if value is None else read(value)),
    )


def _tagged(members: tuple[object, ...]) -> _Shape:
    classes = [one for one in members if isinstance(one, type) and dataclasses.is_dataclass(one)]
    if len(classes) != len(members):
        raise TypeError(f"no way to tell the members of {members} apart")
    shapes = {one.__name__: _shape(one) for one in classes}
    first = classes[0].__name__

    def write(value: object) -> Json:
        name = type(value).__name__
        document = cast("Callable[[object], JsonObject]", shapes[name].write)(value)
        return {_TAG: name, **document}

    def read(document: object) -> object:
        name = cast("Mapping[str, str]", document).get(_TAG, first)
        if name not in shapes:
            raise ValueError(f"no {name} is known here")
        return cast("Callable[[object], object]", shapes[name].read)(document)

    return _Shape(write, read)


def _tuple(members: tuple[object, ...]) -> _Shape:
    if len(members) == 2 and members[1] is Ellipsis:  # noqa: PLR2004 - that is how tuple[X, ...] looks
        return _array(_shape(members[0]))
    shapes = tuple(map(_shape, members))

    def write(value: object) -> Json:
        items = cast("tuple[object, ...]", value)
        return [_written(shape, item) for shape, item in zip(shapes, items, strict=True)]

    def read(value: object) -> object:
        items = cast("list[object]", value)
        return tuple(_read(shape, item) for shape, item in zip(shapes, items, strict=True))

    return _Shape(write, read)


def _array(inner: _Shape) -> _Shape:
    return _Shape(
        lambda value: [_written(inner, item) for item in cast("tuple[object, ...]", value)],
        lambda value: tuple(_read(inner, item) for item in cast("list[object]", value)),
    )


def _mapping(members: tuple[object, ...]) -> _Shape:
    if _unwrapped(members[0]) is not str:
        raise TypeError(f"no way to store a mapping from {members[0]}")
    inner = _shape(members[1])

    def write(value: object) -> Json:
        items = cast("Mapping[str, object]", value).items()
        return {key: _written(inner, item) for key, item in items}

    def read(value: object) -> object:
        items = cast("Mapping[str, object]", value).items()
        return {key: _read(inner, item) for key, item in items}

    return _Shape(write, read)


def _written(shape: _Shape, value: object) -> Json:
    return cast("Json", value) if shape.write is None else shape.write(value)


def _read(shape: _Shape, value: object) -> object:
    return value if shape.read is None else shape.read(value)


def _read_float(value: object) -> float:
    return float(cast("float", value))


def _write_datetime(value: object) -> Json:
    moment = cast("datetime", value)
    if moment.tzinfo is None:
        raise TypeError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat()


def _read_datetime(value: object) -> datetime:
    return datetime.fromisoformat(cast("str", value)).astimezone(UTC)


def _write_timedelta(value: object) -> Json:
    seconds = cast("timedelta", value).total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _read_timedelta(value: object) -> timedelta:
    return timedelta(seconds=cast("float", value))


def _write_bytes(value: object) -> Json:
    return base64.b64encode(cast("bytes", value)).decode()


def _read_bytes(value: object) -> bytes:
    return base64.b64decode(cast("str", value))
