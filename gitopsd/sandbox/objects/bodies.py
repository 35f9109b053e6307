"""Finds fields that a JSON body has twice: decoders keep one of them and say nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from gitopsd.domain.manifests import Json

_COLON_AFTER_STRING = re.compile(rb'"\s*:')


class _Twice(dict[str, Json]):
    """An object that was written with some fields twice."""

    names: tuple[str, ...] = ()


def duplicate_fields(text: bytes, value: Json) -> tuple[str, ...]:
    """The paths of fields that are written twice.

    Args:
        text: The body.
        value: What was read from it.
    """
    # Every field leaves one such mark, so that as many marks as fields means none was lost.
    if len(_COLON_AFTER_STRING.findall(text)) == _count(value):
        return ()
    try:
        found: Json = json.loads(text, object_pairs_hook=_collect)
    except ValueError:
        return ()
    return tuple(_paths(found, ""))


def _count(value: Json) -> int:
    if isinstance(value, Mapping):
        return len(value) + sum(_count(item) for item in value.values())
    return sum(_count(item) for item in value) if isinstance(value, list) else 0


def _collect(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = _Twice(found)
    twice.names = tuple(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value] # the idiom for "seen before"
    return twice


def _paths(value: Json, path: str) -> Iterator[str]:
    if isinstance(value, _Twice):
        for name in dict.fromkeys(value.names):
            yield f"{path}{name}"
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _paths(item, f"{path}{name}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, f"{path.removesuffix('.')}[{index}].")
