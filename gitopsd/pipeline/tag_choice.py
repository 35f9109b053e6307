"""Which of a repository's tags a line follows, and whether the choice goes back.

A line that follows tags is named by a selector where another one is named by a branch: a pattern
of tags, ``refs/tags/v*``, and after a colon, which stands in no name of Git's, a range of versions:
``refs/tags/api/v*:>=1.4_<2``. A tag without such signs is followed like a branch.

Dates decide nothing, for a tagger writes what he likes: the highest version is followed, and of
names that are no versions the last one by name, numbers compared as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from gitopsd.domain.sources import RefName
from gitopsd.pipeline.image_choice import matches
from gitopsd.pipeline.versions import Version, VersionRange, parse_range, parse_version

TAGS = "refs/tags/"
ANY = "*"
_WILD = re.compile(r"[*?]")
_NUMBERS = re.compile(r"([0-9]{1,18})")

_Place: TypeAlias = tuple[bool, tuple[Version, ...], tuple[int | str, ...], str]


@dataclass(frozen=True, slots=True)
class TagSelector:
    """Which tags a line follows.

    Attributes:
        pattern: Pattern of their names: ``*`` stands for any signs, ``?`` for one.
        range: Range of versions that count; empty for all names.
    """

    pattern: str = ANY
    range: str = ""

    def __str__(self) -> str:
        """``v*``, ``v* in >=1.4 <2``."""
        return f"{self.pattern} in {self.range}" if self.range else self.pattern


def format_selector(selector: TagSelector) -> RefName:
    """Write a selector as the name of what a line follows."""
    versions = f":{'_'.join(selector.range.split())}" if selector.range else ""
    return RefName(f"{TAGS}{selector.pattern}{versions}")


@lru_cache(maxsize=1024)
def parse_selector(ref: RefName) -> TagSelector | None:
    """Read a selector back; None for a plain ref, which Git can be asked for by its name."""
    if not ref.startswith(TAGS):
        return None
    pattern, _, versions = ref.removeprefix(TAGS).partition(":")
    if not versions and not _WILD.search(pattern):
        return None
    return TagSelector(pattern, versions.replace("_", " "))


def concerns(followed: RefName, moved: RefName) -> bool:
    """Tell whether a line that follows ``followed`` has to look when the ref ``moved`` moved."""
    selector = parse_selector(followed)
    if selector is None:
        return followed == moved
    return moved.startswith(TAGS) and _place(selector, moved.removeprefix(TAGS)) is not None


def rank_tags(selector: TagSelector, names: Iterable[str]) -> tuple[str, ...]:
    """List the tags that a selector takes, the best first."""
    places = {name: place for name in names if (place := _place(selector, name)) is not None}
    return tuple(sorted(places, key=lambda name: places[name], reverse=True))


def goes_back(selector: TagSelector, before: str, now: str) -> bool:
    """Tell whether a choice is of a lower tag than the one before it.

    The tag before was deleted then. One that the selector does not take any more, because the file
    was changed, was no choice of it.
    """
    there, here = _place(selector, before), _place(selector, now)
    return there is not None and here is not None and here < there


def _place(selector: TagSelector, name: str) -> _Place | None:
    """Tell what a tag is ordered by; None when the selector does not take it.

    A version may stand after the signs that all names of the pattern begin with: ``api/v1.2.3``.
    """
    if not matches(selector.pattern, name):
        return None
    beginning = _WILD.split(selector.pattern, maxsplit=1)[0]
    version = parse_version(name.removeprefix(beginning)) or parse_version(name)
    if selector.range and (version is None or not _range_of(selector.range).holds(version)):
        return None
    versions = (version,) if version is not None else ()
    return version is not None, versions, _natural(name), name


@lru_cache(maxsize=256)
def _range_of(text: str) -> VersionRange:
    return parse_range(text)


def _natural(name: str) -> tuple[int | str, ...]:
    """Words and numbers take turns, so that words are compared with words alone."""
    parts = enumerate(_NUMBERS.split(name))
    return tuple(int(part) if place % 2 else part for place, part in parts)
