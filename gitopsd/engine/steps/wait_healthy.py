"""WaitHealthy: every applied object becomes healthy, or one of them definitely does not."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.runs import LastLook
from gitopsd.engine.looking import Sight, keep_evidence, look_at
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import TemporaryError

LONGEST_PAUSE = timedelta(seconds=3)
"""Looks get rarer while nothing changes, down to one in this time."""


async def run_wait_healthy(context: StepContext) -> Outcome:
    """Look at the applied objects until they are healthy or one definitely failed.

    Safe to repeat: it only looks.

    Raises:
        TemporaryError: The very first look of this execution could not be made.
    """
    pace, clock = context.services.pace, context.services.clock
    pause, last = pace.look, context.run.last_look
    while True:
        try:
            sight = await look_at(context)
        except TemporaryError as error:
            if last is not LastLook.UNKNOWN:
                return Waiting(pace.look, LastLook.UNKNOWN, message=error.message)
            raise
        ended = await _conclude(context, sight)
        if ended is not None:
            return ended
        failing = bool(sight.verdict.evidence)
        news = last is not LastLook.NOT_HEALTHY or failing is not context.run.failing
        if news or _time_is_up(context):
            return Waiting(pause, LastLook.NOT_HEALTHY, message=sight.message, failing=failing)
        await clock.sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


async def _conclude(context: StepContext, sight: Sight) -> Outcome | None:
    if sight.healthy:
        return Done()
    if sight.failed:
        await keep_evidence(context, sight)
        return Verdict(sight.reason, sight.message)
    return None


def _time_is_up(context: StepContext) -> bool:
    now = context.services.clock.now()
    deadline = context.run.step_deadline
    near = deadline is not None and now >= deadline - timedelta(seconds=1)
    return near or now - context.began_at >= context.services.pace.slice
