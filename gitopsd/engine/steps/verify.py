"""Verify: PostSync hooks, then the configured checks, as often in a row as they ask, in time."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.runs import LastLook
from gitopsd.engine.attempting import Planned, attempt_checks
from gitopsd.engine.checking import (
    CheckProgress,
    Patience,
    find_patience,
    judge_checks,
    name_check,
)
from gitopsd.engine.hooks import run_hooks, select_hooks
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.promises import promise_of_hooks, tell_time
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import PermanentError
from gitopsd.kube.names import HookPhase
from gitopsd.pipeline.steps import compute_backoff

JOB_LOOK = timedelta(seconds=2)
"""Time between two looks at Jobs that are under way while nothing else is waited for."""


async def run_verify(context: StepContext) -> Outcome:
    """Run the hooks of PostSync, then the checks until all succeeded or one ran out of time.

    While nothing can be seen it looks more and more rarely, and no check's time runs.

    Safe to repeat: a hook is created once in a run, a check's Job once in an attempt; other checks
    only look, and what succeeded already is kept in the cursor.

    Raises:
        LostError: A Job's template cannot be read any more.
        TemporaryError: Only about a hook, or the right to begin a Job; an attempt that saw nothing
            is an unknown look.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result;
            ``Inconclusive``, when nothing can be told of a check and no other is waited for.
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
        spent = progress.find_spent(context.spec.verify)
        if spent is not None:
            named = name_check(spent, context.spec.namespace)
            message = f"{named} tells nothing: {progress.states[spent.name].message}"
            raise PermanentError(message, reason="Inconclusive")
        if now - context.began_at > pace.slice:
            return Waiting(pace.look, progress.look(), progress.spell(), progress.summary())
        progress, patience = await _run_round(context, progress)
        if progress.unseen:
            return Waiting(
                compute_backoff(progress.unseen, patience.asked),
                LastLook.UNKNOWN,
                progress.spell(),
                progress.summary(),
                locked_out=patience.locked_out,
            )
        if progress.look() is not LastLook.HEALTHY:
            await context.services.clock.sleep(_pause(progress, pace.look))


async def _run_round(
    context: StepContext, progress: CheckProgress
) -> tuple[CheckProgress, Patience]:
    """Make one attempt of every check that still needs successes, all at once.

    Returns:
        How the checks stand now, and how long the API server wants to be left alone.
    """
    began_at = context.services.clock.now()
    pending = progress.pending(context.spec.verify)
    planned = [
        Planned(
            check, state.attempts + 1, state.underway, bool(state.first), since=progress.started
        )
        for check, state in pending
    ]
    attempts = await attempt_checks(context, planned)
    for (check, _), attempt in zip(pending, attempts, strict=True):
        progress = progress.after(check, attempt)
    return progress.after_round(began_at, context.services.clock.now()), find_patience(attempts)


def _pause(progress: CheckProgress, shortest: timedelta) -> timedelta:
    waiting = [state for state in progress.states.values() if not state.passed]
    return JOB_LOOK if all(state.underway for state in waiting) else shortest
