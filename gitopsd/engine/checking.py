"""Counts the successes of checks in a row, and judges when time is up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.domain.checks import Check, find_object
from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import LastLook
from gitopsd.ports import CheckAttempt


@dataclass(frozen=True, slots=True)
class CheckState:
    """How one check stands.

    Attributes:
        streak: Successes in a row.
        attempts: Attempts made.
        seen: Whether any attempt reached the application.
        passed: Last attempt: True, False, or None when nothing could be seen.
        message: What the last attempt said.
        first: Which attempt failed first; 0 while none has.
        first_message: What it said.
        underway: Whether an attempt was seen to have begun and has not ended, as a Job's.
        spent: Whether nothing could be told of it, and nothing more will be.
    """

    streak: int = 0
    attempts: int = 0
    seen: bool = False
    passed: bool | None = None
    message: str = "not tried yet"
    first: int = 0
    first_message: str = ""
    underway: bool = False
    spent: bool = False

    def after(self, attempt: CheckAttempt) -> CheckState:
        """Count one attempt; one that is under way is not counted before it ends."""
        if attempt.underway:
            seen = self.underway or attempt.passed is False
            return replace(self, message=attempt.message, passed=attempt.passed, underway=seen)
        number = self.attempts + 1
        failed_first = attempt.passed is False and not self.first
        streak = self.streak if attempt.passed is None else 0
        return CheckState(
            streak=self.streak + 1 if attempt.passed else streak,
            attempts=number,
            seen=self.seen or attempt.passed is not None,
            passed=attempt.passed,
            message=attempt.message,
            first=number if failed_first else self.first,
            first_message=attempt.message if failed_first else self.first_message,
            spent=attempt.spent,
        )

    def spell(self) -> dict[str, Json]:
        """Write it down."""
        return {
            "streak": self.streak,
            "attempts": self.attempts,
            "seen": self.seen,
            "passed": self.passed,
            "message": self.message[:200],
            "first": self.first,
            "first_message": self.first_message[:200],
            "underway": self.underway,
            "spent": self.spent,
        }


@dataclass(frozen=True, slots=True)
class Patience:
    """What an API server wants of whoever asks again.

    Attributes:
        asked: The longest time for which it asked to be left alone; None when it did not.
        locked_out: Whether it let us ask nothing.
    """

    asked: timedelta | None = None
    locked_out: bool = False


def find_patience(attempts: Iterable[CheckAttempt]) -> Patience:
    """Find out how long an API server wants to be left alone."""
    seen = tuple(attempts)
    asked = [one.retry_after for one in seen if one.retry_after is not None]
    return Patience(max(asked, default=None), locked_out=any(one.locked_out for one in seen))


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How all checks of a stage stand.

    Attributes:
        began: When the step began, and later by as long as nothing could be seen.
        states: Check name -> state.
        blind: Since when nothing can be seen; None while something can.
        unseen: Rounds in a row in which nothing could be seen.
        started: When the step began, whatever could be seen since.
    """

    began: datetime
    states: Mapping[str, CheckState]
    blind: datetime | None = None
    unseen: int = 0
    started: datetime | None = None

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
            started = datetime.fromisoformat(stored.get("started") or stored["began"])
        except (ValueError, KeyError, TypeError):
            return cls(now, fresh, started=now)
        return cls(began, states, blind, unseen, started)

    def spell(self) -> str:
        """Write the progress as a cursor."""
        states = {name: state.spell() for name, state in self.states.items()}
        blind = self.blind.isoformat() if self.blind is not None else None
        return json.dumps(
            {
                "began": self.began.isoformat(),
                "states": states,
                "blind": blind,
                "unseen": self.unseen,
                "started": (self.started or self.began).isoformat(),
            }
        )

    def all_passed(self, checks: tuple[Check, ...]) -> bool:
        """Whether every check has its successes in a row."""
        return all(self.states[check.name].streak >= check.successes for check in checks)

    def pending(self, checks: tuple[Check, ...]) -> list[tuple[Check, CheckState]]:
        """Select the checks that still need successes, each with how it stands."""
        found = [(check, self.states[check.name]) for check in checks]
        return [
            (check, state)
            for check, state in found
            if state.streak < check.successes and not state.spent
        ]

    def find_spent(self, checks: tuple[Check, ...]) -> Check | None:
        """Find a check that nothing can be told of any more, once no other is waited for."""
        spent = [check for check in checks if self.states[check.name].spent]
        return spent[0] if spent and not self.pending(checks) else None

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
        return replace(
            self, states={**self.states, check.name: self.states[check.name].after(attempt)}
        )


def name_check(check: Check, namespace: str) -> str:
    """Say a check with the object that it asks: ``Service shop/api: check api /health``.

    Args:
        check: The check.
        namespace: The stage's, where services are that name none.
    """
    asked = find_object(check, namespace)
    return f"{asked}: check {check.name}" if asked else f"check {check.name}"


def judge_checks(progress: CheckProgress, spec: StageSpec, now: datetime) -> str | None:
    """Find a check whose time is over and whose last attempt that saw anything failed.

    One that could never see the application is no verdict: the step's own deadline ends it as
    Errored.
    """
    for check in spec.verify:
        state = progress.states[check.name]
        over = now - progress.began >= check.within and state.attempts > 0
        if state.underway or not over:
            continue
        if state.streak < check.successes and state.passed is False:
            tries = f"{state.attempts} attempt{'s' if state.attempts != 1 else ''}"
            named = name_check(check, spec.namespace)
            return f"{named} failed after {tries}: {state.message}{_say_first(state)}"
    return None


def _say_first(state: CheckState) -> str:
    """Say how the first failure differed from the last one; empty when it did not."""
    if not state.first or state.first_message == state.message:
        return ""
    return f" (the first failure, attempt {state.first}, was: {state.first_message})"
