"""Prepare: what has to run before anything is applied."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Json, RenderedSet
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.effects import find_undone
from gitopsd.engine.hooks import HookWave, run_hooks, select_hooks
from gitopsd.engine.live_state import keep_live_state
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.past import load_past
from gitopsd.engine.placing import place_objects
from gitopsd.engine.promises import promise_of_hooks, tell_time
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.trying import Trials
from gitopsd.errors import PermanentError
from gitopsd.kube.hooks import find_hooks
from gitopsd.kube.names import HookPhase
from gitopsd.store_ports import Transaction

PATIENCE = timedelta(seconds=30)
"""For so long a restore waits for the hooks of what failed; they go on by themselves after it."""


async def run_prepare(context: StepContext) -> Outcome:
    """Run the hooks of PreSync, wave by wave; a restored set's only where they are marked for it.

    What admission said to Validate is asked again before the first of them, and where there is
    none, when it was long ago: what is denied now is a verdict with nothing to undo.
    Before a restore what is there is kept, and the SyncFail hooks of what failed run. Neither
    holds it up for long, and what becomes of the hooks is only told.

    Safe to repeat: a hook is created once in a run, and found again by the run's mark.

    Raises:
        LostError: The rendered set cannot be read any more.
        TemporaryError: The cluster did not answer.
        PermanentError: ``HookOutcomeUnknown``, when a hook is gone without a result.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    if context.run.kind is RunKind.ROLLBACK:
        await keep_live_state(context)
        await _run_hooks_of_failed(context)
    rendered = await context.load_rendered()
    hooks = select_hooks(context, rendered, HookPhase.PRE_SYNC)
    not_yet = await _try_again(context, rendered)
    if not_yet is not None or not hooks:
        return not_yet or Done()
    ran = await run_hooks(context, HookPhase.PRE_SYNC)
    return tell_time(context, ran, promise_of_hooks(hooks))


async def _try_again(context: StepContext, rendered: RenderedSet) -> Verdict | Waiting | None:
    """Ask once more what Validate asked long ago; a denial comes before anything is written."""
    if context.run.kind is RunKind.ROLLBACK:
        return None
    past = await load_past(context, ())
    if not past.stale:
        return None
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    trials = Trials(context, cluster, placed, past)
    not_yet = await trials.run_again(rendered.objects, HookPhase.PRE_SYNC)
    return replace(not_yet, unwritten=True) if isinstance(not_yet, Verdict) else not_yet


async def _run_hooks_of_failed(context: StepContext) -> None:
    """Run the SyncFail hooks of the run that is undone, for as long as there is patience."""
    failed = await context.services.store.read(lambda tx: _load_failed(tx, context))
    hooks = find_hooks(failed.objects, HookPhase.SYNC_FAIL) if failed is not None else ()
    if not hooks:
        return
    clock, begun = context.services.clock, await _fetch_begin(context)
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


async def _fetch_begin(context: StepContext) -> datetime:
    """Tell since when the hooks are waited for; time in which we are locked out is nobody's."""
    run = context.run
    kept = await context.services.store.read(lambda tx: tx.runs.live_state(run.id))
    return context.began_at if kept is None or run.locked_out_until is not None else kept.at


def _load_failed(tx: Transaction, context: StepContext) -> RenderedSet | None:
    """Read the set whose run ended Failed; one that cannot be read any more holds nothing up."""
    run = tx.runs.get(find_undone(context.run))
    if run is None or run.phase is not Phase.FAILED or run.rendered is None:
        return None
    try:
        return tx.rendered.get(run.rendered)
    except PermanentError:
        return None
