"""Reading an object as Go would: unknown fields fall away, zero values are written Go's way.

A built-in object passes through Go structs on a real server. What comes out has no nulls, no empty
lists where those are left out, structs where they are always written, quantities and times in one
form. A custom object only loses what its schema does not know.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.objects.amounts import AmountError, canonical_quantity, canonical_time
from gitopsd.sandbox.objects.defaults import DEFAULTS, Default
from gitopsd.sandbox.objects.go_types import type_of, unconverted
from gitopsd.sandbox.objects.schema_tree import (
    ABSENT,
    ALWAYS_WRITTEN,
    STRUCT_DROPPED,
    ZEROS_DROPPED,
    ZEROS_KEPT,
    Field,
    Schema,
)

_SCALAR_ZEROS: Mapping[str, Json] = {"boolean": False, "string": ""}
_CODED_ZEROS: Mapping[str, Json] = {"quantity": "0", "intOrString": 0}
_BOUNDS = {"int32": 2**31, "int64": 2**63}


class DecodeError(ValueError):
    """A value cannot be what its field is; the text is Go's.

    Args:
        message: The text of Go's JSON decoder.
        converted: The text of Kubernetes' own converter, where it says something else.
    """

    def __init__(self, message: str, converted: str = "") -> None:
        super().__init__(message)
        self.converted = converted or message


@dataclass(slots=True)
class Strictness:
    """What a strict reader complains about, in the order it was found.

    Attributes:
        duplicates: Paths of fields that are there twice.
        unknown: Paths of fields that the type does not have.
    """

    duplicates: tuple[str, ...] = ()
    unknown: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """What is said of each."""
        twice = [f'duplicate field "{path}"' for path in self.duplicates]
        return [*twice, *(f'unknown field "{path}"' for path in self.unknown)]


def decode(
    obj: JsonObject, schema: Schema, strictness: Strictness | None = None
) -> dict[str, Json]:
    """A built-in object as a server reads and writes it.

    Args:
        obj: The object.
        schema: Its kind's type.
        strictness: Gathers unknown fields when given.

    Raises:
        DecodeError: A value cannot be what its field is.
    """
    return _struct(obj, schema, "", strictness or Strictness())


def empty_object(schema: Schema, api_version: str, kind: str) -> dict[str, Json]:
    """The object of a kind that has nothing in it: only what is always written."""
    return {**always_written(schema), "apiVersion": api_version, "kind": kind}


@dataclass(frozen=True, slots=True)
class _Filling:
    """What is written of a struct whatever is in it, and what completes it.

    Attributes:
        schema: The struct's type, kept so that its identity stays its own.
        zeros: Zero values by field.
        structs: The fields among them that are structs themselves.
        defaults: What the schema says a field is when left out.
        complete: The kind's own defaults.
    """

    schema: Schema
    zeros: dict[str, Json]
    structs: tuple[tuple[str, Schema], ...]
    defaults: tuple[tuple[str, Json], ...]
    complete: Default | None


_fillings: dict[int, _Filling] = {}


def _filling(schema: Schema) -> _Filling:
    known = _fillings.get(id(schema))
    if known is None:
        always = {name: item for name, item in schema.fields.items() if _is_always_written(item)}
        known = _fillings[id(schema)] = _Filling(
            schema=schema,
            zeros={name: _zero(member) for name, member in always.items()},
            structs=tuple(
                (name, member.schema)
                for name, member in always.items()
                if _is_struct(member.schema) and member.default is not ABSENT
            ),
            defaults=tuple(_schema_defaults(schema)),
            complete=DEFAULTS.get(schema.name),
        )
    return known


def _schema_defaults(schema: Schema) -> Iterator[tuple[str, Json]]:
    """Defaults that a server fills in: those of pointers, and those that are no zero values."""
    for name, member in schema.fields.items():
        default = member.default
        if default is ABSENT or isinstance(default, Mapping):
            continue
        if default or member.zero == ZEROS_KEPT:
            yield name, default


def always_written(schema: Schema) -> dict[str, Json]:
    """The zero values of the fields that a struct writes whatever is in them. Not to be changed."""
    return _filling(schema).zeros


def _is_struct(schema: Schema) -> bool:
    return schema.is_map and bool(schema.fields) and not schema.codec


def _is_always_written(member: Field) -> bool:
    if member.zero == ALWAYS_WRITTEN:
        return True
    if member.zero != ZEROS_DROPPED:
        return False
    # ``omitempty`` does nothing for a struct, whether it is written as an object or not.
    codec = member.schema.codec
    return _is_struct(member.schema) or codec in {"quantity", "time", "microtime", "intOrString"}


def _zero(member: Field) -> Json:
    schema = member.schema
    if schema.codec in {"time", "microtime", "raw", "bytes"}:
        return None
    if schema.codec:
        return _CODED_ZEROS[schema.codec]
    if _is_struct(schema):
        return always_written(schema) if member.default is not ABSENT else None
    if schema.is_map or schema.is_list or member.default is ABSENT:
        return None  # a pointer has no default, a value has
    return _SCALAR_ZEROS.get(schema.json_type, 0)


def _struct(value: JsonObject, schema: Schema, path: str, strict: Strictness) -> dict[str, Json]:
    found: dict[str, Json] = {}
    fields = schema.fields
    for name, item in value.items():
        member = fields.get(name)
        if member is None:
            strict.unknown.append(f"{path}{name}")
            continue
        if item is None:
            continue
        decoded = _value(item, member.schema, f"{path}{name}", strict, schema)
        if not decoded and _drops(member, decoded):
            continue
        found[name] = decoded
    _fill(found, schema, path, strict)
    return found


def _fill(found: dict[str, Json], schema: Schema, path: str, strict: Strictness) -> None:
    """Write what is always written, and what is filled in."""
    filling = _filling(schema)
    for name, inner in filling.structs:
        if name not in found:
            found[name] = _struct({}, inner, f"{path}{name}.", strict)
    for name, zero in filling.zeros.items():
        if name not in found:
            found[name] = zero
    for name, default in filling.defaults:
        if found.get(name) in (None, ""):
            found[name] = default
    if filling.complete:
        filling.complete(found)


def _drops(member: Field, decoded: Json) -> bool:
    """Whether this empty value is left out."""
    if member.zero == STRUCT_DROPPED:
        return True
    return member.zero == ZEROS_DROPPED and not (_is_struct(member.schema) and decoded == {})


def _value(value: Json, schema: Schema, path: str, strict: Strictness, owner: Schema) -> Json:
    if schema.codec:
        return _coded(value, schema, path, owner)
    if schema.is_map:
        if not isinstance(value, Mapping):
            raise _mismatch(value, schema, path, owner)
        if schema.fields:
            return _struct(value, schema, f"{path}.", strict)
        return _map(value, schema, path, strict, owner)
    if schema.is_list:
        if not isinstance(value, list):
            raise _mismatch(value, schema, path, owner)
        items = schema.items
        if items is None:
            return value
        if items.fields and not items.codec:
            return [
                _struct(_object(item, items, path, owner), items, f"{path}[{index}].", strict)
                for index, item in enumerate(value)
            ]
        return [_value(item, items, path, strict, owner) for item in value]
    return _scalar(value, schema, path, owner)


def _object(value: Json, schema: Schema, path: str, owner: Schema) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _mismatch(value, schema, path, owner)
    return value


def _map(
    value: JsonObject, schema: Schema, path: str, strict: Strictness, owner: Schema
) -> dict[str, Json]:
    items = schema.values
    if items is None or items.name == "deduced":
        return dict(value)
    if items.scalar == "string" and not items.codec:
        found: dict[str, Json] = {}
        for name, item in value.items():
            if not isinstance(item, str):
                if item is not None:
                    raise _mismatch(item, items, path, owner)
                item = ""  # noqa: PLW2901 - Go reads null as the zero value
            found[name] = item
        return found
    return {name: _value(item, items, path, strict, owner) for name, item in value.items()}


def _scalar(value: Json, schema: Schema, path: str, owner: Schema) -> Json:
    type_ = schema.json_type
    if type_ == "string":
        if isinstance(value, str):
            return value
    elif type_ == "boolean":
        if isinstance(value, bool):
            return value
    elif type_ in {"integer", "number"}:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value, schema, path, owner)
    elif not isinstance(value, Mapping | list):
        return value
    if value is None:
        return _SCALAR_ZEROS.get(type_, 0)
    raise _mismatch(value, schema, path, owner)


def _number(
    value: int | float,  # noqa: PYI041 - the two are told apart
    schema: Schema,
    path: str,
    owner: Schema,
) -> Json:
    if schema.json_type == "number":
        return value
    bound = _BOUNDS.get(schema.format, 2**63)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float) or not -bound <= value < bound:
        raise _go_mismatch(f"number {value}", value, schema, path, owner)
    return value


def _coded(value: Json, schema: Schema, path: str, owner: Schema) -> Json:
    codec = schema.codec
    if value is None:
        return _CODED_ZEROS.get(codec)
    if codec == "raw":
        return value
    try:
        if codec == "quantity" and isinstance(value, str | int | float):
            return canonical_quantity(value if isinstance(value, str) else str(value))
        if codec in {"time", "microtime"} and isinstance(value, str):
            return canonical_time(value, micro=codec == "microtime")
    except AmountError as error:
        raise DecodeError(str(error)) from error
    if codec == "intOrString" and isinstance(value, str | int) and not isinstance(value, bool):
        return value
    if codec == "bytes" and isinstance(value, str):
        return _bytes(value)
    raise _mismatch(value, schema, path, owner)


def _bytes(text: str) -> str:
    compact = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64encode(base64.b64decode(compact, validate=True)).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"illegal base64 data at input byte {_bad_byte(compact)}") from error


def _bad_byte(text: str) -> int:
    """Where Go's decoder gives up."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for index, letter in enumerate(text):
        if letter not in alphabet:
            return index
    return len(text) // 4 * 4


def _mismatch(value: Json, schema: Schema, path: str, owner: Schema) -> DecodeError:
    if isinstance(value, Mapping):
        what = "object"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        what = "array"
    elif isinstance(value, bool):
        what = "bool"
    else:
        what = "string" if isinstance(value, str) else "number"
    return _go_mismatch(what, value, schema, path, owner)


def _go_mismatch(what: str, value: Json, schema: Schema, path: str, owner: Schema) -> DecodeError:
    struct = owner.name.rpartition(".")[2]
    where = ".".join(part.partition("[")[0] for part in path.split("."))
    return DecodeError(
        f"json: cannot unmarshal {what} into Go struct field {struct}.{where} "
        f"of type {type_of(schema)}",
        unconverted(value, schema),
    )
