"""Certify: health and checks hold for a while, and nothing restarts, to the last second."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.runs import LastLook, RunKind
from gitopsd.engine.checking import Patience, attempt_checks, find_patience, name_check
from gitopsd.engine.looking import Sight, keep_evidence, look_at
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.steps import compute_backoff

LOOK_EVERY = timedelta(seconds=1)
CHECK_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Watch:
    """How long it has held.

    Attributes:
        began: When Certify began.
        restarts: Restarts seen when it began, by pod uid and container.
        checked: When the checks were last repeated.
        unseen: Looks in a row that saw nothing.
    """

    began: datetime
    restarts: dict[str, int] | None
    checked: datetime
    unseen: int = 0

    @classmethod
    def parse(cls, cursor: str, now: datetime) -> _Watch:
        try:
            stored = json.loads(cursor) if cursor else {}
            began = datetime.fromisoformat(stored["began"])
            checked = datetime.fromisoformat(stored["checked"])
            restarts = stored["restarts"]
            unseen = int(stored.get("unseen", 0))
        except (ValueError, KeyError, TypeError):
            return cls(now, None, now)
        return cls(began, restarts, checked, unseen)

    def spell(self) -> str:
        return json.dumps(
            {
                "began": self.began.isoformat(),
                "checked": self.checked.isoformat(),
                "restarts": self.restarts,
                "unseen": self.unseen,
            }
        )


async def run_certify(context: StepContext) -> Outcome:
    """Watch until the configured time has passed without a restart or a failed repeat.

    The last look and the last repeat are made after the time is over, so that a failure in its
    last second counts too. Safe to repeat: it only looks; the begin is kept in the cursor.
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
        if over or clock.now() - watch.checked >= CHECK_EVERY:
            answer = await _repeat_checks(context, watch)
            if answer is not None:
                return answer
            watch = replace(watch, checked=clock.now())
        watch = replace(watch, unseen=0)
        if over and sight.healthy:
            return Done()
        if clock.now() - context.began_at >= pace.slice:
            look = LastLook.HEALTHY if sight.healthy else LastLook.NOT_HEALTHY
            return Waiting(LOOK_EVERY, look, watch.spell(), sight.message)
        await clock.sleep(_pause(watch, context, clock.now()))


def _time_of(context: StepContext) -> timedelta:
    return context.spec.certify_of(rollback=context.run.kind is RunKind.ROLLBACK)


def _pause(watch: _Watch, context: StepContext, now: datetime) -> timedelta:
    left = watch.began + _time_of(context) - now
    return min(LOOK_EVERY, left) if left > timedelta(0) else LOOK_EVERY


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


async def _repeat_checks(context: StepContext, watch: _Watch) -> Outcome | None:
    """Repeat every check once; one failed repeat is a verdict, one that saw nothing is not."""
    attempts = await attempt_checks(context, context.spec.verify)
    for check, attempt in zip(context.spec.verify, attempts, strict=True):
        if attempt.passed is False:
            name = name_check(check, context.spec.namespace)
            message = f"{name} failed when repeated: {attempt.message}"
            return Verdict("VerificationFailed", message)
    unseen = [attempt for attempt in attempts if attempt.passed is None]
    return _wait_unseen(watch, unseen[0].message, find_patience(unseen)) if unseen else None


def _wait_unseen(watch: _Watch, message: str, patience: Patience) -> Waiting:
    """Look again more and more rarely while nothing can be seen."""
    watch = replace(watch, unseen=watch.unseen + 1)
    rest = compute_backoff(watch.unseen, patience.asked)
    return Waiting(rest, LastLook.UNKNOWN, watch.spell(), message, locked_out=patience.locked_out)
