"""Reading a custom object: its schema decides what is kept, and what is filled in.

Source: apiextensions ``pkg/apiserver/schema/{pruning,defaulting,objectmeta}``. Unknown fields are
pruned unless a schema preserves them; defaults fill in what is missing; a null that its schema
does not allow gives way to a default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.objects.decoding import Strictness, decode
from gitopsd.sandbox.objects.schema_tree import ABSENT, DEDUCED, Schema

_TYPE_FIELDS = ("apiVersion", "kind", "metadata")


def read_custom(
    obj: JsonObject, schema: Schema, strictness: Strictness | None = None
) -> dict[str, Json]:
    """A custom object as a server keeps it, with its defaults.

    Args:
        obj: The object.
        schema: Its kind's type.
        strictness: Gathers unknown fields when given.

    Raises:
        DecodeError: Its metadata cannot be read.
    """
    strict = strictness or Strictness()
    bare = {name: value for name, value in obj.items() if name not in _TYPE_FIELDS}
    read = _read_map(bare, schema, "", strict)
    meta = schema.fields["metadata"].schema
    metadata = obj.get("metadata")
    inner = Strictness()
    decoded = decode(metadata if isinstance(metadata, Mapping) else {}, meta, inner)
    strict.unknown += [f"metadata.{path}" for path in inner.unknown]
    head = {name: obj[name] for name in ("apiVersion", "kind") if name in obj}
    return {**head, "metadata": decoded, **read}


def _read(value: Json, schema: Schema, path: str, strict: Strictness) -> Json:
    if isinstance(value, Mapping) and schema.is_map:
        return _read_map(value, schema, f"{path}.", strict)
    if isinstance(value, list) and schema.is_list and schema.items is not None:
        items = schema.items
        return [_read(item, items, f"{path}[{i}]", strict) for i, item in enumerate(value)]
    return value


def _read_map(value: JsonObject, schema: Schema, path: str, strict: Strictness) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, item in value.items():
        known = schema.fields.get(name)
        if known is None:
            if schema.values is None:
                strict.unknown.append(f"{path}{name}")
            elif schema.values is DEDUCED:
                found[name] = item
            else:
                found[name] = _read(item, schema.values, f"{path}{name}", strict)
        elif item is None and known.default is not ABSENT and not known.schema.nullable:
            continue
        else:
            found[name] = _read(item, known.schema, f"{path}{name}", strict)
    for name, known in schema.fields.items():
        if name not in found and known.default is not ABSENT and name != "metadata":
            default = copy.deepcopy(known.default)
            found[name] = _read(default, known.schema, f"{path}{name}", strict)
    return found
