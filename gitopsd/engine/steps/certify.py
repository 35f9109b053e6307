"""Certify: health and checks hold for a while, and nothing restarts, to the last second."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.checks import JobCheck
from gitopsd.domain.runs import LastLook, RunKind
from gitopsd.engine.attempting import Planned, attempt_checks
from gitopsd.engine.checking import Patience, find_patience, name_check
from gitopsd.engine.looking import Sight, keep_evidence, look_at
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.steps import CERTIFY_REPEATS, compute_backoff

LOOK_EVERY = timedelta(seconds=1)
CHECK_EVERY = timedelta(seconds=5)
"""Time between two repeats, at most: one is made at half time in any case."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """How long it has held.

    Attributes:
        began: When Certify began.
        restarts: Restarts seen when it began, by pod uid and container.
        checked: When the checks were last repeated.
        unseen: Looks in a row that saw nothing.
        repeats: How often all checks but Jobs were repeated and passed.
        jobs: How often all Jobs were repeated and passed.
        underway: Whether Jobs have begun that did not end.
    """

    began: datetime
    restarts: dict[str, int] | None
    checked: datetime
    unseen: int = 0
    repeats: int = 0
    jobs: int = 0
    underway: bool = False

    @classmethod
    def parse(cls, cursor: str, now: datetime) -> _Watch:
        try:
            stored = json.loads(cursor) if cursor else {}
            return cls(
                began=datetime.fromisoformat(stored["began"]),
                restarts=stored["restarts"],
                checked=datetime.fromisoformat(stored["checked"]),
                unseen=int(stored.get("unseen", 0)),
                repeats=int(stored.get("repeats", 0)),
                jobs=int(stored.get("jobs", 0)),
                underway=bool(stored.get("underway")),
            )
        except (ValueError, KeyError, TypeError):
            return cls(now, None, now)

    def spell(self) -> str:
        return json.dumps(
            {
                "began": self.began.isoformat(),
                "checked": self.checked.isoformat(),
                "restarts": self.restarts,
                "unseen": self.unseen,
                "repeats": self.repeats,
                "jobs": self.jobs,
                "underway": self.underway,
            }
        )


async def run_certify(context: StepContext) -> Outcome:
    """Watch until the configured time has passed without a restart or a failed repeat.

    Every check is repeated at least twice, once before the last time; the last look and the last
    repeat are made after the time is over, so that a failure in its last second counts too. Jobs
    are repeated just twice.

    Safe to repeat: it only looks, but for Jobs, which are found again by their attempt's name; the
    begin is kept in the cursor.

    Raises:
        LostError: A Job's template cannot be read any more.
        TemporaryError: A Job is to begin, and nothing may be written now.
        LeaseLostError: The right to write ended before a Job began.
    """
    if _time_of(context) <= timedelta(0):
        return Done()
    clock, pace = context.services.clock, context.services.pace
    watch = _Watch.parse(context.run.cursor, clock.now())
    while True:
        over = clock.now() - watch.began >= _time_of(context)
        try:
            sight = await look_at(context)
        except TemporaryError as error:
            patience = Patience(error.retry_after, locked_out=error.reason in LOCKED_OUT)
            return _wait_unseen(watch, error.message, patience)
        if watch.restarts is None:
            watch = replace(watch, restarts=dict(sight.restarts))
        failed = await _judge_look(context, watch, sight)
        if failed is not None:
            return failed
        repeated = await _repeat_checks(context, watch, over=over)
        if not isinstance(repeated, _Watch):
            return repeated
        watch = replace(repeated, unseen=0)
        if over and sight.healthy and _is_repeated(context, watch):
            return Done()
        if clock.now() - context.began_at >= pace.slice:
            look = LastLook.HEALTHY if sight.healthy else LastLook.NOT_HEALTHY
            return Waiting(LOOK_EVERY, look, watch.spell(), sight.message)
        await clock.sleep(_pause(watch, context, clock.now()))


def _time_of(context: StepContext) -> timedelta:
    return context.spec.certify_of(rollback=context.run.kind is RunKind.ROLLBACK)


def _interval_of(context: StepContext) -> timedelta:
    return min(CHECK_EVERY, _time_of(context) / CERTIFY_REPEATS)


def _pause(watch: _Watch, context: StepContext, now: datetime) -> timedelta:
    marks = (watch.began + _time_of(context), watch.checked + _interval_of(context))
    return min([LOOK_EVERY, *(mark - now for mark in marks if mark > now)])


def _is_repeated(context: StepContext, watch: _Watch) -> bool:
    jobs = [isinstance(check, JobCheck) for check in context.spec.verify]
    wanted = CERTIFY_REPEATS
    return (all(jobs) or watch.repeats >= wanted) and (not any(jobs) or watch.jobs >= wanted)


async def _judge_look(context: StepContext, watch: _Watch, sight: Sight) -> Outcome | None:
    if sight.failed:
        return Verdict(sight.reason, await keep_evidence(context, sight))
    known = watch.restarts or {}
    for name, count in sight.restarts.items():
        if count > known.get(name, 0):
            await keep_evidence(context, sight)
            message = f"{name} restarted within {_time_of(context)} of being healthy"
            return Verdict("RestartedInCertify", message)
    return None


async def _repeat_checks(context: StepContext, watch: _Watch, *, over: bool) -> _Watch | Outcome:
    """Repeat what is due; one failed repeat is a verdict, one that saw nothing is not."""
    now, half = context.services.clock.now(), _time_of(context) / CERTIFY_REPEATS
    quick = (over and not watch.underway) or now - watch.checked >= _interval_of(context)
    due = watch.jobs < (CERTIFY_REPEATS if over else int(now - watch.began >= half))
    planned = [
        Planned(check, watch.jobs + 1, watch.underway)
        if isinstance(check, JobCheck)
        else Planned(check, watch.repeats + 1)
        for check in context.spec.verify
        if (due or watch.underway if isinstance(check, JobCheck) else quick)
    ]
    if not planned:
        return watch
    attempts = await attempt_checks(context, planned)
    for one, attempt in zip(planned, attempts, strict=True):
        if attempt.passed is False and not attempt.underway:
            name = name_check(one.check, context.spec.namespace)
            message = f"{name} failed when repeated: {attempt.message}"
            return Verdict("VerificationFailed", message)
    underway = any(attempt.underway for attempt in attempts)
    begun = any(attempt.underway and attempt.passed is False for attempt in attempts)
    watch = replace(watch, underway=underway and (watch.underway or begun))
    unseen = [attempt for attempt in attempts if attempt.passed is None]
    if unseen:
        return _wait_unseen(watch, unseen[0].message, find_patience(unseen))
    jobs = any(isinstance(one.check, JobCheck) for one in planned)
    return replace(
        watch,
        checked=context.services.clock.now() if quick else watch.checked,
        repeats=watch.repeats + int(quick),
        jobs=watch.jobs + int(jobs and not underway),
    )


def _wait_unseen(watch: _Watch, message: str, patience: Patience) -> Waiting:
    """Look again more and more rarely while nothing can be seen."""
    watch = replace(watch, unseen=watch.unseen + 1)
    rest = compute_backoff(watch.unseen, patience.asked)
    return Waiting(rest, LastLook.UNKNOWN, watch.spell(), message, locked_out=patience.locked_out)
