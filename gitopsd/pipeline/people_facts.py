"""What gates that people open are decided from, and who may open them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gitopsd.domain.contributions import CommitPeople, Contributions
from gitopsd.domain.gates import GateSkip
from gitopsd.domain.people import People, normalise_signature


@dataclass(frozen=True, slots=True)
class PeopleFacts:
    """Who there is, whose commits a release brings, and what people let pass.

    Attributes:
        directory: ``people.yaml`` as it is now.
        contributions: Who had a hand in what the release brings; None while nobody looked.
        revoked_tokens: Ids of tokens that were revoked; what was said with one does not count.
        skips: Gates of the run that people let it pass.
    """

    directory: People = field(default_factory=People)
    contributions: Contributions | None = None
    revoked_tokens: frozenset[str] = frozenset()
    skips: tuple[GateSkip, ...] = ()


def names_of(
    people: People, subject: str, groups: tuple[str, ...], *, known: bool
) -> frozenset[str]:
    """List the names by which a gate may mean somebody now: ``user:SUBJECT``, ``group:NAME``.

    Args:
        people: ``people.yaml`` as it is now.
        subject: Who.
        groups: Groups at the time when it was said.
        known: Whether ``people.yaml`` knew the person then. Whoever it knew and does not know any
            more has left.
    """
    if known and not people.knows(subject):
        return frozenset()
    present = people.groups_of(subject, groups)
    return frozenset({f"user:{subject}", *(f"group:{group}" for group in present)})


def find_hand(people: People, subject: str, contributions: Contributions | None) -> str:
    """Say what somebody did for what a release brings; empty for nothing.

    E.g. ``committed 0123456789ab``: of the newest commit, and pushing before the rest, since it is
    what brings.
    """
    hands = _index_hands(contributions)
    found = [hands[name] for name in people.signs_as(subject) if name in hands]
    return min(found)[1] if found else ""


def list_makers(people: People, contributions: Contributions | None) -> tuple[str, ...]:
    """List who of ``people.yaml`` had a hand in what a release brings, by subject."""
    hands = _index_hands(contributions)
    found = {one.subject for one in people.persons if not one.signs_as.isdisjoint(hands)}
    return tuple(sorted(found))


def tell_apart(people: People, subjects: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Put subjects together that are one person: who sign alike in ``people.yaml``.

    Returns:
        For each person the subjects, in their order.
    """
    apart: list[tuple[tuple[str, ...], frozenset[str]]] = []
    for subject in sorted(set(subjects)):
        names: tuple[str, ...] = (subject,)
        signs = people.signs_as(subject)
        alike = [one for one in apart if not one[1].isdisjoint(signs)]
        for one in alike:
            apart.remove(one)
            names, signs = (*one[0], *names), one[1] | signs
        apart.append((tuple(sorted(names)), signs))
    return tuple(names for names, _ in sorted(apart, key=lambda one: one[0]))


def _index_hands(contributions: Contributions | None) -> Mapping[str, tuple[int, str]]:
    """Work out for each signature what its first hand in the commits was, and in which order."""
    found: dict[str, tuple[int, str]] = {}
    if contributions is None:
        return found
    for commit in contributions.range.commits:
        for verb, signatures in _hands_in(commit, contributions):
            for signature in signatures:
                if signature:
                    told = (len(found), f"{verb} {commit.sha[:12]}")
                    found.setdefault(normalise_signature(signature), told)
    return found


def _hands_in(
    commit: CommitPeople, contributions: Contributions
) -> Iterable[tuple[str, tuple[str, ...]]]:
    return (
        ("pushed", contributions.pushers.get(commit.sha, ())),
        ("authored", (commit.author, *commit.co_authors)),
        ("committed", (commit.committer,)),
    )
