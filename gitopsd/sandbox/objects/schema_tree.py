"""What a value of a kind may look like: a tree of types, made from OpenAPI definitions.

One tree serves field ownership (which lists are keyed, what is atomic), decoding (which fields
exist, how a zero is written), strategic merge patches and validation. The rules for ownership are
those of Kubernetes' kube-openapi ``schemaconv``: without a list type a list is atomic, an object
without properties holds anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at, texts_at

if TYPE_CHECKING:
    from gitopsd.sandbox.objects.managed_fields import Scalar


class _Absent(Enum):
    ABSENT = "Absent"


ABSENT: Final = _Absent.ABSENT
"""No value at all, where null is one."""

Maybe: TypeAlias = "Json | Literal[_Absent.ABSENT]"
"""A JSON value, or none."""

Shape = Literal["", "map", "list", "scalar"]
ScalarKind = Literal["", "string", "numeric", "boolean", "untyped"]
ListKind = Literal["atomic", "map", "set"]
Codec = Literal["", "quantity", "time", "microtime", "intOrString", "raw", "bytes"]
"""Values that Kubernetes reads and writes in a way of their own."""

ZEROS_KEPT = "p"
ZEROS_DROPPED = "v"
ALWAYS_WRITTEN = "V"
STRUCT_DROPPED = "z"

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = f"{_META}ObjectMeta"
_CODECS: Mapping[str, Codec] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
    f"{_META}FieldsV1": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "raw",
    f"{_META}Time": "time",
    f"{_META}MicroTime": "microtime",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intOrString",
}
_SCALARS: Mapping[str, ScalarKind] = {
    "integer": "numeric",
    "number": "numeric",
    "boolean": "boolean",
    "string": "string",
}


@dataclass(slots=True, eq=False)
class Field:
    """A named field of an object.

    Attributes:
        schema: Its type.
        default: What the schema says it is when left out.
        required: Whether the schema asks for it.
        zero: How its zero value is written: one of the letters above.
        strategies: Strategic merge patch: ``merge``, ``replace``, ``retainKeys``.
        merge_key: Strategic merge patch: the field that tells the items of its list apart.
    """

    schema: Schema
    default: Maybe = ABSENT
    required: bool = False
    zero: str = ZEROS_DROPPED
    strategies: tuple[str, ...] = ()
    merge_key: str = ""


@dataclass(slots=True, eq=False)
class Schema:
    """One type. It may be several things at once (any value): the value decides.

    Attributes:
        name: The definition's name; empty for one written in place.
        scalar: The kind of scalar it may be.
        is_map: Whether it may be an object.
        fields: The object's known fields.
        values: The type of the object's other values; None when there may be no others.
        atomic: Whether the object is owned as a whole.
        is_list: Whether it may be a list.
        items: The type of the list's items.
        list_kind: Who owns what of the list.
        keys: The fields that tell the items of a keyed list apart.
        codec: How it is read and written, where that is not plain JSON.
        json_type: OpenAPI's type; empty for any.
        format: OpenAPI's format.
        enum: The values it may have; empty for any.
        nullable: Whether null is a value of it (custom resources).
        preserve: Whether unknown fields are kept (custom resources).
        structural: The schema as its CustomResourceDefinition has it; None for built-in kinds.
    """

    name: str = ""
    scalar: ScalarKind = ""
    is_map: bool = False
    fields: dict[str, Field] = field(default_factory=dict)
    values: Schema | None = None
    atomic: bool = False
    is_list: bool = False
    items: Schema | None = None
    list_kind: ListKind = "atomic"
    keys: tuple[str, ...] = ()
    codec: Codec = ""
    json_type: str = ""
    format: str = ""
    enum: tuple[Scalar, ...] = ()
    nullable: bool = False
    preserve: bool = False
    structural: JsonObject | None = None

    def shape_of(self, value: Json) -> Shape:
        """What a value is, by this type; what the type prefers when the value does not fit."""
        # Most values are plain; asking for the abstract class takes ten times as long.
        if type(value) is dict or isinstance(value, Mapping):
            if self.is_map:
                return "map"
        elif isinstance(value, list):
            if self.is_list:
                return "list"
        elif value is not None and self.scalar:
            return "scalar"
        if self.is_map:
            return "map"
        if self.scalar:
            return "scalar"
        return "list" if self.is_list else ""

    def below(self, name: str) -> Schema | None:
        """The type of a field; None when there can be no such field."""
        known = self.fields.get(name)
        return self.values if known is None else known.schema

    def key_default(self, name: str) -> Maybe:
        """The default of a key field of this keyed list's items."""
        known = self.items.fields.get(name) if self.items else None
        return ABSENT if known is None else known.default


UNTYPED = Schema(name="untyped", scalar="untyped", is_map=True, atomic=True, is_list=True)
UNTYPED.items = UNTYPED.values = UNTYPED
DEDUCED = Schema(name="deduced", scalar="untyped", is_map=True, is_list=True, items=UNTYPED)
DEDUCED.values = DEDUCED
"""Anything: objects are owned field by field, lists as a whole."""


class SchemaCompiler:
    """Makes types of OpenAPI definitions.

    Args:
        definitions: By name, as OpenAPI v3 documents have them.
        zeros: By definition and field, how zero values are written.
    """

    def __init__(
        self, definitions: Mapping[str, JsonObject], zeros: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._definitions = definitions
        self._zeros = zeros
        self._made: dict[str, Schema] = {}

    def definition(self, name: str) -> Schema:
        """The type of a definition, always the same one."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = Schema(name=name)
            self._fill_named(made, self._definitions[name])
        return made

    def _fill_named(self, made: Schema, source: JsonObject) -> None:
        codec = made.codec = _CODECS.get(made.name, "")
        if codec == "raw" and not made.name.endswith((".JSON", ".FieldsV1")):
            made.scalar, made.is_map, made.atomic, made.is_list = "untyped", True, True, True
            made.items = made.values = UNTYPED
        elif codec in {"quantity", "time", "microtime"}:
            made.scalar = "untyped"
            made.json_type, made.format = text_at(source, "type"), text_at(source, "format")
        else:
            self._fill(made, source, preserve=False)

    def inline(self, source: JsonObject, *, preserve: bool = False) -> Schema:
        """The type of a schema written in place.

        Args:
            source: The schema.
            preserve: Whether an outer schema keeps unknown fields.
        """
        name = _reference(source)
        if name:
            made = self.definition(name)
            relation = text_at(source, "x-kubernetes-map-type")
            if relation and (relation == "atomic") != made.atomic:
                made = copy.copy(made)
                made.atomic = relation == "atomic"
            return made
        made = Schema()
        self._fill(made, source, preserve=preserve)
        return made

    def custom(self, source: JsonObject) -> Schema:
        """The type of a custom resource's root: its own fields and what every object has."""
        made = self.inline({"type": "object", **source})
        self.add_object_fields(made)
        return made

    def add_object_fields(self, made: Schema) -> None:
        """Give an object its type and its metadata."""
        text = Schema(scalar="string", json_type="string")
        made.fields = {
            **made.fields,
            "apiVersion": Field(text),
            "kind": Field(text),
            "metadata": Field(self.definition(OBJECT_META)),
        }

    def _fill(self, made: Schema, source: JsonObject, *, preserve: bool) -> None:
        own = source.get("x-kubernetes-preserve-unknown-fields")
        made.preserve = own is True
        preserve = preserve or made.preserve
        made.json_type, made.format = text_at(source, "type"), text_at(source, "format")
        made.nullable = source.get("nullable") is True
        made.enum = _enum(source)
        made.structural = source
        if source.get("x-kubernetes-int-or-string") is True:
            made.codec = "intOrString"
        if made.json_type in _SCALARS:
            made.scalar = _SCALARS[made.json_type]
            if made.json_type == "string" and made.format not in {"", "byte"}:
                made.scalar = "untyped"
            if made.format == "byte":
                made.codec = "bytes"
        if not made.json_type:
            made.scalar = "untyped"
        if made.json_type in {"", "object"}:
            self._fill_map(made, source, preserve=preserve)
        if made.json_type in {"", "array"}:
            self._fill_list(made, source, preserve=preserve)

    def _fill_map(self, made: Schema, source: JsonObject, *, preserve: bool) -> None:
        made.is_map = True
        made.atomic = text_at(source, "x-kubernetes-map-type") == "atomic"
        required = frozenset(texts_at(source, "required"))
        zeros = self._zeros.get(made.name, {})
        properties = object_at(source, "properties")
        for name, member in properties.items():
            if isinstance(member, Mapping):
                made.fields[name] = Field(
                    self.inline(member, preserve=preserve),
                    default=member.get("default", ABSENT),
                    required=name in required,
                    zero=zeros.get(name, ZEROS_DROPPED),
                    strategies=_strategies(member),
                    merge_key=text_at(member, "x-kubernetes-patch-merge-key"),
                )
        others = source.get("additionalProperties")
        if isinstance(others, Mapping):
            made.values = self.inline(others, preserve=preserve)
        elif others is True or (others is None and (preserve or not properties)):
            made.values = DEDUCED
        if source.get("x-kubernetes-embedded-resource") is True:
            self.add_object_fields(made)

    def _fill_list(self, made: Schema, source: JsonObject, *, preserve: bool) -> None:
        made.is_list = True
        items = source.get("items")
        made.items = (
            self.inline(items, preserve=preserve) if isinstance(items, Mapping) else UNTYPED
        )
        kind = text_at(source, "x-kubernetes-list-type")
        if kind == "map":
            made.list_kind, made.keys = "map", texts_at(source, "x-kubernetes-list-map-keys")
        elif kind == "set":
            made.list_kind = "set"
        elif not kind and "merge" in _strategies(source):
            key = text_at(source, "x-kubernetes-patch-merge-key")
            made.list_kind, made.keys = ("map", (key,)) if key else ("set", ())


def _reference(source: JsonObject) -> str:
    name = text_at(source, "$ref")
    parts = source.get("allOf")
    if not name and isinstance(parts, Sequence) and len(parts) == 1:
        name = text_at(parts[0], "$ref")
    return name.removeprefix(_REF)


def _strategies(source: JsonObject) -> tuple[str, ...]:
    text = text_at(source, "x-kubernetes-patch-strategy")
    return tuple(text.split(",")) if text else ()


def _enum(source: JsonObject) -> tuple[Scalar, ...]:
    values = source.get("enum")
    if not isinstance(values, Sequence) or isinstance(values, str):
        return ()
    return tuple(value for value in values if value is None or isinstance(value, str | int | float))
