"""Finds the line of a value or a field in a kustomization file.

The YAML parser gives values without their places, so the text is searched: first the section of
the top-level field, then the value as a whole word in it. A value that is spread over several
lines is placed at its section.
"""

from __future__ import annotations

import re

_NEXT_SECTION = re.compile(r"""^["']?[A-Za-z]""")


def find_value_line(text: str, field: str, value: str, occurrence: int = 0) -> int:
    """Find the line of a value.

    Args:
        text: The file.
        field: Top-level field that holds the value.
        value: The value as it is written on one line.
        occurrence: How many equal values of this field come before it.

    Returns:
        Its line; that of the field when the value cannot be found, 1 when neither can.
    """
    word = re.compile(rf"""(?:^|[\s\[{{,:"'=-]){re.escape(value)}(?=$|[\s\]}},"'#])""")
    first, lines = _section(text, field)
    seen = -1
    for number, line in enumerate(lines, first):
        seen += len(word.findall(_without_comment(line)))
        if seen >= occurrence:
            return number
    return first


def find_field_line(text: str, field: str, name: str = "") -> int:
    """Find the line of a top-level field, or of the field ``name`` inside it."""
    first, lines = _section(text, field)
    if not name:
        return first
    key = re.compile(rf"""(?:^|[\s{{,-])["']?{re.escape(name)}["']?\s*:""")
    for number, line in enumerate(lines, first):
        if key.search(line):
            return number
    return first


def _section(text: str, field: str) -> tuple[int, list[str]]:
    """Cut a top-level field out: the number of its first line, and its lines."""
    lines = text.split("\n")
    head = re.compile(rf"""^[{{\s]*["']?{re.escape(field)}["']?\s*:""")
    for start, line in enumerate(lines):
        if head.match(line):
            end = start + 1
            while end < len(lines) and not _NEXT_SECTION.match(lines[end]):
                end += 1
            return start + 1, lines[start:end]
    return 1, lines


def _without_comment(line: str) -> str:
    return "" if line.lstrip().startswith("#") else line
