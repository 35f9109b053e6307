"""JSON as stored text: fast for what is usual, lossless for what is not."""

from __future__ import annotations

import json
from typing import cast

import orjson

from gitopsd.domain.manifests import Json


def dump_json(value: Json) -> str:
    """Write JSON text.

    Text that came from outside may hold lone surrogates and numbers beyond 64 bits; orjson
    refuses both, the standard library escapes the one and writes the other.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"))


def load_json(text: str | bytes) -> Json:
    """Read JSON text that `dump_json` wrote.

    Integers beyond 64 bits come back as floating point numbers; manifests, where every digit
    counts, are stored by `rendered` with the standard library alone.
    """
    try:
        return cast("Json", orjson.loads(text))
    except orjson.JSONDecodeError:
        return cast("Json", json.loads(text))
