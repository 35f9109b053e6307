"""Versions and ranges of versions, by Semantic Versioning 2.0.0.

A tag is a version only when it has all three numbers; a leading ``v`` is allowed. ``1.4`` and
``latest`` are names that move over versions, and are none themselves.

Ranges: comparators ``= != > >= < <= ~ ^``, joined by spaces or commas (all must hold) and by
``||`` (one must); versions in them may be partial (``1.4``, ``1.x``, ``*``). A pre-release counts
only in a part of a range that names one (``>=1.4.0-0 <2``), as in npm and Masterminds/semver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_PRE = rf"(?:-(?P<pre>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
_VERSION = re.compile(rf"v?(?P<a>{_NUMBER})\.(?P<b>{_NUMBER})\.(?P<c>{_NUMBER}){_PRE}")
_ANY = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = re.compile(rf"v?(?P<a>{_ANY})(?:\.(?P<b>{_ANY})(?:\.(?P<c>{_ANY}){_PRE})?)?")
_COMPARATOR = re.compile(r"(?P<op>!=|>=|<=|==|~>|=|>|<|~|\^)?\s*(?P<version>[^\s,<>=!~^|]+)")
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
_JOINING = " \t,"
_LONGEST = 200

_Pre: TypeAlias = tuple[tuple[int | str, ...], ...]
"""A pre-release, identifier by identifier: numbers come before words."""

Precedence: TypeAlias = tuple[int, int, int, _Pre]

_NUMBER_PART, _WORD_PART = 0, 1

_RELEASE: _Pre = ((2,),)
"""Sorts after every pre-release of the same three numbers."""

_BEFORE_ALL: _Pre = ((-1,),)
"""Sorts before every pre-release of the same three numbers, and before what is longer by more."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version; ordered by precedence (Semantic Versioning, section 11).

    Attributes:
        precedence: What it is ordered by.
    """

    precedence: Precedence

    @property
    def is_prerelease(self) -> bool:
        """Whether it comes before the release of the same three numbers."""
        return self.precedence[3] != _RELEASE


@dataclass(frozen=True, slots=True)
class _Interval:
    """Versions from ``low`` to before ``high``; None for no bound."""

    low: Version | None = None
    high: Version | None = None
    outside: bool = False

    def holds(self, version: Version) -> bool:
        inside = (self.low is None or self.low <= version) and (
            self.high is None or version < self.high
        )
        return inside is not self.outside


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range of versions, as `parse_range` read it.

    Attributes:
        parts: One of these must hold; each is intervals that hold together, and whether
            pre-releases count in it.
    """

    parts: tuple[tuple[tuple[_Interval, ...], bool], ...]

    def holds(self, version: Version) -> bool:
        """Tell whether a version is in the range."""
        return any(
            (prereleases or not version.is_prerelease)
            and all(interval.holds(version) for interval in intervals)
            for intervals, prereleases in self.parts
        )


def parse_version(text: str) -> Version | None:
    """Read a version; None when the text is none."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    numbers = (int(found["a"]), int(found["b"]), int(found["c"]))
    return _version(numbers, _parse_prerelease(found["pre"]))


def parse_range(text: str) -> VersionRange:
    """Read a range.

    Raises:
        ValueError: It is none; the message says what is wrong with which part.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"the range is longer than {_LONGEST} characters")
    return VersionRange(tuple(_parse_part(part.strip()) for part in text.split("||")))


def _parse_part(text: str) -> tuple[tuple[_Interval, ...], bool]:
    text = _HYPHEN.sub(r">=\1 <=\2", text)
    intervals: list[_Interval] = []
    prereleases = False
    place = 0
    while place < len(text):
        found = _COMPARATOR.match(text, place)
        if found is None:
            raise ValueError(f"{text[place:]!r} is no comparator such as >=1.4")
        version = _PARTIAL.fullmatch(found["version"])
        if version is None:
            raise ValueError(f"{found['version']!r} is no version")
        prereleases = prereleases or version["pre"] is not None
        intervals.append(_interval(found["op"], version))
        place = found.end()
        place += len(text[place:]) - len(text[place:].lstrip(_JOINING))
    if not intervals:
        raise ValueError("it names no version; write * for all")
    return tuple(intervals), prereleases


def _interval(operator: str | None, partial: re.Match[str]) -> _Interval:
    read = _read_numbers(partial)
    known = len(read)
    exact = partial["pre"] is not None
    if exact and known < 3:  # noqa: PLR2004 - of three numbers
        raise ValueError(f"{partial[0]!r} is a pre-release of no full version")
    if not read:
        return _Interval(outside=operator in ("!=", ">", "<"))
    first, second, third = (*read, 0, 0)[:3]
    numbers = (first, second, third)
    low = _version(numbers, _parse_prerelease(partial["pre"]))
    after = _after(numbers, known, low, exact=exact)
    match operator:
        case ">=":
            return _Interval(low=low)
        case ">":
            return _Interval(low=after)
        case "<":
            return _Interval(high=low if exact else _floor(numbers))
        case "<=":
            return _Interval(high=after)
        case "!=":
            return _Interval(low=low, high=after, outside=True)
        case "~" | "~>":
            return _Interval(low=low, high=_floor(_next(numbers, min(known, 2))))
        case "^":
            return _Interval(low=low, high=_floor(_next(numbers, _leading(numbers, known))))
        case _:
            return _Interval(low=low, high=after)


def _read_numbers(partial: re.Match[str]) -> list[int]:
    """Read those of the three numbers that are known: up to the first that is left out or wild."""
    read: list[int] = []
    for name in ("a", "b", "c"):
        text = partial[name]
        if text is None or not text.isdecimal():
            break
        read.append(int(text))
    return read


def _after(numbers: tuple[int, int, int], known: int, low: Version, *, exact: bool) -> Version:
    """Find the first version after all that a partial one stands for."""
    if exact:
        first, second, third, pre = low.precedence
        return Version((first, second, third, (*pre, *_BEFORE_ALL)))
    return _floor(_next(numbers, known))


def _next(numbers: tuple[int, int, int], known: int) -> tuple[int, int, int]:
    """Raise the last of the first ``known`` numbers by one."""
    first, second, third = numbers
    if known == 1:
        return first + 1, 0, 0
    return (first, second + 1, 0) if known == 2 else (first, second, third + 1)  # noqa: PLR2004 - of three numbers


def _leading(numbers: tuple[int, int, int], known: int) -> int:
    """Find the number that ``^`` keeps: the first that is not zero, or the last that is known."""
    for place, number in enumerate(numbers[:known], start=1):
        if number:
            return place
    return known


def _floor(numbers: tuple[int, int, int]) -> Version:
    """Bound from above: no pre-release of the bound itself is below it."""
    return _version(numbers, _BEFORE_ALL)


def _version(numbers: tuple[int, int, int], pre: _Pre) -> Version:
    return Version((*numbers, pre))


def _parse_prerelease(text: str | None) -> _Pre:
    if text is None:
        return _RELEASE
    return tuple(
        (_NUMBER_PART, int(one)) if one.isdecimal() else (_WORD_PART, one)
        for one in text.split(".")
    )
