"""Rules of custom objects: those of the schema in their CustomResourceDefinition.

Wording: k8s.io/kube-openapi ``pkg/validation/validate``. Rules written in CEL
(``x-kubernetes-validations``) are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import field_at, number_at, object_at, objects_at, text_at, texts_at
from gitopsd.sandbox.objects.amounts import AmountError, canonical_time
from gitopsd.sandbox.objects.rules.complaints import Complaints
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.status_errors import Cause

_NOWHERE = "<nil>"
_FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"),
    "ipv4": re.compile(r"\d{1,3}(\.\d{1,3}){3}"),
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
}


def check_custom(obj: JsonObject, schema: Schema, told: Complaints) -> None:
    """Complain about everything that the schema does not allow."""
    structural = schema.structural or {}
    _check(obj, structural, "", told)
    told.causes = list(dict.fromkeys(told.causes))


def check_custom_status(obj: JsonObject, schema: Schema, told: Complaints) -> None:
    """Complain about an object's status alone: of it, the sentences name paths from there."""
    structural = field_at(schema.structural or {}, "properties", "status")
    if "status" not in obj or not isinstance(structural, Mapping):
        return
    inner = Complaints()
    _check(obj["status"], structural, "", inner)
    for cause in dict.fromkeys(inner.causes):
        nowhere = cause.field == _NOWHERE
        path = "status" if nowhere or not cause.field else f"status.{cause.field}"
        told.causes.append(replace(cause, field=path))


def _type_name(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "float64"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _check(value: Json, schema: JsonObject, path: str, told: Complaints) -> None:
    if value is None and schema.get("nullable") is True:
        return
    if not _check_type(value, schema, path, told):
        return
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        told.unsupported(path, value, (str(item) for item in enum))
    if isinstance(value, str):
        _check_text(value, schema, path, told)
    elif isinstance(value, Mapping):
        _check_object(value, schema, path, told)
    elif isinstance(value, list):
        _check_list(value, schema, path, told)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, schema, path, told)
    _check_choices(value, schema, path, told)


def _check_type(value: Json, schema: JsonObject, path: str, told: Complaints) -> bool:
    """Whether a value is of its type."""
    wanted, found = text_at(schema, "type"), _type_name(value)
    if schema.get("x-kubernetes-int-or-string") is True:
        if found not in {"integer", "string"}:
            _mistyped(path, found, "integer,string", told)
            return False
        return True
    if not wanted or wanted == found or (wanted == "number" and found in {"integer", "float64"}):
        return True
    if wanted == "integer" and found == "float64":
        format_ = text_at(schema, "format")
        _mistyped(path, found, format_ or wanted, told)
        if format_:
            _nowhere(f"Checked value must be of type integer with format {format_} in {path}", told)
        return False
    _mistyped(path, found, wanted, told)
    return False


def _mistyped(path: str, found: str, wanted: str, told: Complaints) -> None:
    told.mistyped(path, found, f'{path} in body must be of type {wanted}: "{found}"')


def _nowhere(why: str, told: Complaints) -> None:
    """A complaint that the server puts nowhere in particular."""
    told.invalid(_NOWHERE, "", why)


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None  # Go's syntax knows more than Python's


def _check_text(value: str, schema: JsonObject, path: str, told: Complaints) -> None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if isinstance(longest, int) and len(value) > longest:
        told.too_long(path, longest)
        return
    if isinstance(shortest, int) and len(value) < shortest:
        told.invalid(path, value, f"{path} in body should be at least {shortest} chars long")
        return
    wanted = text_at(schema, "pattern")
    pattern = _pattern(wanted) if wanted else None
    if pattern is not None and not pattern.search(value):
        told.invalid(path, value, f"{path} in body should match '{wanted}'")
    format_ = text_at(schema, "format")
    if not _has_format(value, format_):
        told.mistyped(path, value, f'{path} in body must be of type {format_}: "{value}"')


def _has_format(value: str, format_: str) -> bool:
    if format_ == "date-time":
        try:
            canonical_time(value)
        except AmountError:
            return False
        return True
    known = _FORMATS.get(format_)
    return known is None or known.fullmatch(value) is not None


def _check_number(
    value: int | float,  # noqa: PYI041 - it is printed as what it is
    schema: JsonObject,
    path: str,
    told: Complaints,
) -> None:
    least, most = schema.get("minimum"), schema.get("maximum")
    said = f"{path} in body should be"
    if isinstance(most, int | float):
        if schema.get("exclusiveMaximum") is True:
            if value >= most:
                told.invalid(path, value, f"{said} less than {most}")
        elif value > most:
            told.invalid(path, value, f"{said} less than or equal to {most}")
    if isinstance(least, int | float):
        if schema.get("exclusiveMinimum") is True:
            if value <= least:
                told.invalid(path, value, f"{said} greater than {least}")
        elif value < least:
            told.invalid(path, value, f"{said} greater than or equal to {least}")
    step = number_at(schema, "multipleOf")
    if step and value % step:
        told.invalid(path, value, f"{said} a multiple of {step}")


def _too_many(count: int, limit: int, path: str, told: Complaints) -> None:
    message = f"Too many: {count}: must have at most {limit} items"
    told.causes.append(Cause("FieldValueTooMany", message, path))


def _check_list(value: list[Json], schema: JsonObject, path: str, told: Complaints) -> None:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if isinstance(most, int) and len(value) > most:
        _too_many(len(value), most, path, told)
        return
    if isinstance(least, int) and len(value) < least:
        told.invalid(path, len(value), f"{path} in body should have at least {least} items")
    inner = object_at(schema, "items")
    for index, item in enumerate(value):
        _check(item, inner, f"{path}[{index}]", told)
    keys = texts_at(schema, "x-kubernetes-list-map-keys")
    kind = text_at(schema, "x-kubernetes-list-type")
    seen: list[Json] = []
    for index, item in enumerate(value if kind in {"map", "set"} else ()):
        known: Json = item
        if kind == "map":
            known = {key: field_at(item, key) for key in keys}
        if known in seen:
            told.duplicate(f"{path}[{index}]", known)
        seen.append(known)


def _check_object(value: JsonObject, schema: JsonObject, path: str, told: Complaints) -> None:
    prefix = f"{path}." if path else ""
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if isinstance(most, int) and len(value) > most:
        _too_many(len(value), most, path, told)
    if isinstance(least, int) and len(value) < least:
        told.invalid(path, len(value), f"{path} in body should have at least {least} properties")
    required = list(texts_at(schema, "required"))
    if schema.get("x-kubernetes-embedded-resource") is True:
        required += [name for name in ("apiVersion", "kind") if name not in required]
    for name in required:
        if name not in value:
            told.required(f"{prefix}{name}")
    properties, others = object_at(schema, "properties"), schema.get("additionalProperties")
    for name, item in sorted(value.items()):
        inner = properties.get(name, others)
        if isinstance(inner, Mapping) and (path or name != "metadata"):
            _check(item, inner, f"{prefix}{name}", told)


def _check_choices(value: Json, schema: JsonObject, path: str, told: Complaints) -> None:
    """``allOf``, ``anyOf``, ``oneOf`` and ``not``."""
    for part in objects_at(schema, "allOf"):
        _check(value, part, path, told)
    excluded = schema.get("not")
    if isinstance(excluded, Mapping) and not _causes(value, excluded, path):
        _nowhere(f'"{path}" must not validate the schema (not)', told)
    any_of = [_causes(value, part, path) for part in objects_at(schema, "anyOf")]
    if any_of and all(any_of):
        _nowhere(f'"{path}" must validate at least one schema (anyOf)', told)
        told.causes += any_of[0]
    one_of = [_causes(value, part, path) for part in objects_at(schema, "oneOf")]
    fitting = sum(not causes for causes in one_of)
    if one_of and fitting != 1:
        found = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
        _nowhere(f'"{path}" must validate one and only one schema (oneOf). {found}', told)
        if not fitting:
            told.causes += one_of[0]


def _causes(value: Json, schema: JsonObject, path: str) -> list[Cause]:
    inner = Complaints()
    _check(value, schema, path, inner)
    return inner.causes
