"""Verify: the configured checks must succeed as often in a row as they ask, within their time."""

from __future__ import annotations

from gitopsd.domain.runs import LastLook
from gitopsd.engine.checking import CheckProgress, judge_checks, run_round
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.pipeline.steps import compute_backoff


async def run_verify(context: StepContext) -> Outcome:
    """Make the stage's checks until all succeeded or one ran out of time.

    While nothing can be seen it looks more and more rarely, and no check's time runs.

    Safe to repeat: checks only read; what succeeded already is kept in the cursor.

    Raises:
        TemporaryError: Never for a check; an attempt that saw nothing is an unknown look.
    """
    progress = CheckProgress.parse(context.run.cursor, context.spec.verify, context.began_at)
    pace = context.services.pace
    while True:
        now = context.services.clock.now()
        verdict = judge_checks(progress, context.spec.verify, now)
        if verdict is not None:
            return Verdict("VerificationFailed", verdict)
        if progress.all_passed(context.spec.verify):
            return Done()
        if now - context.began_at > pace.slice:
            return Waiting(pace.look, progress.look(), progress.spell(), progress.summary())
        progress, asked = await run_round(context, progress)
        if progress.unseen:
            rest = compute_backoff(progress.unseen, asked)
            return Waiting(rest, LastLook.UNKNOWN, progress.spell(), progress.summary())
        if progress.look() is not LastLook.HEALTHY:
            await context.services.clock.sleep(pace.look)
