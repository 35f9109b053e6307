"""Ends a wave of an Apply: its hooks have ended and its objects are healthy before the next.

Each wave has the time that WaitHealthy has for the last one: ``health.timeout``, and in a Rollback
``rollback.deadline``. It begins when the hooks beside it have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import LastLook, RunKind
from gitopsd.engine.hooks import HookWave
from gitopsd.engine.looking import AppliedPart, Looker, Sight, keep_evidence
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import WritePermit
from gitopsd.kube.names import HookPhase

LONGEST_PAUSE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class _Wait:
    """How long a wave waits for nothing but the health of its objects.

    Attributes:
        wave: Its number.
        since: Since when, and later by as long as nothing could be seen; None while its hooks run.
        seen: When its objects were last seen.
    """

    wave: int
    since: datetime | None = None
    seen: datetime | None = None

    @classmethod
    def parse(cls, cursor: str, wave: int) -> _Wait:
        """Read a cursor back; an unreadable one, or another wave's, begins anew."""
        try:
            number, since, seen = cursor.split(" ")
            times = datetime.fromisoformat(since), datetime.fromisoformat(seen)
        except ValueError:
            return cls(wave)
        return cls(wave, *times) if number == str(wave) else cls(wave)

    def spell(self) -> str:
        """Write it as a cursor."""
        if self.since is None or self.seen is None:
            return ""
        return f"{self.wave} {self.since.isoformat()} {self.seen.isoformat()}"

    def after_look(self, now: datetime, *, blind: bool) -> _Wait:
        """Note a look; time without sight before it is not the application's."""
        lost = now - self.seen if blind and self.seen is not None else timedelta(0)
        return _Wait(self.wave, (self.since or now) + lost, now)

    def left(self, context: StepContext, now: datetime) -> timedelta:
        """Tell how much of its time is left."""
        return (self.since or now) + _patience(context) - now


def _patience(context: StepContext) -> timedelta:
    restores = context.run.kind is RunKind.ROLLBACK
    return context.spec.rollback_deadline if restores else context.spec.health_timeout


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
    wait, pause = _Wait.parse(context.run.cursor, wave), pace.look
    blind = context.run.last_look is LastLook.UNKNOWN
    while True:
        ran = await working.advance(permit) if hooks else Done()
        if isinstance(ran, Verdict):
            return ran
        sight = await looker.look() if awaited is not None else None
        if sight is not None and sight.failed:
            return Verdict(sight.reason, await keep_evidence(context, sight))
        if isinstance(ran, Done) and (sight is None or sight.healthy):
            return Done()
        if isinstance(ran, Done):
            wait, blind = wait.after_look(clock.now(), blind=blind), False
        left = wait.left(context, clock.now())
        if left <= timedelta(0) and sight is not None and _can_judge(context):
            return await _give_up(context, wave, sight)
        if context.is_time_up():
            return _say(wait, ran, sight)
        await clock.sleep(min(pause, left) if left > timedelta(0) else pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _can_judge(context: StepContext) -> bool:
    """After a time without sight, what is not healthy now has one more execution to become so."""
    return context.run.last_look is not LastLook.UNKNOWN


async def _give_up(context: StepContext, wave: int, sight: Sight) -> Verdict:
    await keep_evidence(context, sight)
    bound = f"{_patience(context).total_seconds():g} s"
    return Verdict("DeadlineExceeded", f"wave {wave} is not healthy after {bound}: {sight.message}")


def _say(wait: _Wait, ran: Outcome, sight: Sight | None) -> Waiting:
    """Say what a wave waits for: a hook first, since people wrote it."""
    if isinstance(ran, Waiting):
        message = f"wave {wait.wave}: {ran.message}"
        return Waiting(ran.retry_after, ran.last_look, wait.spell(), message)
    message = sight.message if sight is not None else ""
    failing = sight is not None and sight.failing
    return Waiting(
        timedelta(0),
        LastLook.NOT_HEALTHY,
        wait.spell(),
        f"wave {wait.wave}: {message}",
        failing=failing,
    )
