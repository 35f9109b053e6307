"""One attempt of a check: bounded, timed, with trouble told from verdicts and evidence kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeVar

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.manifests import Json
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from gitopsd.ports import CheckAttempt, CheckTarget, Clock


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look saw.

    Attributes:
        message: One clause.
        passed: Whether all is as expected; None when that could not be seen.
        answer: What a person wants to see of it, redacted.
        underway: Whether the attempt has not ended yet.
        retry_after: How long the API server asked to be left alone; None when it did not.
        locked_out: Whether it let us ask nothing.
    """

    message: str
    passed: bool | None
    answer: Mapping[str, Json] = field(default_factory=dict)
    underway: bool = False
    retry_after: timedelta | None = None
    locked_out: bool = False


def fine(message: str, answer: Mapping[str, Json] | None = None) -> Sighting:
    """Make a sighting of what is as expected."""
    return Sighting(message, passed=True, answer=answer or {})


def wrong(message: str, answer: Mapping[str, Json] | None = None) -> Sighting:
    """Make a sighting of what is not as expected."""
    return Sighting(message, passed=False, answer=answer or {})


def blind(error: TemporaryError, *, underway: bool = False) -> Sighting:
    """Make a sighting of nothing: the API server, or this side, could not say."""
    return Sighting(
        error.message,
        None,
        underway=underway,
        retry_after=error.retry_after,
        locked_out=error.reason in LOCKED_OUT,
    )


class Bounded(Protocol):
    """A check of any kind whose attempts have a bound."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def timeout(self) -> timedelta:
        """Bound of one attempt."""
        ...


Some = TypeVar("Some", bound=Bounded)
Look = Callable[[Some, CheckTarget], Awaitable[Sighting]]
"""Looks once; raises PermanentError for what is the application's doing, else TemporaryError."""


async def make_attempt(
    check: Some,
    target: CheckTarget,
    look: Look[Some],
    clock: Clock,
    *,
    bound: timedelta | None = None,
) -> CheckAttempt:
    """Make one attempt within the check's bound, or another. Never raises what a look raises."""
    begin = clock.monotonic()
    bound = bound or check.timeout
    try:
        async with asyncio.timeout(bound.total_seconds()):
            seen = await look(check, target)
    except TimeoutError:
        seen = wrong(f"no complete answer within {bound.total_seconds():g} s")
    except TemporaryError as error:
        seen = blind(error)
    except GitopsdError as error:
        passed = False if isinstance(error, PermanentError) else None
        seen = Sighting(error.message, passed)
    latency = timedelta(seconds=clock.monotonic() - begin)
    evidence: dict[str, Json] = {
        "check": check.name,
        "latencySeconds": round(latency.total_seconds(), 4),
        "passed": seen.passed,
        "message": seen.message,
    }
    if seen.answer:
        evidence["answer"] = dict(seen.answer)
    return CheckAttempt(
        passed=seen.passed,
        message=seen.message,
        evidence=evidence,
        latency=latency,
        retry_after=seen.retry_after,
        underway=seen.underway,
        locked_out=seen.locked_out,
    )
