"""The small path language of ``jsonPath:`` in checks.

``status``, ``components.database.status``, ``items[0].name``, ``['a key.with dots']``; an optional
``$.`` at the beginning. No wildcards, filters or scripts: a path names one value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gitopsd.domain.manifests import Json

_MAX_CHARACTERS = 500
_PART = re.compile(r"""\.?([^.\[\]'"\s]+)|\[([0-9]{1,9})\]|\[(?:'([^']+)'|"([^"]+)")\]""")


class _Missing:
    """Stands for a value that is not there."""


MISSING = _Missing()
"""What `find_value` answers when the document has no such value."""


def parse_json_path(text: str) -> tuple[str | int, ...]:
    """Read a path.

    Returns:
        Keys and indexes from the root on.

    Raises:
        ValueError: The text is no path.
    """
    rest = text.removeprefix("$")
    if rest != text and rest and rest[0] not in ".[":
        rest = text
    parts: list[str | int] = []
    position = 0
    while position < len(rest):
        found = _PART.match(rest, position)
        if (
            found is None
            or len(text) > _MAX_CHARACTERS
            or (position and rest[position] not in ".[")
        ):
            raise ValueError(f"{text[:60]!r} is no path such as status or items[0].name")
        key, index, single, double = found.groups()
        parts.append(int(index) if index is not None else key or single or double)
        position = found.end()
    if not parts:
        raise ValueError("the path is empty")
    return tuple(parts)


def find_value(document: Json, path: Sequence[str | int]) -> Json | _Missing:
    """Follow a path; `MISSING` when the document ends before it."""
    value = document
    for part in path:
        if not _holds(value, part):
            return MISSING
        value = value[part]  # type: ignore[index] # `_holds` looked at both types
    return value


def _holds(value: Json, part: str | int) -> bool:
    if isinstance(part, str):
        return isinstance(value, Mapping) and part in value
    return isinstance(value, list) and part < len(value)
