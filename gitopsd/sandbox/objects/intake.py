"""Reads what a write brings: a whole object, a patch, or what somebody applies.

What cannot be read is refused as a real server refuses it, which differs by kind of request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects import patches
from gitopsd.sandbox.objects.custom_objects import read_custom
from gitopsd.sandbox.objects.decoding import DecodeError, Strictness, decode
from gitopsd.sandbox.objects.go_text import go_text
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.status_errors import (
    Cause,
    StatusError,
    bad_request,
    internal,
    invalid,
)
from gitopsd.sandbox.objects.strategic_patch import left_over, strategic_patch
from gitopsd.sandbox.objects.typed_merge import TypeMismatchError, check_type
from gitopsd.sandbox.objects.write_request import IGNORE, STRICT, Write

_BADLY_FORMED = frozenset(
    f"invalid patch format of {what}"
    for what in ("primitive list", "retainKeys", "setElementOrder list")
)
"""Complaints about strategic merge patches that are the sender's fault to a real server; others
are its own."""
_GO_VALUE = "Go value of type map[string]interface {}"

Read = tuple[dict[str, Json], tuple[str, ...]]
"""An object and the warnings about it."""


def read_object(
    resource: Resource,
    schema: Schema,
    obj: JsonObject,
    strictness: Strictness,
    *,
    applied: bool = False,
) -> dict[str, Json]:
    """An object as a server keeps it, with its defaults.

    Args:
        resource: Its resource.
        schema: Its kind's type.
        obj: The object.
        strictness: Gathers what a strict reader complains about.
        applied: Whether it comes of an apply.

    Raises:
        DecodeError: A value cannot be what its field is.
    """
    # Managed fields are in their one form already, and need not be looked at again.
    metadata = object_at(obj, "metadata")
    managed = metadata.get("managedFields")
    bare = {name: item for name, item in metadata.items() if name != "managedFields"}
    plain: JsonObject = {**obj, "metadata": bare}
    if resource.custom:
        found = read_custom(plain, schema, strictness, keeps_nulls=applied)
    else:
        found = decode(plain, schema, strictness)
    if managed is not None:
        found["metadata"] = {**object_at(found, "metadata"), "managedFields": managed}
    return found


def read_body(write: Write, schema: Schema, body: JsonObject) -> Read:
    """The object in the body of a POST or a PUT.

    Raises:
        StatusError: It cannot be read, or is of another kind.
    """
    resource = write.resource
    api_version = text_at(body, "apiVersion") or resource.api_version
    kind = text_at(body, "kind") or resource.kind
    version = api_version.rpartition("/")[2]
    if kind != resource.kind:
        internal_group = resource.group.partition(".")[0] or "core"
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: converting '
            f"({version}.{kind}) to ({internal_group}.{resource.kind}): unknown conversion"
        )
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API "
            f"version ({resource.api_version})"
        )
    strictness = Strictness(write.duplicates)
    unreadable = f'{kind} in version "{version}" cannot be handled as a {kind}:'
    typed: dict[str, Json] = {**body, "apiVersion": api_version, "kind": kind}
    try:
        obj = read_object(resource, schema, typed, strictness)
    except DecodeError as error:
        raise bad_request(f"{unreadable} {error}") from error
    complaints = strictness.complaints()
    if complaints and write.validation == STRICT:
        raise bad_request(f"{unreadable} strict decoding error: {', '.join(complaints)}")
    return obj, _warnings(write, complaints)


def _warnings(write: Write, complaints: list[str]) -> tuple[str, ...]:
    return () if write.validation == IGNORE else tuple(complaints)


def read_patched(
    write: Write, schema: Schema, live: JsonObject, content_type: str, body: Json
) -> Read:
    """The object after a patch.

    Raises:
        StatusError: The patch does not apply, or what comes of it cannot be read.
    """
    strategic = content_type == patches.STRATEGIC_PATCH
    patched = _patched(live, content_type, body, schema)
    said = go_text(left_over(body)) if strategic else _compact(patched)
    strictness = Strictness(write.duplicates)
    try:
        obj = read_object(write.resource, schema, patched, strictness)
    except DecodeError as error:
        raise _bad_patch(said, error.converted if strategic else str(error)) from error
    if strategic:
        strictness.unknown.sort()  # this way of reading an object tells them in this order
    complaints = strictness.complaints()
    if complaints and write.validation == STRICT:
        raise _bad_patch(said, f"strict decoding error: {', '.join(complaints)}")
    return obj, _warnings(write, complaints)


def _patched(live: JsonObject, content_type: str, body: Json, schema: Schema) -> JsonObject:
    if content_type == patches.JSON_PATCH:
        if not isinstance(body, list):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type "
                "[]handlers.jsonPatchOp"
            )
        try:
            result = patches.json_patch(live, body)
        except patches.PatchError as error:
            # The reason stays in the server's log, and so does here what would say it.
            message = "the server rejected our request due to an error in our request"
            raise StatusError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, {}) from error
        return result if isinstance(result, Mapping) else {}
    if not isinstance(body, Mapping):
        what = "array" if isinstance(body, list) else "string"
        raise bad_request(f"error decoding patch: json: cannot unmarshal {what} into {_GO_VALUE}")
    if content_type == patches.MERGE_PATCH:
        merged = patches.merge_patch(live, body)
        return merged if isinstance(merged, Mapping) else {}
    try:
        return strategic_patch(live, body, schema)
    except patches.PatchError as error:
        text = str(error)
        raise (bad_request(text) if text in _BADLY_FORMED else internal(text)) from error


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _bad_patch(said: str, why: str) -> StatusError:
    quoted = json.dumps(said, ensure_ascii=False)
    cause = Cause("FieldValueInvalid", f"Invalid value: {quoted}: {why}", "patch")
    return invalid("", "", "", [cause])


def check_applied(write: Write, schema: Schema, body: JsonObject) -> None:
    """Check what is applied before it is merged: its kind, its fields, its types.

    Raises:
        StatusError: It does not fit.
    """
    resource = write.resource
    said = (text_at(body, "apiVersion"), text_at(body, "kind"))
    if said != (resource.api_version, resource.kind):
        raise bad_request(f"invalid object type: {_spoken_kind(*said)}")
    if object_at(body, "metadata").get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    try:
        check_type(body, schema)
    except TypeMismatchError as error:
        raise internal(f"failed to create typed patch object ({_spoken(body)}): {error}") from error


def read_applied(write: Write, schema: Schema, body: JsonObject, merged: JsonObject) -> Read:
    """The object after an apply.

    Raises:
        StatusError: What is applied cannot be read, though it fits the schema.
    """
    try:
        obj = read_object(write.resource, schema, merged, Strictness(), applied=True)
    except DecodeError as error:
        kind = _spoken_kind(write.resource.api_version, write.resource.kind)
        raise internal(
            f"failed to convert new object ({_spoken(body)}) to proper version: unable to convert "
            f"unstructured object to {kind}: {error.converted}"
        ) from error
    if not write.duplicates or write.validation == IGNORE:
        return obj, ()
    lines = tuple(
        f'line 1: key "{path.rpartition(".")[2]}" already set in map' for path in write.duplicates
    )
    if write.validation == STRICT:
        said = "".join(f"\n  {line}" for line in lines)
        raise bad_request(
            "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal "
            f"errors:{said}"
        )
    return obj, lines


def _spoken(body: JsonObject) -> str:
    """An applied object as the server names it: ``namespace/name; group/version, Kind=Kind``."""
    place = f"{text_at(body, 'metadata', 'namespace')}/{text_at(body, 'metadata', 'name')}"
    return f"{place}; {_spoken_kind(text_at(body, 'apiVersion'), text_at(body, 'kind'))}"


def _spoken_kind(api_version: str, kind: str) -> str:
    """A kind as Go prints it: ``apps/v1, Kind=Deployment``."""
    group, _, version = api_version.rpartition("/")
    return f"{group}/{version}, Kind={kind}"
