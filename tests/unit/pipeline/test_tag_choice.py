"""Which tags are followed, and which of them is the highest."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.sources import RefName
from gitopsd.pipeline.tag_choice import (
    TagSelector,
    concerns,
    format_selector,
    goes_back,
    parse_selector,
    rank_tags,
)

NAMES = ("v1.9.0", "v1.10.0", "v1.10.0-rc.1", "v2.0.0", "nightly-9", "nightly-10", "vnext", "1.4.2")


@pytest.mark.parametrize(
    "selector, ref, said",
    [
        (TagSelector("v*"), "refs/tags/v*", "v*"),
        (TagSelector("v?.0"), "refs/tags/v?.0", "v?.0"),
        (TagSelector("*", ">=1.4 <2"), "refs/tags/*:>=1.4_<2", "* in >=1.4 <2"),
        (TagSelector("api/v*", "^1.4"), "refs/tags/api/v*:^1.4", "api/v* in ^1.4"),
        (TagSelector("v1_x", "~1"), "refs/tags/v1_x:~1", "v1_x in ~1"),
    ],
)
def test_a_selector_is_the_name_of_what_is_followed(
    selector: TagSelector, ref: str, said: str
) -> None:
    """It is read back as it was, holds no space, and is no name that Git would take."""
    assert format_selector(selector) == ref
    assert parse_selector(RefName(ref)) == selector
    assert " " not in ref
    assert str(selector) == said


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/stable", "refs/heads/*", "v*"])
def test_a_plain_ref_is_no_selector(ref: str) -> None:
    """A branch, and a tag that is followed by its name."""
    assert parse_selector(RefName(ref)) is None


def test_a_tag_without_wildcards_is_its_own_name() -> None:
    """Followed like a branch."""
    assert format_selector(TagSelector("stable")) == "refs/tags/stable"


@pytest.mark.parametrize(
    "followed, moved, wanted",
    [
        ("refs/heads/main", "refs/heads/main", True),
        ("refs/heads/main", "refs/tags/main", False),
        ("refs/tags/stable", "refs/tags/stable", True),
        ("refs/tags/v*", "refs/tags/v1", True),
        ("refs/tags/v*", "refs/tags/x1", False),
        ("refs/tags/v*", "refs/heads/v1", False),
        ("refs/tags/*", "refs/heads/main", False),
        ("refs/tags/*:>=1_<2", "refs/tags/v1.2.3", True),
        ("refs/tags/*:>=1_<2", "refs/tags/v2.0.0", False),
        ("refs/tags/*:>=1_<2", "refs/tags/latest", False),
    ],
)
def test_only_what_could_be_chosen_is_worth_a_look(followed: str, moved: str, wanted: bool) -> None:
    """A hint about another ref asks nobody anything."""
    assert concerns(RefName(followed), RefName(moved)) is wanted


def test_the_highest_version_is_first() -> None:
    """By precedence, not by name; a pre-release comes before its release."""
    assert rank_tags(TagSelector("v*"), NAMES) == (
        "v2.0.0",
        "v1.10.0",
        "v1.10.0-rc.1",
        "v1.9.0",
        "vnext",
    )


def test_names_that_are_no_versions_are_ordered_as_people_read_them() -> None:
    """Numbers as numbers; below everything that is a version."""
    assert rank_tags(TagSelector("nightly-*"), NAMES) == ("nightly-10", "nightly-9")
    assert rank_tags(TagSelector("*"), NAMES)[-3:] == ("vnext", "nightly-10", "nightly-9")
    assert rank_tags(TagSelector("*"), ("b", "a1", "a", "1")) == ("b", "a1", "a", "1")


def test_a_range_takes_versions_alone() -> None:
    """A leading v or none; a pre-release only when the range names one."""
    assert rank_tags(TagSelector("*", ">=1.4 <2"), NAMES) == ("v1.10.0", "v1.9.0", "1.4.2")
    assert rank_tags(TagSelector("v*", ">=1.4.0-0 <2"), NAMES) == (
        "v1.10.0",
        "v1.10.0-rc.1",
        "v1.9.0",
    )
    assert rank_tags(TagSelector("*", ">=3"), NAMES) == ()


@pytest.mark.parametrize("pattern", ["api/v*", "api/*"])
def test_versions_stand_after_what_all_names_begin_with(pattern: str) -> None:
    """Several applications of one repository have tags of their own."""
    names = ("api/v1.2.0", "api/v1.10.0", "api/v1.10.0-rc.1", "web/v9.0.0", "v3.0.0")
    assert rank_tags(TagSelector(pattern, ">=1"), names) == ("api/v1.10.0", "api/v1.2.0")
    assert rank_tags(TagSelector(pattern), names)[:2] == ("api/v1.10.0", "api/v1.10.0-rc.1")


def test_a_pattern_may_hold_a_part_of_the_version() -> None:
    """A name that is a version as a whole is one, wherever the pattern's wildcards stand."""
    names = ("1.9.0", "1.10.0-rc.1", "1.10.0")
    assert rank_tags(TagSelector("1.*"), names) == ("1.10.0", "1.10.0-rc.1", "1.9.0")
    assert rank_tags(TagSelector("v*.*"), ("v1.9.0", "v1.10.0")) == ("v1.10.0", "v1.9.0")
    assert rank_tags(TagSelector(range="^1"), names) == ("1.10.0", "1.9.0")


def test_equal_versions_have_an_order_too() -> None:
    """Whatever order the remote lists them in."""
    for names in permutations(("1.0.0", "v1.0.0")):
        assert rank_tags(TagSelector("*"), names) == ("v1.0.0", "1.0.0")


def test_a_lower_tag_goes_back() -> None:
    """The one before was deleted; what the selector does not take counts for nothing."""
    versions = TagSelector("*", ">=1")
    assert goes_back(versions, "v1.10.0", "v1.9.0")
    assert not goes_back(versions, "v1.9.0", "v1.10.0")
    assert not goes_back(versions, "v1.9.0", "v1.9.0")
    assert not goes_back(versions, "main", "v1.9.0")
    assert not goes_back(versions, "v1.9.0", "main")
    assert goes_back(TagSelector("*"), "v1.9.0", "main")


@given(st.lists(st.text(alphabet="v0123456789.-abz/", max_size=8), unique=True, max_size=6))
def test_the_choice_is_the_same_however_tags_are_listed(names: list[str]) -> None:
    """The best of all is the best of any part that it is in, and nothing of a part goes above."""
    selector = TagSelector("*")
    ranked = rank_tags(selector, names)
    assert ranked == rank_tags(selector, reversed(names))
    assert sorted(ranked) == sorted(names)
    for place, name in enumerate(ranked):
        assert all(goes_back(selector, name, lower) for lower in ranked[place + 1 :])
