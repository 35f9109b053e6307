"""Verify: PostSync hooks, then the configured checks, as often in a row as they ask, in time."""

from __future__ import annotations

from gitopsd.domain.runs import LastLook
from gitopsd.engine.checking import CheckProgress, judge_checks, run_round
from gitopsd.engine.hooks import run_hooks, select_hooks
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.promises import promise_of_hooks, tell_time
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.names import HookPhase
from gitopsd.pipeline.steps import compute_backoff


async def run_verify(context: StepContext) -> Outcome:
    """Run the hooks of PostSync, then the checks until all succeeded or one ran out of time.

    While nothing can be seen it looks more and more rarely, and no check's time runs.

    Safe to repeat: a hook is created once in a run; checks only read, and what succeeded already
    is kept in the cursor.

    Raises:
        TemporaryError: Only about a hook; a check's attempt that saw nothing is an unknown look.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result.
        LeaseLostError: The right to write ended; no more hooks were created.
    """
    if not context.run.cursor:
        ran = await run_hooks(context, HookPhase.POST_SYNC)
        if not isinstance(ran, Done):
            hooks = select_hooks(context, await context.load_rendered(), HookPhase.POST_SYNC)
            return tell_time(context, ran, promise_of_hooks(hooks))
    progress = CheckProgress.parse(context.run.cursor, context.spec.verify, context.began_at)
    pace = context.services.pace
    while True:
        now = context.services.clock.now()
        verdict = judge_checks(progress, context.spec, now)
        if verdict is not None:
            return Verdict("VerificationFailed", verdict)
        if progress.all_passed(context.spec.verify):
            return Done()
        if now - context.began_at > pace.slice:
            return Waiting(pace.look, progress.look(), progress.spell(), progress.summary())
        progress, patience = await run_round(context, progress)
        if progress.unseen:
            return Waiting(
                compute_backoff(progress.unseen, patience.asked),
                LastLook.UNKNOWN,
                progress.spell(),
                progress.summary(),
                locked_out=patience.locked_out,
            )
        if progress.look() is not LastLook.HEALTHY:
            await context.services.clock.sleep(pace.look)
