"""How long a stage was seen healthy with what it runs: only time between two good looks counts.

Theory: a look is a moment. What happened between two of them is known only when both saw the same
thing and stood close to each other; so a gap counts when it lies between two healthy looks and is
short. A look that saw nothing, or something not ready, counts nothing and spoils nothing. A
definite failure begins the count anew. Each verification has a count of its own: what the stage
ran before keeps what it reached, and when it comes back it begins at zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.stages import Observation, Soak
from gitopsd.domain.verifications import Verification, VerificationId

LOOKS_APART = 4
"""So many intervals may lie between two looks for the time between them to count."""

KEPT = 5
"""Verifications of a stage whose counts are kept."""


def begin_soak(
    soaks: tuple[Soak, ...], verification: Verification, healthy_at: datetime | None
) -> tuple[Soak, ...]:
    """Begin the count of what was just verified.

    Args:
        soaks: The stage's counts, newest first.
        verification: What the stage runs from now on.
        healthy_at: When it was last seen healthy; None when nobody looked.
    """
    begun = Soak(
        verification.id, verification.release, verification.rendered, healthy_at=healthy_at
    )
    earlier = (one for one in soaks if one.verification != verification.id)
    return (begun, *earlier)[:KEPT]


def count_look(
    soaks: tuple[Soak, ...],
    verified: VerificationId | None,
    seen: Observation,
    longest_gap: timedelta,
) -> tuple[Soak, ...]:
    """Count one look at a stage's live objects.

    Args:
        soaks: The stage's counts, newest first.
        verified: What the stage ran verified when the look began, and still runs; None for nothing.
        seen: What the look saw.
        longest_gap: The longest time between two healthy looks that counts.
    """
    return tuple(
        _count(one, seen, longest_gap) if one.verification == verified else one for one in soaks
    )


def fail_soak(
    soaks: tuple[Soak, ...], verified: VerificationId | None, why: str
) -> tuple[Soak, ...]:
    """Begin a count anew because what it counts failed definitely."""
    return tuple(_failed(one, why) if one.verification == verified else one for one in soaks)


def find_soak(soaks: tuple[Soak, ...], release: ReleaseId) -> Soak | None:
    """Find the newest count of a release."""
    return next((one for one in soaks if one.release == release), None)


def find_soak_of_images(
    soaks: tuple[Soak, ...],
    images_of: Mapping[Digest, Collection[Digest]],
    wanted: Collection[Digest],
) -> Soak | None:
    """Find the newest count of a set that holds every wanted image."""
    return next((one for one in soaks if set(wanted) <= set(images_of.get(one.rendered, ()))), None)


def _count(soak: Soak, seen: Observation, longest_gap: timedelta) -> Soak:
    if soak.healthy_at is not None and seen.at <= soak.healthy_at:
        return soak  # a look that a later one overtook
    if seen.health is Health.DEGRADED or seen.synced is False:
        return _failed(soak, seen.message)
    if seen.health is not Health.HEALTHY:
        return replace(soak, healthy_at=None)
    gap = seen.at - soak.healthy_at if soak.healthy_at is not None else None
    if gap is None or gap > longest_gap:
        return replace(soak, healthy_at=seen.at)
    return replace(soak, accumulated=soak.accumulated + gap, healthy_at=seen.at)


def _failed(soak: Soak, why: str) -> Soak:
    return replace(
        soak, accumulated=timedelta(0), healthy_at=None, failed=why or "it was not healthy"
    )
