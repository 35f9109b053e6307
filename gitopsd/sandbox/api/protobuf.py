"""Reads the protobuf that ``kubectl create`` sends, into the JSON it would have been.

Only reading is needed: whoever sends protobuf takes JSON as an answer. The fields are in
``messages.json.gz`` (``tools/sandbox_messages.py``), which is read when the first such body comes.
Source of the format: k8s.io/apimachinery ``pkg/runtime/serializer/protobuf``.
"""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias

import orjson

from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitopsd.domain.manifests import Json, JsonObject

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_DELETE_OPTIONS = f"{_META}DeleteOptions"
_QUANTITY = "k8s.io.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "k8s.io.apimachinery.pkg.util.intstr.IntOrString"
_TIMES = frozenset({f"{_META}Time", f"{_META}MicroTime"})
_RAW = frozenset({f"{_META}FieldsV1", "k8s.io.apimachinery.pkg.runtime.RawExtension"})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT_BITS = 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The zero time of Go, which stands for no time at all.
_YEAR_ONE_SECONDS = -62_135_596_800

_Fields: TypeAlias = "Mapping[str, tuple[str, str]]"


class ProtobufError(PermanentError):
    """The body is no protobuf of a kind that is known here."""

    reason = "BadRequest"


@cache
def _facts() -> tuple[Mapping[str, str], Mapping[str, _Fields]]:
    packed = files(__package__).joinpath("messages.json.gz").read_bytes()
    content = json.loads(gzip.decompress(packed))
    return content["kinds"], content["messages"]


def decode_protobuf(body: bytes) -> JsonObject:
    """Read an object.

    Raises:
        ProtobufError: It cannot be read.
    """
    if not body.startswith(MAGIC):
        raise ProtobufError("the body is no protobuf of Kubernetes: it does not begin with k8s")
    try:
        envelope = dict(_split(body[len(MAGIC) :]))
        named = dict(_split(_bytes(envelope.get(1, b""))))
        api_version, kind = (_bytes(named.get(number, b"")).decode() for number in (1, 2))
        kinds, _ = _facts()
        message = kinds.get(f"{api_version} {kind}", "")
        if kind == "DeleteOptions":
            message = _DELETE_OPTIONS
        if not message:
            raise ProtobufError(f"{api_version} {kind} is not read as protobuf here: send JSON")
        content = _message(_bytes(envelope.get(2, b"")), message)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ProtobufError(f"the body is no protobuf: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **content}


def _split(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _read_varint(data, place)
            yield number, value
        elif wire == _BYTES:
            size, place = _read_varint(data, place)
            if place + size > len(data):
                raise ValueError("it ends too early")
            yield number, data[place : place + size]
            place += size
        else:
            size = _FIXED[wire] if wire in _FIXED else len(data)
            yield number, data[place : place + size]
            place += size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, place
        shift += 7
        if shift > _LONGEST_VARINT_BITS:
            raise ValueError("a number is too long")


def _message(data: bytes, name: str) -> dict[str, Json]:
    _, messages = _facts()
    fields = messages.get(name, {})
    found: dict[str, Json] = {}
    repeated: dict[str, list[Json]] = {}
    maps: dict[str, dict[str, Json]] = {}
    for number, value in _split(data):
        field, kind = fields.get(str(number), ("", ""))
        word, _, plain = kind.rpartition(" ")
        if not kind:
            continue
        if word == "repeated":
            repeated.setdefault(field, []).append(_value(value, plain))
        elif word == "map":
            key, item = _pair(_bytes(value), plain)
            maps.setdefault(field, {})[key] = item
        elif field:
            found[field] = _value(value, plain)
        else:
            found |= _message(_bytes(value), plain)
    return {**found, **repeated, **maps}


def _pair(data: bytes, kind: str) -> tuple[str, Json]:
    parts = dict(_split(data))
    empty: int | bytes = 0 if kind in {"bool", "int32", "int64"} else b""
    return _bytes(parts.get(1, b"")).decode(), _value(parts.get(2, empty), kind)


def _value(value: int | bytes, kind: str) -> Json:
    if isinstance(value, int):
        return bool(value) if kind == "bool" else _signed(value)
    if kind == "string":
        return value.decode()
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == _QUANTITY:
        return _bytes(dict(_split(value)).get(1, b"0")).decode()
    if kind == _INT_OR_STRING:
        parts = dict(_split(value))
        text = _bytes(parts.get(3, b"")).decode()
        return text if parts.get(1) else _signed(_number(parts.get(2, 0)))
    if kind in _TIMES:
        return _time(value)
    if kind in _RAW:
        raw: Json = orjson.loads(_bytes(dict(_split(value)).get(1, b"null")))
        return raw
    message = _message(value, kind)
    # A type that is only a list by another name is a list in JSON.
    if set(_facts()[1].get(kind, {})) == {"1"} and _facts()[1][kind]["1"][0] == "items":
        return message.get("items", [])
    return message


def _time(value: bytes) -> Json:
    parts = dict(_split(value))
    seconds, nanoseconds = _signed(_number(parts.get(1, 0))), _number(parts.get(2, 0))
    if not parts or seconds == _YEAR_ONE_SECONDS:
        return None
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where text is expected")  # noqa: TRY004 - told as above
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text stands where a number is expected")  # noqa: TRY004 - told as above
    return value
