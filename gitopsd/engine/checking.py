"""Makes checks in rounds, counts their successes in a row, and judges when time is up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.domain.config import Check, StageSpec
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import LastLook
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.step_context import StepContext
from gitopsd.ports import CheckAttempt, CheckTarget

ATTEMPTS_KEPT = 10
"""Attempts of each check whose evidence stays with the run."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """How one check stands.

    Attributes:
        streak: Successes in a row.
        attempts: Attempts made.
        seen: Whether any attempt reached the application.
        passed: Last attempt: True, False, or None when nothing could be seen.
        message: What the last attempt said.
    """

    streak: int = 0
    attempts: int = 0
    seen: bool = False
    passed: bool | None = None
    message: str = "not tried yet"


@dataclass(frozen=True, slots=True)
class Patience:
    """What an API server wants of whoever asks again.

    Attributes:
        asked: The longest time for which it asked to be left alone; None when it did not.
        locked_out: Whether it let us ask nothing.
    """

    asked: timedelta | None = None
    locked_out: bool = False


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How all checks of a stage stand.

    Attributes:
        began: When the step began, and later by as long as nothing could be seen.
        states: Check name -> state.
        blind: Since when nothing can be seen; None while something can.
        unseen: Rounds in a row in which nothing could be seen.
    """

    began: datetime
    states: Mapping[str, CheckState]
    blind: datetime | None = None
    unseen: int = 0

    @classmethod
    def parse(cls, cursor: str, checks: tuple[Check, ...], now: datetime) -> CheckProgress:
        """Read a cursor back; an unreadable or empty one starts anew."""
        fresh = {check.name: CheckState() for check in checks}
        try:
            stored = json.loads(cursor) if cursor else {}
            began = datetime.fromisoformat(stored["began"])
            states = {name: CheckState(**stored["states"].get(name, {})) for name in fresh}
            since, unseen = stored.get("blind"), int(stored.get("unseen", 0))
            blind = datetime.fromisoformat(since) if since else None
        except (ValueError, KeyError, TypeError):
            return cls(now, fresh)
        return cls(began, states, blind, unseen)

    def spell(self) -> str:
        """Write the progress as a cursor."""
        states = {
            name: {
                "streak": state.streak,
                "attempts": state.attempts,
                "seen": state.seen,
                "passed": state.passed,
                "message": state.message[:200],
            }
            for name, state in self.states.items()
        }
        blind = self.blind.isoformat() if self.blind is not None else None
        return json.dumps(
            {
                "began": self.began.isoformat(),
                "states": states,
                "blind": blind,
                "unseen": self.unseen,
            }
        )

    def all_passed(self, checks: tuple[Check, ...]) -> bool:
        """Whether every check has its successes in a row."""
        return all(self.states[check.name].streak >= check.successes for check in checks)

    def after_round(self, began_at: datetime, ended_at: datetime) -> CheckProgress:
        """Note whether a round saw anything; time without sight is not the application's."""
        if self.look() is LastLook.UNKNOWN:
            return replace(self, blind=self.blind or began_at, unseen=self.unseen + 1)
        lost = ended_at - self.blind if self.blind is not None else timedelta(0)
        return replace(self, began=self.began + lost, blind=None, unseen=0)

    def look(self) -> LastLook:
        """Say what the last attempts mean together."""
        if any(state.passed is False for state in self.states.values()):
            return LastLook.NOT_HEALTHY
        if any(state.passed is None for state in self.states.values()):
            return LastLook.UNKNOWN
        return LastLook.HEALTHY

    def summary(self) -> str:
        """Say which checks are still waited for."""
        waiting = [
            f"{name}: {state.message}" for name, state in self.states.items() if not state.passed
        ]
        return "; ".join(waiting)[:300]

    def after(self, check: Check, attempt: CheckAttempt) -> CheckProgress:
        """Count one attempt."""
        state = self.states[check.name]
        streak = state.streak + 1 if attempt.passed else 0
        if attempt.passed is None:
            streak = state.streak
        updated = CheckState(
            streak=streak,
            attempts=state.attempts + 1,
            seen=state.seen or attempt.passed is not None,
            passed=attempt.passed,
            message=attempt.message,
        )
        return replace(self, states={**self.states, check.name: updated})


def name_check(check: Check, namespace: str) -> str:
    """Say a check with the object that it asks: ``Service shop/api: check api /health``.

    Args:
        check: The check.
        namespace: The stage's, where services are that name none.
    """
    place = f"Service {check.namespace or namespace}/{check.service}: " if check.service else ""
    return f"{place}check {check.name}"


def judge_checks(progress: CheckProgress, spec: StageSpec, now: datetime) -> str | None:
    """Find a check whose time is over and whose last attempt that saw anything failed.

    One that could never see the application is no verdict: the step's own deadline ends it as
    Errored.
    """
    for check in spec.verify:
        state = progress.states[check.name]
        over = now - progress.began >= check.within and state.attempts > 0
        if over and state.streak < check.successes and state.passed is False:
            tries = f"{state.attempts} attempt{'s' if state.attempts != 1 else ''}"
            return f"{name_check(check, spec.namespace)} failed after {tries}: {state.message}"
    return None


async def run_round(
    context: StepContext, progress: CheckProgress
) -> tuple[CheckProgress, Patience]:
    """Make one attempt of every check that still needs successes, all at once.

    Returns:
        How the checks stand now, and how long the API server wants to be left alone.
    """
    began_at = context.services.clock.now()
    pending = [
        check
        for check in context.spec.verify
        if progress.states[check.name].streak < check.successes
    ]
    attempts = await attempt_checks(context, tuple(pending))
    for check, attempt in zip(pending, attempts, strict=True):
        progress = progress.after(check, attempt)
        await _keep(context, check, attempt, progress.states[check.name].attempts)
    asked = find_patience(attempts)
    return progress.after_round(began_at, context.services.clock.now()), asked


def find_patience(attempts: Iterable[CheckAttempt]) -> Patience:
    """Find out how long an API server wants to be left alone."""
    seen = tuple(attempts)
    asked = [one.retry_after for one in seen if one.retry_after is not None]
    return Patience(max(asked, default=None), locked_out=any(one.locked_out for one in seen))


async def attempt_checks(
    context: StepContext, checks: tuple[Check, ...]
) -> tuple[CheckAttempt, ...]:
    """Make one attempt of each check, all at once."""
    target = CheckTarget(context.spec.cluster, context.spec.namespace, context.spec.service_account)
    verifier = context.services.verifier
    return tuple(await asyncio.gather(*(verifier.run_check(check, target) for check in checks)))


async def _keep(context: StepContext, check: Check, attempt: CheckAttempt, number: int) -> None:
    content: dict[str, Json] = {
        "check": check.name,
        "attempt": number,
        "passed": attempt.passed,
        "message": attempt.message,
        "seconds": round(attempt.latency / timedelta(seconds=1), 3),
        "evidence": attempt.evidence,
    }
    slot = number % ATTEMPTS_KEPT
    await context.keep(EvidenceKind.CHECK, content, key=f"{check.name}#{slot}")
