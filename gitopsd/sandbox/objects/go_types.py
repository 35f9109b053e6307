"""Go's names of the types behind schemas: messages about values of another type hold them."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.manifests import Json
from gitopsd.sandbox.objects.go_text import go_type
from gitopsd.sandbox.objects.schema_tree import Schema

_GO_SCALARS = {
    "boolean": "bool",
    "string": "string",
    "number": "float64",
}
_GO_INTEGERS = {"int32": "int32", "int64": "int64", "": "int64"}
_CONVERTIBLE = frozenset({("int64", "string"), ("float64", "int32"), ("float64", "int64")})
"""Types that Go would turn into each other, and Kubernetes does not."""


def type_of(schema: Schema) -> str:
    """The Go type that a schema was made of, as messages call it."""
    if schema.codec == "bytes":
        return "[]uint8"
    if schema.name:
        package, _, name = schema.name.rpartition(".")
        return f"{package.rpartition('.')[2]}.{name}"
    if schema.is_list:
        return f"[]{type_of(schema.items)}" if schema.items else "[]interface {}"
    if schema.is_map:
        return f"map[string]{type_of(schema.values)}" if schema.values else "map[string]string"
    if schema.json_type == "integer":
        return _GO_INTEGERS.get(schema.format, "int64")
    return _GO_SCALARS.get(schema.json_type, "string")


def unconverted(value: Json, schema: Schema) -> str:
    """The complaint about a value that was read already, and is to become something else.

    Source: ``fromUnstructured`` in k8s.io/apimachinery's ``runtime``, which lets Go decide whether
    one type can become another.
    """
    shape = "map" if isinstance(value, Mapping) else go_type(value)
    shape = "slice" if isinstance(value, list) else shape
    if schema.fields:
        return f"cannot restore struct from: {shape}"
    if schema.is_map or schema.is_list:
        return f"cannot restore {'map' if schema.is_map else 'slice'} from {shape}"
    wanted = type_of(schema)
    if (shape, wanted) in _CONVERTIBLE:
        return f"cannot convert {shape} to {wanted}"
    return f"unrecognized type: {wanted}"
