"""The simple JSONPath of CustomResourceDefinitions: ``.spec.items[0].name``, ``.a['b.c']``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

_STEP = re.compile(
    r"""\.(?P<name>(?:[^.\[\]\\'"]|\\.)+)
      | \[(?P<place>-?\d+)\]
      | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]
      | \[\?\(@\.(?P<field>[\w.-]+)\s*==\s*(?P<mark>['"])(?P<value>.*?)(?P=mark)\)\]
      | (?P<all>\[\*\])""",
    re.VERBOSE,
)


def find_path(document: Json, path: str) -> tuple[Json, ...]:
    """Every value at a path; none when the path cannot be read or nothing is there."""
    found: tuple[Json, ...] = (document,)
    place = 0
    while place < len(path):
        step = _STEP.match(path, place)
        if step is None:
            return ()
        found = tuple(item for value in found for item in _follow(value, step))
        place = step.end()
    return found


def _follow(value: Json, step: re.Match[str]) -> tuple[Json, ...]:
    name = step["name"].replace("\\", "") if step["name"] else step["key"]
    if name is not None:
        return (value[name],) if isinstance(value, Mapping) and name in value else ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    if step["place"]:
        number = int(step["place"])
        return (value[number],) if -len(value) <= number < len(value) else ()
    if step["field"]:
        wanted = f".{step['field']}"
        return tuple(item for item in value if find_path(item, wanted) == (step["value"],))
    return tuple(value)
