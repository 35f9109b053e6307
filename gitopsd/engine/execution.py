"""Executes one step of one run and reports what came of it to the machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.config import Configuration
from gitopsd.domain.gates import GateState
from gitopsd.domain.runs import AbortReason, CommandId, Run, RunId, Step
from gitopsd.domain.work import WorkItem
from gitopsd.engine.admission import apply_event, settle
from gitopsd.engine.facts import load_gate_facts
from gitopsd.engine.following import Following, claim_restore, load_context
from gitopsd.engine.holding import compute_wait, hold_before_apply
from gitopsd.engine.outcomes import Done, Outcome, Quarantined, Verdict, Waiting
from gitopsd.engine.reading_ahead import reading_ahead
from gitopsd.engine.scope import Scope, scope
from gitopsd.engine.services import Services
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.step_handlers import HANDLERS
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError, LostError, PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.apply_hold import is_held_before_apply
from gitopsd.pipeline.events import (
    AbortRequested,
    ClockStopped,
    DeadlineReached,
    Event,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
)
from gitopsd.pipeline.gates import evaluate_gates, is_plan_current
from gitopsd.pipeline.steps import STEP_ORDER
from gitopsd.pipeline.table import is_closing
from gitopsd.store_ports import Transaction

GATE_LOOK = timedelta(seconds=60)
"""A closed gate that says no time is evaluated again after this long; hints come earlier."""

FIRST_LOOK = timedelta(minutes=5)
"""How long a command that nobody has begun yet may hold its run's deadline up."""

BUG_TRIES = 3
"""Attempts of a step whose handler has a bug."""


async def execute_step(
    services: Services, item: WorkItem, known: StepContext | None = None
) -> Following | None:
    """Do one outstanding step.

    Safe to repeat: every handler is, and an outcome for a command that is no longer outstanding
    changes nothing.

    Args:
        services: The ports.
        item: The command.
        known: What it needs, where that was read when it was commanded; None to read it.

    Returns:
        The next step of a restore, so that no time is lost before it; None when whoever claims
        first does what follows.
    """
    context = known or await services.store.read(lambda tx: load_context(tx, services, item))
    if context is None:
        await services.store.transact(lambda tx: _drop_stale(tx, item))
        return None
    run = context.run
    entered = Scope(
        work=item.kind.value,
        run=run.id,
        kind=run.kind.value,
        step=context.step.value,
        stage=str(run.stage),
        attempt=run.attempt,
    )
    with scope(entered):
        if context.step is Step.GATE:
            await _wait_at_gate(services, item, run)
            return None
        if is_held_before_apply(run):
            await _wait_before_apply(services, item, run)
            return None
        began = services.clock.monotonic()
        event = await _outcome_event(context)
        services.telemetry.observe(
            "gitopsd_step_duration_seconds",
            services.clock.monotonic() - began,
            step=context.step.value,
        )
        async with reading_ahead(context, event) as ahead:
            following = ahead.hand_on(await _report(services, item, run.id, event))
        if following is None or not following.restores:
            await services.doorbell.ring()
        return following


def _drop_stale(tx: Transaction, item: WorkItem) -> None:
    """Finish a command that is no longer outstanding; one that is waits for what it needs."""
    run = tx.runs.get(RunId(item.subject))
    if run is not None and run.command == item.key:
        tx.work.postpone(item, tx.now + GATE_LOOK)
    else:
        tx.work.finish(item)


async def _outcome_event(context: StepContext) -> Event:
    """Do a step and say what came of it."""
    bound = context.services.pace.slice + timedelta(seconds=50)
    services, command = context.services, context.command
    try:
        async with asyncio.timeout(bound.total_seconds()):
            outcome = await HANDLERS[context.step](context)
    except TimeoutError:
        reason, message = "Stuck", f"{context.step.value} did not report within {bound}"
        return StepErrored(services.clock.now(), command, reason, message)
    except GitopsdError as error:
        return _errored(context, error)
    except Exception as error:  # noqa: BLE001 - a bug in one step is one errored run, not a dead worker
        services.telemetry.report(error, run=context.run.id, step=context.step.value)
        return StepErrored(
            services.clock.now(),
            command,
            "InternalError",
            f"gitopsd has a bug in {context.step.value}: {redact_text(repr(error))[:300]}",
            limit=BUG_TRIES,
        )
    return to_event(outcome, context)


def _errored(context: StepContext, error: GitopsdError) -> Event:
    """Name what kept a step from finding out."""
    if isinstance(error, LostError):
        return _lost(context, error)
    now, message = context.services.clock.now(), redact_text(error.message)
    if isinstance(error, PermanentError):
        return StepErrored(now, context.command, error.reason, message, retryable=False)
    return StepErrored(
        now,
        context.command,
        error.reason,
        message,
        retry_after=getattr(error, "retry_after", None),
        cursor=context.run.cursor,
        locked_out=_is_locked_out(context, error),
    )


def _is_locked_out(context: StepContext, error: GitopsdError) -> bool:
    """Tell whether it was the cluster that let us ask nothing; Render asks Git and registries."""
    return error.reason in LOCKED_OUT and context.step is not Step.RENDER


def _lost(context: StepContext, error: LostError) -> Event:
    """Say that a run's bytes cannot be read any more.

    A Rollout renders them anew with its next attempt. To a run of stored bytes no attempt gives
    them back: that is a verdict against what it was to bring, and nobody else's bytes suffer.
    """
    now, command, message = context.services.clock.now(), context.command, error.message
    if Step.RENDER in STEP_ORDER[context.run.kind]:
        return StepErrored(now, command, error.reason, redact_text(message), retryable=False)
    return StepFailed(now, command, error.reason, redact_text(message))


def to_event(outcome: Outcome, context: StepContext) -> Event:
    """Name an outcome's command, so that a late one is recognised as stale."""
    now, command = context.services.clock.now(), context.command
    match outcome:
        case Done(rendered=rendered, plan=plan, plan_empty=empty, plan_base=base):
            return StepSucceeded(
                now, command, rendered=rendered, plan=plan, plan_empty=empty, plan_base=base
            )
        case Waiting():
            return StepPending(
                now,
                command,
                outcome.retry_after,
                outcome.last_look,
                outcome.cursor,
                redact_text(outcome.message),
                failing=outcome.failing,
                locked_out=outcome.locked_out,
                lasts=outcome.lasts,
            )
        case Verdict(reason=reason, message=message, unwritten=unwritten):
            return StepFailed(now, command, reason, redact_text(message), unwritten=unwritten)
        case Quarantined(message=message):
            return AbortRequested(
                now, by="gitopsd", reason=AbortReason.QUARANTINED, message=redact_text(message)
            )


def is_claimed(tx: Transaction, item: WorkItem) -> bool:
    """Tell whether a work item is still claimed as it was when its work began.

    Work that was taken away, since its replica was thought dead, is done again by another.
    """
    held = tx.work.get(item.key)
    return held is not None and (held.owner, held.attempts) == (item.owner, item.attempts)


async def _report(services: Services, item: WorkItem, run: RunId, event: Event) -> Following | None:
    """Store what came of a step; returns what this process goes on with at once."""
    configuration = services.configuration()

    def work(tx: Transaction) -> Following | None:
        current, following = tx.runs.get(run), None
        if current is not None and current.command == item.key and is_claimed(tx, item):
            timed = hold_before_apply(tx, current, _timed(tx, current, event), configuration)
            done = apply_event(tx, run, timed, configuration)
            if is_held_before_apply(done.run):
                apply_event(tx, run, ClockStopped(tx.now), configuration)
            following = claim_restore(tx, services, run, done.started)
        tx.work.finish(item)
        return following

    return await retry_conflicts(services.store, work)


def _timed(tx: Transaction, run: Run, event: Event) -> Event:
    """Give an outcome the transaction's time, and Diff's the facts it is judged by."""
    timed = replace(event, at=tx.now)
    stage = tx.stages.get(run.stage) if run.step is Step.DIFF else None
    if not isinstance(timed, StepSucceeded) or stage is None:
        return timed
    planned = replace(run, plan_base=timed.plan_base)
    verified = stage.verified is not None and is_plan_current(planned, stage)
    front = tx.runs.get(stage.front) if stage.front is not None else None
    # While another run applies, the dry-run may have seen what was there before: that nothing
    # would change is believed only when it is seen afterwards.
    settled = front is None or front.step is not Step.APPLY
    # What is about to apply something else is not left alone with the stage: it is taken over.
    alone = front is None or front.step is not Step.PREPARE
    empty = timed.plan_empty and settled
    return replace(timed, plan_empty=empty, applied_verified=verified and alone)


async def _wait_at_gate(services: Services, item: WorkItem, run: Run) -> None:
    """Evaluate a waiting run's gates; the run leaves its Gate in this very transaction.

    Safe to repeat: gates are read anew each time.
    """
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        settle(tx, (run.stage,), configuration)
        current = tx.runs.get(run.id)
        if current is None or current.command != item.key:
            tx.work.finish(item)
            return
        tx.work.postpone(item, tx.now + _next_evaluation(tx, current, configuration))

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


async def _wait_before_apply(services: Services, item: WorkItem, run: Run) -> None:
    """Let a run apply that was held before it, or let it wait on.

    Safe to repeat: what holds it is read anew each time.
    """
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        current = tx.runs.get(run.id)
        if current is not None and current.command == item.key:
            done = StepSucceeded(tx.now, CommandId(item.key))
            event = hold_before_apply(tx, current, done, configuration)
            if isinstance(event, StepPending) and not is_closing(current):
                tx.work.postpone(item, tx.now + event.retry_after)
                return
            apply_event(tx, run.id, event, configuration)
        tx.work.finish(item)

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


def _next_evaluation(tx: Transaction, run: Run, config: Configuration) -> timedelta:
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return GATE_LOOK
    facts = load_gate_facts(tx, run, application, spec, config)
    states: tuple[GateState, ...] = evaluate_gates(facts) if facts is not None else ()
    return compute_wait(tx, states)


def _is_over(tx: Transaction, run: Run) -> bool:
    """Tell whether a step's time is over.

    After a time without any process, the last look is as old as that time: a command that was due
    before the deadline and that nobody began is done once before it is judged.
    """
    if run.step_deadline is None or run.step_deadline > tx.now or run.clock_stopped_at is not None:
        return False
    item = tx.work.get(run.command) if run.command is not None else None
    if item is None or item.attempts or tx.now > run.step_deadline + FIRST_LOOK:
        return True
    return item.due_at > run.step_deadline


async def expire_deadlines(services: Services) -> tuple[RunId, ...]:
    """End every step whose time is over; returns the runs that ended.

    Safe to repeat: a deadline that is not reached is ignored by the machine.
    """

    def due(tx: Transaction) -> tuple[RunId, ...]:
        return tuple(run.id for run in tx.runs.live() if _is_over(tx, run))

    expired = await services.store.read(due)
    configuration = services.configuration()
    for run in expired:

        def work(tx: Transaction, run: RunId = run) -> None:
            apply_event(tx, run, DeadlineReached(tx.now), configuration)

        try:
            await retry_conflicts(services.store, work)
        except TemporaryError:
            raise
        except Exception as error:  # noqa: BLE001 - one run must not hold up the deadlines of others
            services.telemetry.report(error, run=run, part="deadlines")
    if expired:
        await services.doorbell.ring()
    return expired
