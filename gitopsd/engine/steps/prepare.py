"""Prepare: what has to run before anything is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.manifests import Json, JsonObject, RenderedSet
from gitopsd.domain.runs import RunKind
from gitopsd.domain.work import EvidenceKind, LiveState
from gitopsd.engine.hooks import HookWave, run_hooks, select_hooks
from gitopsd.engine.live_state import hand_on, reading_live_state
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.past import load_past
from gitopsd.engine.placing import place_objects
from gitopsd.engine.promises import promise_of_hooks, tell_time
from gitopsd.engine.restoring import load_before_restore
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.trying import Trials
from gitopsd.errors import PermanentError
from gitopsd.kube.names import HookPhase

PATIENCE = timedelta(seconds=30)
"""For so long a restore waits for the hooks of what failed; they go on by themselves after it."""


async def run_prepare(context: StepContext) -> Outcome:
    """Run the hooks of PreSync, wave by wave; a restored set's only where they are marked for it.

    What admission said to Validate is asked again before the first of them, and where there is
    none, when it was long ago: what is denied now is a verdict with nothing to undo.
    Before a restore the SyncFail hooks of what failed run, and what is there is kept before any
    hook does. Neither holds it up for long, and what becomes of the hooks is only told.

    Safe to repeat: a hook is created once in a run, and found again by the run's mark.

    Raises:
        LostError: The rendered set cannot be read any more.
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    if context.run.kind is RunKind.ROLLBACK:
        return await _prepare_restore(context)
    rendered = await context.load_rendered()
    not_yet = await _try_again(context, rendered)
    return not_yet or await _run_own_hooks(context, rendered)


async def _prepare_restore(context: StepContext) -> Outcome:
    """Keep what is there, then run the hooks there are; without any, Apply keeps it."""
    run, store = context.run, context.services.store
    kept, before = await store.read(
        lambda tx: (tx.runs.live_state(run.id), load_before_restore(tx, run))
    )
    if before.is_nothing:
        return Done()
    if kept is None:
        async with reading_live_state(context) as reading:
            hand_on(context, await reading.keep())
    if before.of_failed:
        await _run_hooks_of_failed(context, before.of_failed, kept)
    return await _run_own_hooks(context, before.rendered or await context.load_rendered())


async def _run_own_hooks(context: StepContext, rendered: RenderedSet) -> Outcome:
    hooks = select_hooks(context, rendered, HookPhase.PRE_SYNC)
    if not hooks:
        return Done()
    ran = await run_hooks(context, HookPhase.PRE_SYNC)
    return tell_time(context, ran, promise_of_hooks(hooks))


async def _try_again(context: StepContext, rendered: RenderedSet) -> Verdict | Waiting | None:
    """Ask once more what Validate asked long ago; a denial comes before anything is written."""
    past = await load_past(context, ())
    if not past.stale:
        return None
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    trials = Trials(context, cluster, placed, past)
    not_yet = await trials.run_again(rendered.objects, HookPhase.PRE_SYNC)
    return replace(not_yet, unwritten=True) if isinstance(not_yet, Verdict) else not_yet


async def _run_hooks_of_failed(
    context: StepContext, hooks: Sequence[JsonObject], kept: LiveState | None
) -> None:
    """Run the SyncFail hooks of the run that is undone, for as long as there is patience.

    Since when they are waited for, the live state tells; time in which we are locked out is
    nobody's.
    """
    clock, locked_out = context.services.clock, context.run.locked_out_until is not None
    begun = context.began_at if kept is None or locked_out else kept.at
    outcome: Outcome = Waiting(timedelta(0), message="their time was over before they began")
    try:
        wave = await HookWave.begin(context, HookPhase.SYNC_FAIL, hooks)
        while isinstance(outcome, Waiting) and clock.now() - begun < PATIENCE:
            outcome = await wave.advance()
            if isinstance(outcome, Waiting):
                await clock.sleep(context.services.pace.look)
    except PermanentError as error:
        outcome = Verdict(error.reason, error.message)
    if isinstance(outcome, Waiting | Verdict):
        said: dict[str, Json] = {"message": f"the restore went on: {outcome.message}"}
        await context.keep(EvidenceKind.NOTES, said, key="SyncFail")
