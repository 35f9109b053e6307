"""What many kinds' cells have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.sandbox.api.printing.spans import say_since
from gitopsd.sandbox.fields import number_at, object_at, objects_at, text_at, text_map_at, texts_at

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

NONE = "<none>"
UNSET = "<unset>"
Cells: TypeAlias = "list[Json]"
Row = Callable[["JsonObject", "datetime"], "list[Json]"]
_SHOWN = 3
_OPERATORS = {"In": "in", "NotIn": "notin"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; one of a priority above 0 is shown by ``-o wide`` alone."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is shown.

    Attributes:
        columns: The columns.
        row: Makes one object's cells, as many as there are columns.
    """

    columns: tuple[Column, ...]
    row: Row


def columns(text: str) -> tuple[Column, ...]:
    """Columns by name; ``Name:integer`` has a type, and those after a bar are for ``-o wide``."""
    made: list[Column] = []
    for priority, part in enumerate(text.split("|")):
        for word in part.split(","):
            name, _, kind = word.strip().partition(":")
            form = "name" if name == "Name" else ""
            if name:
                made.append(Column(name, kind or "string", form, priority))
    return tuple(made)


def name_of(obj: JsonObject) -> str:
    """The object's name."""
    return text_at(obj, "metadata", "name")


def age_of(obj: JsonObject, now: datetime) -> str:
    """How long ago it was created."""
    return say_since(text_at(obj, "metadata", "creationTimestamp"), now)


def count_at(obj: Json, *path: str) -> int:
    """A whole number; 0 when there is none."""
    return int(number_at(obj, *path))


def say_containers(spec: JsonObject) -> Cells:
    """Names and images of a pod's containers."""
    found = objects_at(spec, "containers")
    return [
        ",".join(text_at(item, "name") for item in found),
        ",".join(text_at(item, "image") for item in found),
    ]


def say_labels(labels: JsonObject) -> str:
    """Labels as a selector that has them."""
    pairs = sorted(text_map_at(labels).items())
    return ",".join(f"{name}={value}" for name, value in pairs) or NONE


def say_selector(selector: JsonObject, *, empty: str = NONE) -> str:
    """A LabelSelector object as a selector in a query."""
    said = [f"{name}={value}" for name, value in text_map_at(selector, "matchLabels").items()]
    for item in objects_at(selector, "matchExpressions"):
        name, operator = text_at(item, "key"), text_at(item, "operator")
        values = ",".join(sorted(texts_at(item, "values")))
        if operator in _OPERATORS:
            said.append(f"{name} {_OPERATORS[operator]} ({values})")
        else:
            said.append(name if operator == "Exists" else f"!{name}")
    return ",".join(sorted(said)) or empty


def say_some(items: Sequence[str], count: int | None = None) -> str:
    """The first three of a list, and how many more there are."""
    total = len(items) if count is None else count
    if not items:
        return UNSET
    shown = ",".join(items[:_SHOWN])
    return f"{shown} + {total - _SHOWN} more..." if len(items) > _SHOWN else shown


def selector_at(obj: JsonObject, *path: str, empty: str = NONE) -> str:
    """The LabelSelector at a path, said."""
    return say_selector(object_at(obj, *path), empty=empty)
