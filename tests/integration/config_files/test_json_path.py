"""The path language of checks."""

from __future__ import annotations

import pytest

from gitopsd.adapters.json_path import MISSING, find_value, parse_json_path
from gitopsd.domain.manifests import Json

DOCUMENT: Json = {
    "status": "ok",
    "a": {"b.c": [1, {"d": None}]},
    "$": "dollar",
    "$x": 2,
    "0": "zero",
}


@pytest.mark.parametrize(
    "path, value",
    [
        ("status", "ok"),
        ("$.status", "ok"),
        ("$['status']", "ok"),
        ("a['b.c'][0]", 1),
        ('a["b.c"][1].d', None),
        ("['a']['b.c'][1]", {"d": None}),
        ("$x", 2),
        ("0", "zero"),
        ("missing", MISSING),
        ("status.x", MISSING),
        ("status[0]", MISSING),
        ("a[0]", MISSING),
        ("a['b.c'][2]", MISSING),
        ("a['b.c'].d", MISSING),
    ],
)
def test_paths_name_one_value(path: str, value: Json) -> None:
    """Dots, brackets, indexes and quoted keys; what is not there is MISSING, never an error."""
    found = find_value(DOCUMENT, parse_json_path(path))
    assert found is value or found == value


@pytest.mark.parametrize(
    "path",
    ["", "$", ".", "a.", "a..b", "a[", "a[x]", "a]", "a b", "a['']", "a[*]", "..a", "a" * 501],
)
def test_other_texts_are_no_paths(path: str) -> None:
    """A mistake is found when the configuration is read."""
    with pytest.raises(ValueError, match="path"):
        parse_json_path(path)


@pytest.mark.parametrize("document", [None, 1, "text", [], [1]])
def test_documents_of_any_kind_are_followed(document: Json) -> None:
    """A body that is no object has no such value."""
    assert find_value(document, parse_json_path("status")) is MISSING
