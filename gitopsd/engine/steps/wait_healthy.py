"""WaitHealthy: every applied object becomes healthy, or one of them definitely does not."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.runs import LastLook
from gitopsd.engine.looking import Looker, Sight, keep_evidence
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.wakeups import Wakeups
from gitopsd.errors import TemporaryError

LONGEST_PAUSE = timedelta(seconds=3)
"""Looks get rarer while nothing changes, down to one in this time."""

LOOKED = "looked"
"""Cursor of a step that has looked already and goes on with a rest."""


async def run_wait_healthy(context: StepContext) -> Outcome:
    """Look at the applied objects until they are healthy or one definitely failed.

    Between two looks it rests until a workload changes, or for a while that grows.

    Safe to repeat: it only looks.

    Raises:
        TemporaryError: The very first look of this execution could not be made.
    """
    pace, last = context.services.pace, context.run.last_look
    pause, looker = pace.look, Looker(context, trusting=True)
    async with Wakeups(context) as wakeups:
        resting = context.run.cursor == LOOKED
        while True:
            try:
                if resting:
                    wakeups.watch(await looker.find_workloads())
                    await wakeups.rest(min(pause, context.time_left() or pause))
                sight = await looker.look()
            except TemporaryError as error:
                if last is not LastLook.UNKNOWN and error.reason not in LOCKED_OUT:
                    rest = max(pace.look, error.retry_after or pace.look)
                    return Waiting(rest, LastLook.UNKNOWN, message=error.message)
                raise
            ended = await _conclude(context, sight)
            if ended is not None:
                return ended
            if _is_news(context, sight) or context.is_time_up():
                return _say(sight)
            pause = min(pause * 1.3, LONGEST_PAUSE) if resting else pause
            resting = True


async def _conclude(context: StepContext, sight: Sight) -> Outcome | None:
    if sight.healthy:
        return Done()
    if sight.failed:
        return Verdict(sight.reason, await keep_evidence(context, sight))
    return None


def _is_news(context: StepContext, sight: Sight) -> bool:
    """Tell whether the run does not know yet what was seen: selection reads it from there."""
    run = context.run
    return run.last_look is not LastLook.NOT_HEALTHY or run.failing is not sight.failing


def _say(sight: Sight) -> Waiting:
    return Waiting(timedelta(0), LastLook.NOT_HEALTHY, LOOKED, sight.message, failing=sight.failing)
