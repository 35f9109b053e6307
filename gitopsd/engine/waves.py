"""Ends a wave of an Apply: its hooks have ended and its objects are healthy before the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import LastLook
from gitopsd.engine.hooks import HookWave
from gitopsd.engine.looking import AppliedPart, Looker, Sight, keep_evidence
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.writing import WritePermit
from gitopsd.kube.names import HookPhase

LONGEST_PAUSE = timedelta(seconds=3)


async def end_wave(
    permit: WritePermit,
    wave: int,
    hooks: Sequence[JsonObject],
    awaited: AppliedPart | None,
) -> Outcome:
    """Run the Sync hooks of a wave beside its objects, until both are as they should be.

    Safe to repeat: a hook is created once in a run; the rest only looks.

    Args:
        permit: The right to write.
        wave: The wave's number, for what people read.
        hooks: Its Sync hooks.
        awaited: The objects that have to be healthy; None for the last wave, of which
            WaitHealthy takes care.

    Raises:
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    context = permit.context
    clock, pace = context.services.clock, context.services.pace
    working = await HookWave.begin(context, HookPhase.SYNC, hooks)
    looker = Looker(context, trusting=True, part=awaited)
    pause = pace.look
    while True:
        ran = await working.advance(permit) if hooks else Done()
        if isinstance(ran, Verdict):
            return ran
        sight = await looker.look() if awaited is not None else None
        if sight is not None and sight.failed:
            return Verdict(sight.reason, await keep_evidence(context, sight))
        if isinstance(ran, Done) and (sight is None or sight.healthy):
            return Done()
        if context.is_time_up():
            return _wait(wave, ran, sight)
        await clock.sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _wait(wave: int, ran: Outcome, sight: Sight | None) -> Waiting:
    """Say what a wave waits for: a hook first, since people wrote it."""
    if isinstance(ran, Waiting):
        return Waiting(ran.retry_after, ran.last_look, message=f"wave {wave}: {ran.message}")
    message = sight.message if sight is not None else ""
    failing = sight is not None and sight.failing
    return Waiting(
        timedelta(0), LastLook.NOT_HEALTHY, message=f"wave {wave}: {message}", failing=failing
    )
