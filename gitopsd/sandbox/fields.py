"""Reading fields out of JSON objects that others wrote: absent and oddly typed read as empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject


def field_at(document: Json, *path: str) -> Json:
    """The value at a path of keys; None when any part is missing."""
    value = document
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def text_at(document: Json, *path: str, default: str = "") -> str:
    """The string at a path; `default` when there is none."""
    value = field_at(document, *path)
    return value if isinstance(value, str) else default


def number_at(document: Json, *path: str, default: float = 0) -> float:
    """The number at a path; `default` when there is none."""
    value = field_at(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value


def flag_at(document: Json, *path: str) -> bool:
    """Whether the value at a path is true."""
    return field_at(document, *path) is True


def object_at(document: Json, *path: str) -> JsonObject:
    """The object at a path; empty when there is none."""
    value = field_at(document, *path)
    return value if isinstance(value, Mapping) else {}


def objects_at(document: Json, *path: str) -> tuple[JsonObject, ...]:
    """The objects in the list at a path; anything else in it is left out."""
    value = field_at(document, *path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(item for item in value if isinstance(item, Mapping))


def texts_at(document: Json, *path: str) -> tuple[str, ...]:
    """The strings in the list at a path; anything else in it is left out."""
    value = field_at(document, *path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(item for item in value if isinstance(item, str))


def text_map_at(document: Json, *path: str) -> dict[str, str]:
    """The string entries of the object at a path."""
    return {
        key: value for key, value in object_at(document, *path).items() if isinstance(value, str)
    }


def named(objects: Sequence[JsonObject], name: str) -> JsonObject | None:
    """The first object whose ``name`` is `name`."""
    return next((item for item in objects if item.get("name") == name), None)
