"""Reads the bodies of writes: JSON, YAML, and the protobuf of ``kubectl create``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
import ryaml

from gitopsd.sandbox.api.protobuf import MEDIA_TYPE as PROTOBUF
from gitopsd.sandbox.api.protobuf import ProtobufError, decode_protobuf
from gitopsd.sandbox.objects.patches import APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from gitopsd.sandbox.objects.status_errors import (
    StatusError,
    bad_request,
    unsupported_media_type,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.calls import Call

PATCHES = frozenset({APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH})
UNSUPPORTED = 415
_JSON = "application/json"
_YAML = "application/yaml"
_SHOWN_BYTES = 100


def read_object(call: Call) -> JsonObject:
    """The object in a POST's or a PUT's body.

    Raises:
        StatusError: There is none, or it is in a format that is not read.
    """
    if call.content_type == PROTOBUF:
        try:
            return decode_protobuf(call.body)
        except ProtobufError as error:
            raise bad_request(error.message) from error
    if call.content_type not in {"", _JSON, _YAML}:
        raise unsupported_media_type((_JSON, _YAML, PROTOBUF))
    try:
        document = _yaml(call.body) if call.content_type == _YAML else orjson.loads(call.body)
    except (orjson.JSONDecodeError, ValueError) as error:
        raise _unrecognized(call, str(error)) from error
    if not isinstance(document, Mapping):
        raise _unrecognized(call, "json: cannot unmarshal it into an object")
    return document


def read_patch(call: Call) -> Json:
    """The patch in a PATCH's body.

    Raises:
        StatusError: There is none, or it is of a type that is not known.
    """
    if call.content_type not in PATCHES:
        raise StatusError(UNSUPPORTED, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    try:
        parsed: Json = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        if call.content_type != APPLY:
            raise bad_request("invalid JSON patch") from error
    else:
        return parsed
    try:
        return _yaml(call.body)
    except ValueError as error:
        said = f"error decoding patch: error converting YAML to JSON: yaml: {error}"
        raise bad_request(said) from error


def _yaml(body: bytes) -> Json:
    document: Json = ryaml.load(io.StringIO(body.decode()))
    return document


def _unrecognized(call: Call, why: str) -> StatusError:
    shown = call.body[:_SHOWN_BYTES].decode(errors="replace")
    return bad_request(
        f"the object provided is unrecognized (must be of type {call.resource.kind}): couldn't "
        f"get version/kind; json parse error: {why} ({shown})"
    )
