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
from gitopsd.sandbox.objects.schema_tree import ABSENT, DEDUCED, OBJECT_META, Field, Schema

_TYPE_FIELDS = ("apiVersion", "kind", "metadata")


def read_custom(
    obj: JsonObject,
    schema: Schema,
    strictness: Strictness | None = None,
    *,
    keeps_nulls: bool = False,
) -> dict[str, Json]:
    """A custom object as a server keeps it, with its defaults.

    Args:
        obj: The object.
        schema: Its kind's type.
        strictness: Gathers unknown fields when given.
        keeps_nulls: Whether a null that its schema does not allow stays, to be complained about,
            where no default takes its place. That is so for what is applied.

    Raises:
        DecodeError: Its metadata cannot be read.
    """
    strict = strictness or Strictness()
    bare = {name: value for name, value in obj.items() if name not in _TYPE_FIELDS}
    reader = _Reader(strict, keeps_nulls=keeps_nulls)
    read = reader.read_map(bare, schema, "")
    meta = schema.fields["metadata"].schema
    metadata = obj.get("metadata")
    inner = Strictness()
    decoded = decode(metadata if isinstance(metadata, Mapping) else {}, meta, inner)
    strict.unknown += [f"metadata.{path}" for path in inner.unknown]
    head = {name: obj[name] for name in ("apiVersion", "kind") if name in obj}
    return {**head, "metadata": decoded, **read}


class _Reader:
    """Reads one object."""

    def __init__(self, strict: Strictness, *, keeps_nulls: bool) -> None:
        self._strict = strict
        self._keeps_nulls = keeps_nulls

    def read(self, value: Json, schema: Schema, path: str) -> Json:
        """A value as it is kept."""
        if isinstance(value, Mapping) and schema.is_map:
            return self.read_map(value, schema, f"{path}.")
        if isinstance(value, list) and schema.is_list and schema.items is not None:
            items = schema.items
            return [self.read(item, items, f"{path}[{i}]") for i, item in enumerate(value)]
        return value

    def read_map(self, value: JsonObject, schema: Schema, path: str) -> dict[str, Json]:
        """An object as it is kept; `path` ends with a dot, or is empty."""
        found: dict[str, Json] = {}
        for name, item in value.items():
            known = schema.fields.get(name)
            if known is not None:
                if not self._is_dropped(item, known):
                    found[name] = self._read_field(item, known, f"{path}{name}")
            elif schema.values is None:
                self._strict.unknown.append(f"{path}{name}")
            elif schema.values is DEDUCED:
                found[name] = item
            else:
                found[name] = self.read(item, schema.values, f"{path}{name}")
        for name, known in schema.fields.items():
            if name not in found and known.default is not ABSENT and name != "metadata":
                default = copy.deepcopy(known.default)
                found[name] = self.read(default, known.schema, f"{path}{name}")
        return found

    def _is_dropped(self, item: Json, known: Field) -> bool:
        if item is not None or known.schema.nullable:
            return False
        return known.default is not ABSENT or not self._keeps_nulls

    def _read_field(self, item: Json, known: Field, path: str) -> Json:
        if known.schema.name == OBJECT_META and isinstance(item, Mapping):
            inner = Strictness()
            decoded = decode(item, known.schema, inner)
            self._strict.unknown += [f"{path}.{name}" for name in inner.unknown]
            return decoded
        return self.read(item, known.schema, path)
