"""What a verb prints: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from gitopsd.cli.client import Document


class Form(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Form, typer.Option("--output", "-o", help="How to print.")]
Server = Annotated[
    str,
    typer.Option("--server", help="Address of the server. [env: GITOPSD_SERVER]", metavar="URL"),
]
TokenFile = Annotated[
    str,
    typer.Option(
        "--token-file",
        help="File with the token. [env: GITOPSD_TOKEN_FILE, or GITOPSD_TOKEN itself]",
        metavar="FILE",
    ),
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its head.
        read: Reads it from a row.
        wide: Whether only ``-o wide`` shows it.
    """

    title: str
    read: Callable[[Document], object]
    wide: bool = False


def clean(value: object) -> str:
    """Write a value for a terminal: one line, no control characters.

    What people wrote into commits and reasons must not move the cursor or change colours.
    """
    text = "" if value is None else str(value)
    text = " ".join(text.split())
    return "".join(char for char in text if unicodedata.category(char)[0] != "C")


def show_time(value: object) -> str:
    """Write a time of the API to the second, in UTC."""
    if not value:
        return ""
    return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M:%S}Z"


def show_table(rows: Sequence[Document], columns: Sequence[Column], *, wide: bool = False) -> None:
    """Print rows as a table: as wide as the terminal, or as it has to be in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in columns if wide or not column.wide]
    console = Console(highlight=False)
    table = Table(box=None if not console.is_terminal else box.SIMPLE_HEAD, pad_edge=False)
    for column in shown:
        table.add_column(column.title.upper(), overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*(Text(clean(column.read(row))) for column in shown))
    if console.is_terminal:
        console.print(table)
        return
    head: list[list[object]] = [[column.title.upper() for column in shown]]
    show_lines([*head, *([column.read(row) for column in shown] for row in rows)], indent="")


def show_document(document: Document, form: Form) -> None:
    """Print a document as JSON or YAML."""
    if form is Form.YAML:
        sys.stdout.write(write_yaml(document))
    else:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")


def write_yaml(document: Document) -> str:
    """Write one YAML document."""
    import ryaml

    written: str = ryaml.dumps(document)  # type: ignore[attr-defined] # the package exports it untyped
    return written.lstrip("\n")


def show_rows(rows: Sequence[Document], columns: Sequence[Column], form: Form) -> None:
    """Print rows in the form that was asked for."""
    if form in (Form.JSON, Form.YAML):
        show_document({"items": list(rows)}, form)
    else:
        show_table(rows, columns, wide=form is Form.WIDE)


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line; empty ones left out."""
    shown = {name: clean(value) for name, value in fields.items() if value not in (None, "", [])}
    width = max((len(name) for name in shown), default=0) + 1
    for name, value in shown.items():
        sys.stdout.write(f"{name + ':':<{width}} {value}\n")


def show_lines(rows: Sequence[Sequence[object]], indent: str = "  ") -> None:
    """Print rows of short words below something, aligned, without a head."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write((indent + "  ".join(padded)).rstrip() + "\n")


def say(line: str) -> None:
    """Print one line for a person."""
    sys.stdout.write(clean(line) + "\n")
    sys.stdout.flush()
