"""Rows of custom objects, by the columns that their definition names, and of definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from gitopsd.sandbox.api.printing.cells import Cells, Column, Printer, columns, count_at, name_of
from gitopsd.sandbox.api.printing.json_path import find_path
from gitopsd.sandbox.api.printing.spans import say_since
from gitopsd.sandbox.fields import objects_at, text_at, texts_at

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject


def custom_printer(version: JsonObject) -> Printer:
    """The printer of one version of a CustomResourceDefinition: its columns, or the age."""
    wanted = objects_at(version, "additionalPrinterColumns") or (
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )
    made = tuple(
        Column(
            text_at(item, "name"),
            text_at(item, "type", default="string"),
            text_at(item, "format"),
            count_at(item, "priority"),
        )
        for item in wanted
    )
    paths = tuple(text_at(item, "jsonPath") for item in wanted)

    def row(obj: JsonObject, now: datetime) -> Cells:
        found = (find_path(obj, path) for path in paths)
        cells = (
            _cell(column, values[0], now) if values else None
            for column, values in zip(made, found, strict=True)
        )
        return [name_of(obj), *cells]

    return Printer((Column("Name", format="name"), *made), row)


def _cell(column: Column, value: Json, now: datetime) -> Json:
    if column.type == "string":
        return value if isinstance(value, str) else _say(value)
    if column.type == "date":
        return say_since(value, now) if isinstance(value, str) else None
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if column.type == "integer" else float(value)


def _say(value: Json) -> str:
    return "<nil>" if value is None else orjson.dumps(value).decode()


def _definition(obj: JsonObject, _: datetime) -> Cells:
    established = any(
        text_at(item, "type") == "Established" and text_at(item, "status") == "True"
        for item in objects_at(obj, "status", "conditions")
    )
    return [
        name_of(obj),
        text_at(obj, "spec", "scope"),
        ",".join(text_at(item, "name") for item in objects_at(obj, "spec", "versions")),
        text_at(obj, "metadata", "creationTimestamp"),
        text_at(obj, "spec", "group"),
        text_at(obj, "spec", "names", "kind"),
        ",".join(texts_at(obj, "spec", "names", "shortNames")),
        established,
    ]


DEFINITIONS = Printer(
    columns("Name,Scope,Versions,Created At:date|Group,Kind,ShortNames,Established:boolean"),
    _definition,
)
