"""JSON Schemas of the kinds, for editors and for ``gitopsd schema``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from pydantic.json_schema import GenerateJsonSchema

from gitopsd.adapters.config_files.documents import MODELS
from gitopsd.adapters.config_files.fields import format_duration
from gitopsd.adapters.config_files.problems import suggest
from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import PermanentError

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Writes defaults as people write them."""

    def encode_default(self, dft: Any) -> Any:
        """Write a duration as `5m`; pydantic would write ISO 8601."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def list_kinds() -> tuple[str, ...]:
    """List the kinds, by name."""
    return tuple(sorted(MODELS))


def schema_of(kind: str) -> JsonObject:
    """Make the JSON Schema of a kind.

    Args:
        kind: Such as ``Application``.

    Raises:
        PermanentError: There is no such kind.
    """
    model = MODELS.get(kind)
    if model is None:
        raise PermanentError(f"there is no kind {kind!r}. {suggest(kind, MODELS)}")
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": _DRAFT, "$id": f"https://gitopsd.io/schemas/v1/{kind}.json", **schema}


def write_schema(kind: str) -> str:
    """Write the JSON Schema of a kind as the text of its file."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(schema_of(kind), option=options).decode()
