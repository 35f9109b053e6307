"""Which images a release gets: by policy, past what is quarantined, a group only as one build.

A policy ranks what the registry holds; a release takes the best of each image. An image that a
quarantine of the line's stages names is passed over. Images of one group are taken together, from
the newest build that all of them have: one tag for policies that choose among tags, else one
revision label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from gitopsd.domain.images import (
    DigestPolicy,
    ImageCandidate,
    ImagePolicy,
    ImageSource,
    NewestPolicy,
    SemverPolicy,
)
from gitopsd.domain.manifests import Digest
from gitopsd.pipeline.versions import VersionRange, parse_range, parse_version

_Place: TypeAlias = tuple[Any, ...]
"""What candidates of one policy are ordered by."""

KEPT = 10
"""Candidates kept for each policy: behind the best stand those for a quarantine or a group."""

AHEAD = timedelta(days=1)
"""How far in the future a time of creation may lie: clocks and time zones differ, no more."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_SIGNATURE = re.compile(r"sha256-[0-9a-f]{64}(?:\..*)?")
_NUMBERS = re.compile(r"([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """What a release of a line takes.

    Attributes:
        picks: Image name -> what is taken.
        missing: Why no release can be made yet, a sentence for each image or group.
        waiting: Newer builds that are not taken yet, and what they wait for.
        skipped: Better images that are passed over because they are quarantined.
        vanished: Images of which the registry no longer has what the line's newest release has,
            with those of their groups.
    """

    picks: Mapping[str, ImageCandidate] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    vanished: frozenset[str] = frozenset()

    @property
    def digests(self) -> dict[str, Digest]:
        """Image name -> digest."""
        return {name: pick.digest for name, pick in self.picks.items()}


def may_want(policy: ImagePolicy, tag: str) -> bool:
    """Tell whether a policy could choose a tag."""
    if isinstance(policy, SemverPolicy):
        version = parse_version(tag)
        return version is not None and _range_of(policy).holds(version)
    if isinstance(policy, NewestPolicy):
        return matches(policy.tags, tag) and not _SIGNATURE.fullmatch(tag)
    return policy.tag == tag


def select_tags(policy: ImagePolicy, tags: Iterable[str]) -> tuple[str, ...]:
    """Select the tags whose images a policy has to know, best first as far as names tell.

    Args:
        policy: The policy.
        tags: Every tag that the registry lists; not read by a policy that names its tag.
    """
    if isinstance(policy, DigestPolicy):
        return (policy.tag,)
    wanted = sorted({tag for tag in tags if may_want(policy, tag)}, key=_natural, reverse=True)
    if isinstance(policy, NewestPolicy):
        return tuple(wanted)
    read = ((tag, parse_version(tag)) for tag in wanted)
    versions = {tag: version for tag, version in read if version is not None}
    return tuple(sorted(versions, key=versions.__getitem__, reverse=True)[:KEPT])


def rank(
    policy: ImagePolicy,
    found: Iterable[ImageCandidate],
    before: Sequence[ImageCandidate] = (),
) -> tuple[ImageCandidate, ...]:
    """Rank what was found, best first.

    Args:
        policy: The policy.
        found: What the registry holds now.
        before: What was ranked before. A tag that is followed by digest remembers what it pointed
            to, so that there is something to fall back to. Otherwise, what is no longer there is
            remembered as gone until something new comes: a tag that was deleted, and a list that
            lacks some for a moment, are no reason to go back.
    """
    now = list(found)
    if isinstance(policy, DigestPolicy):
        known = {one.digest for one in now}
        now += [one for one in before if one.digest not in known] if now else before
        return tuple(now[:KEPT])
    place = _by_version if isinstance(policy, SemverPolicy) else _by_creation
    now.sort(key=place, reverse=True)
    if now and _is_news(now[0], before, place):
        return tuple(now[:KEPT])
    there = {one.tag for one in now}
    lost = (one for one in before if one.tag not in there and may_want(policy, one.tag))
    now += [replace(one, gone=True) for one in lost]
    now.sort(key=place, reverse=True)
    return tuple(now[:KEPT])


def _is_news(
    best: ImageCandidate,
    before: Sequence[ImageCandidate],
    place: Callable[[ImageCandidate], _Place],
) -> bool:
    """Tell whether the best of what is there now was pushed since, and not only moved up."""
    if any(one.digest == best.digest for one in before):
        return False
    return len(before) < KEPT or place(best) >= place(before[-1])


def find_credible(created: datetime | None, now: datetime) -> datetime | None:
    """Tell when an image was built; None for a time that has not come yet.

    One image from the future would otherwise be the newest for as long as it lies there.
    """
    return created if created is not None and created <= now + AHEAD else None


def choose(
    sources: Sequence[ImageSource],
    candidates: Mapping[str, Sequence[ImageCandidate]],
    held: frozenset[Digest] = frozenset(),
    previous: Mapping[str, ImageCandidate] | None = None,
) -> ImageChoice:
    """Choose the images of a line's next release.

    Args:
        sources: The application's image sources.
        candidates: Image name -> what its policy could choose, best first.
        held: Image digests that are quarantined in a stage of the line.
        previous: Image name -> what the line's newest release has; kept while nothing is found.
    """
    choice = _Choosing(candidates, held, previous or {})
    groups: dict[str, list[ImageSource]] = {}
    for source in sources:
        if source.group:
            groups.setdefault(source.group, []).append(source)
        else:
            choice.choose_one(source)
    for name, members in groups.items():
        choice.choose_group(name, members)
    return ImageChoice(
        picks={one.name: choice.picks[one.name] for one in sources if one.name in choice.picks},
        missing=tuple(choice.missing),
        waiting=tuple(choice.waiting),
        skipped=tuple(choice.skipped),
        vanished=frozenset(choice.vanished),
    )


class _Choosing:
    """One choice in the making."""

    def __init__(
        self,
        candidates: Mapping[str, Sequence[ImageCandidate]],
        held: frozenset[Digest],
        previous: Mapping[str, ImageCandidate],
    ) -> None:
        self._candidates = {
            name: [one for one in found if not one.gone] for name, found in candidates.items()
        }
        self._gone = {one.digest for found in candidates.values() for one in found if one.gone}
        self._held = held
        self._previous = previous
        self.picks: dict[str, ImageCandidate] = {}
        self.missing: list[str] = []
        self.waiting: list[str] = []
        self.skipped: list[str] = []
        self.vanished: set[str] = set()

    def choose_one(self, source: ImageSource) -> None:
        """Take the best that is not quarantined; the best at all when everything is."""
        found = self._candidates.get(source.name, ())
        free = [one for one in found if one.digest not in self._held]
        if free:
            self.picks[source.name] = free[0]
            passed = found[: found.index(free[0])]
            self.skipped += [_name_image(source.name, one) for one in passed]
        elif found:
            self.picks[source.name] = found[0]
        elif source.name in self._previous:
            self.picks[source.name] = self._previous[source.name]
        else:
            self.missing.append(f"nothing of {source.name} fits `{source.policy}` yet")
        self._note_vanished([source])

    def choose_group(self, name: str, members: Sequence[ImageSource]) -> None:
        """Take the newest build that every member has, a free one before a quarantined one."""
        builds = self._find_builds(members)
        free = [build for build in builds if not self._is_held(build)]
        taken = (free or builds or [{}])[0]
        if taken:
            passed = builds[: builds.index(taken)]
            self.skipped += [
                _name_image(image, one)
                for build in passed
                for image, one in build.items()
                if one.digest in self._held
            ]
            self.waiting += self._list_waiting(members, taken)
        elif all(member.name in self._previous for member in members):
            taken = {member.name: self._previous[member.name] for member in members}
            self.waiting.append(self._say_disagreement(name, members))
        else:
            self.missing.append(self._say_disagreement(name, members))
        self.picks.update(taken)
        self._note_vanished(members)

    def _note_vanished(self, members: Sequence[ImageSource]) -> None:
        """Note images that move together when one of them is gone as the line has it."""
        names = {member.name for member in members}
        known = (self._previous[name] for name in names if name in self._previous)
        if any(one.digest in self._gone for one in known):
            self.vanished |= names

    def _find_builds(self, members: Sequence[ImageSource]) -> list[dict[str, ImageCandidate]]:
        """List the builds that every member has, newest first as the first member ranks them."""
        by_tag = not any(isinstance(member.policy, DigestPolicy) for member in members)
        builds = []
        for one in self._candidates.get(members[0].name, ()):
            build = self._find_build(members, "tag", one.tag) if by_tag else None
            build = build or self._find_build(members, "revision", one.revision)
            if build is not None and build not in builds:
                builds.append(build)
        return builds

    def _find_build(
        self, members: Sequence[ImageSource], mark: str, value: str
    ) -> dict[str, ImageCandidate] | None:
        """Find the image of each member that carries a mark; None when one has none."""
        build: dict[str, ImageCandidate] = {}
        for member in members:
            known = self._candidates.get(member.name, ())
            same = next((one for one in known if value and getattr(one, mark) == value), None)
            if same is None:
                return None
            build[member.name] = same
        return build

    def _is_held(self, build: Mapping[str, ImageCandidate]) -> bool:
        return any(one.digest in self._held for one in build.values())

    def _list_waiting(
        self, members: Sequence[ImageSource], taken: Mapping[str, ImageCandidate]
    ) -> list[str]:
        """Say which newer images wait because another member of the group has none of their build.

        Args:
            members: The group.
            taken: What it takes.
        """
        newer = {
            member.name: found[0]
            for member in members
            if (found := self._candidates[member.name])[0] != taken[member.name]
            and found[0].digest not in self._held
        }
        behind = [member.name for member in members if member.name not in newer]
        others = ", ".join(behind) or "the others of its group"
        return [f"{_name_image(name, one)} waits for {others}" for name, one in newer.items()]

    def _say_disagreement(self, name: str, members: Sequence[ImageSource]) -> str:
        newest = []
        for member in members:
            found = self._candidates.get(member.name, ())
            newest.append(
                f"{_name_image(member.name, found[0])} ({_name_build(found[0])})"
                if found
                else f"nothing of {member.name} fits `{member.policy}`"
            )
        return f"group {name} has no build in common yet: {'; '.join(newest)}"


def _name_image(name: str, one: ImageCandidate) -> str:
    return f"{name}:{one.tag}" if one.tag else f"{name}@{one.digest}"


def _by_version(one: ImageCandidate) -> _Place:
    version = parse_version(one.tag)
    return (version is not None, version, _natural(one.tag))


def _by_creation(one: ImageCandidate) -> _Place:
    return (one.created or _NEVER, _natural(one.tag))


def _name_build(one: ImageCandidate) -> str:
    return f"revision {one.revision[:12]}" if one.revision else "no revision label"


def matches(pattern: str, tag: str) -> bool:
    """Tell whether a tag matches a pattern of signs, ``*`` and ``?``.

    Takes time in proportion to the product of both lengths at most, whatever the pattern is.
    """
    place = star = after_star = for_sign = 0
    while for_sign < len(tag):
        if place < len(pattern) and pattern[place] == "*":
            after_star, star = place + 1, for_sign
            place = after_star
        elif place < len(pattern) and pattern[place] in ("?", tag[for_sign]):
            place += 1
            for_sign += 1
        elif after_star:
            star += 1
            place, for_sign = after_star, star
        else:
            return False
    return not pattern[place:].strip("*")


@lru_cache(maxsize=256)
def _range_of(policy: SemverPolicy) -> VersionRange:
    return parse_range(policy.range)


def _natural(tag: str) -> tuple[int | str, ...]:
    """Order tags as people read them: ``main-9`` before ``main-10``.

    Words and numbers take turns, so that words are compared with words alone.
    """
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_NUMBERS.split(tag)))
