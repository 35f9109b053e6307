"""What a metric server is sent: placeholders filled in, and a mark that its answer has to carry."""

from __future__ import annotations

import re
from collections.abc import Mapping

MARK_LABEL = "gitopsd_question"
"""Label that each series of an answer carries back: without it the answer is somebody else's."""

PLACEHOLDERS = ("application", "stage", "cluster", "namespace", "release", "commit", "run")
"""What may stand in a query as ``{{ namespace }}``."""

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
# Nothing that ends a string or means something in a regular expression of PromQL.
_HARMLESS = re.compile(r"[A-Za-z0-9_-]+")


def find_query_problem(query: str) -> str:
    """Say what is wrong with the placeholders of a query; empty when nothing is."""
    for name in _PLACEHOLDER.findall(query):
        if name not in PLACEHOLDERS:
            return f"there is no placeholder {name[:40]!r}"
    rest = _PLACEHOLDER.sub("", query)
    if _BRACES.search(rest):
        return "a placeholder does not end, or does not begin"
    return "" if rest.strip() else "the query is empty"


def fill_query(query: str, values: Mapping[str, str]) -> str:
    """Fill a query's placeholders in.

    Args:
        query: A query in which `find_query_problem` finds nothing.
        values: Placeholder -> what stands for it.

    Raises:
        ValueError: A value is missing, or holds a sign that could mean something in a query.
    """

    def fill(found: re.Match[str]) -> str:
        value = values.get(found[1], "")
        if not _HARMLESS.fullmatch(value):
            raise ValueError(f"the {found[1]} {value[:60]!r} cannot be written into a query")
        return value

    return _PLACEHOLDER.sub(fill, query)


def mark_query(query: str, mark: str) -> str:
    """Have each series of the answer carry a mark; the query must be one for an instant vector.

    ``label_replace`` with a source label that no series has sets the label of every series. The
    query stands on lines of its own: its last one may be a comment.
    """
    return f'label_replace(\n{query}\n, "{MARK_LABEL}", "{mark}", "{MARK_LABEL}", ".*")'
