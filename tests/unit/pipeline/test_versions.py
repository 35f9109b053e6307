"""Versions and ranges of versions."""

from __future__ import annotations

import itertools

import pytest

from gitopsd.pipeline.versions import parse_range, parse_version

# Semantic Versioning 2.0.0, section 11.
ORDERED = [
    "0.0.1", "0.1.0", "1.0.0-0", "1.0.0-1", "1.0.0-10", "1.0.0--", "1.0.0-alpha", "1.0.0-alpha.1",
    "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
    "1.0.1", "1.2.0", "1.10.0", "2.0.0-rc.1", "v2.0.0", "10.0.0",
]  # fmt: skip


def test_versions_are_ordered_by_precedence() -> None:
    """Each version of the list comes before all that follow it, and equals itself."""
    versions = [parse_version(text) for text in ORDERED]

    for (place, one), (other_place, other) in itertools.product(enumerate(versions), repeat=2):
        assert one is not None
        assert other is not None
        assert (one < other) is (place < other_place)
        assert (one == other) is (place == other_place)


@pytest.mark.parametrize("text", ORDERED)
def test_a_prerelease_knows_itself(text: str) -> None:
    """What has a part after a dash comes before its release."""
    version = parse_version(text)

    assert version is not None
    assert version.is_prerelease is ("-" in text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.4", "latest", "1.4.x", "01.2.3", "1.2.03", "1.2.3.4", "1.2.3-", "1.2.3-a..b",
     "1.2.3-01", "1.2.3+build", " 1.2.3", "1.2.3\n", "vv1.2.3", "1.2.-3", "1" * 19 + ".0.0"],
)  # fmt: skip
def test_other_tags_are_no_versions(text: str) -> None:
    """A tag that moves over versions, and one that only looks like one, are none."""
    assert parse_version(text) is None


@pytest.mark.parametrize(
    "text, inside, outside",
    [
        (">=1.4 <2", "1.4.0 1.4.9 1.99.0", "1.3.9 2.0.0 1.5.0-rc.1 2.0.0-rc.1"),
        (">=1.4, <2", "1.4.0", "2.0.0"),
        (">= 1.4  <  2", "1.4.0", "2.0.0"),
        (">1.4", "1.5.0 2.0.0", "1.4.0 1.4.9"),
        (">1.4.2", "1.4.3", "1.4.2 1.4.1"),
        ("<1.4", "1.3.9 0.1.0", "1.4.0"),
        ("<=1.4", "1.4.9 1.3.0", "1.5.0"),
        ("<=1.4.2", "1.4.2", "1.4.3"),
        ("=1.4.2", "1.4.2", "1.4.1 1.4.3"),
        ("==1.4.2", "1.4.2", "1.4.1 1.4.3"),
        ("1.4", "1.4.0 1.4.9", "1.3.9 1.5.0"),
        ("1.4.x", "1.4.0 1.4.9", "1.3.9 1.5.0"),
        ("1.X", "1.0.0 1.9.0", "0.9.0 2.0.0"),
        ("v1", "1.0.0 1.9.0", "0.9.0 2.0.0"),
        ("*", "0.0.1 9.9.9", "1.0.0-rc.1"),
        (">=*", "0.0.1", "0.0.1-0"),
        ("!=1.4", "1.3.9 1.5.0", "1.4.0 1.4.9"),
        ("!=1.4.2", "1.4.1 1.4.3", "1.4.2"),
        (">=1 !=1.4.2", "1.0.0 1.4.3", "1.4.2 0.9.0"),
        ("!=*", "", "1.0.0"),
        ("<*", "", "1.0.0"),
        (">*", "", "1.0.0"),
        ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5.0"),
        ("~>1.4", "1.4.0 1.4.9", "1.5.0 1.3.9"),
        ("~>1.4.2", "1.4.2 1.4.9", "1.5.0 1.4.1"),
        ("1.x.3", "1.0.0 1.9.3", "2.0.0 0.9.3"),
        ("~1", "1.0.0 1.9.0", "2.0.0 0.9.0"),
        ("^1.4.2", "1.4.2 1.9.0", "1.4.1 2.0.0"),
        ("^0.4.2", "0.4.2 0.4.9", "0.4.1 0.5.0"),
        ("^0.0.3", "0.0.3", "0.0.2 0.0.4"),
        ("^0.0", "0.0.1 0.0.9", "0.1.0"),
        ("^0", "0.0.1 0.9.0", "1.0.0"),
        ("^1.x", "1.0.0 1.9.0", "2.0.0 0.9.0"),
        ("1.2 - 1.4", "1.2.0 1.4.9", "1.1.9 1.5.0"),
        ("1.2.3 - 1.4.0", "1.2.3 1.4.0", "1.2.2 1.4.1"),
        ("~1.2 || ^3 || =5.0.1", "1.2.9 3.9.0 5.0.1", "1.3.0 2.0.0 4.0.0 5.0.0"),
        (">=1.4.0-0 <2", "1.4.0-rc.1 1.5.0-rc.1 1.4.0", "1.3.9 2.0.0 2.0.0-rc.1 2.0.0-0"),
        (">1.4.0-rc.1", "1.4.0-rc.2 1.4.0-rc.1.1 1.4.0", "1.4.0-rc.1 1.4.0-rc.0"),
        ("<=1.4.0-rc.1", "1.4.0-rc.1 1.4.0-rc.0 1.3.0", "1.4.0-rc.1.1 1.4.0-rc.2 1.4.0"),
        ("=1.4.0-rc.1", "1.4.0-rc.1", "1.4.0-rc.2 1.4.0 1.4.0-rc.0"),
        ("<1.4.0-rc.2", "1.4.0-rc.1 1.3.0", "1.4.0-rc.2 1.4.0"),
        ("~1.4.0-rc.1", "1.4.0-rc.1 1.4.0 1.4.7", "1.5.0-rc.1 1.5.0 1.4.0-rc.0"),
        ("1.4.0-rc.1 || >=2", "1.4.0-rc.1 2.0.0", "2.0.0-rc.1 1.4.0"),
        ("1.4.*", "1.4.0 1.4.9", "1.3.9 1.5.0"),
        ("1.X.X", "1.0.0 1.9.0", "0.9.0 2.0.0"),
        ("<1.0.0-alpha", "1.0.0-1 0.9.0", "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta 1.0.0"),
        (">1.0.0-9", "1.0.0-10 1.0.0-alpha 1.0.0", "1.0.0-9 1.0.0-8"),
    ],
)
def test_a_range_holds_what_it_says(text: str, inside: str, outside: str) -> None:
    """The versions on the left are in the range, those on the right are not."""
    found = parse_range(text)

    assert [version for version in inside.split() if not _holds(text, version)] == []
    assert [version for version in outside.split() if _holds(text, version)] == []
    assert found == parse_range(text)


def _holds(text: str, version: str) -> bool:
    parsed = parse_version(version)
    assert parsed is not None
    return parse_range(text).holds(parsed)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", r"it names no version; write \* for all"),
        (">=1 || ", r"it names no version; write \* for all"),
        ("abc", "'abc' is no version"),
        (">=", "'>=' is no comparator such as >=1.4"),
        (">=1 <=>2", "'<=>2' is no comparator such as >=1.4"),
        ("1.2.3.4", "'1.2.3.4' is no version"),
        ("1.x-rc", "'1.x-rc' is no version"),
        (">=1.4.x-rc", "'1.4.x-rc' is a pre-release of no full version"),
        ("1" * 201, "the range is longer than 200 characters"),
    ],
)
def test_what_is_no_range_is_said(text: str, problem: str) -> None:
    """The message names the part that cannot be read."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        parse_range(text)


def test_a_range_may_be_long() -> None:
    """Two hundred characters are allowed."""
    assert _holds("1.0.0" + " " * 195, "1.0.0")
