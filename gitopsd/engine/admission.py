"""Fills slots: selection, admission, gates, handover, until nothing more follows.

Level-triggered: everything is read anew from the transaction, so a lost hint costs one sweep.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.gates import GateState
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import AbortReason, CommandId, Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import RestoreTarget
from gitopsd.engine.advance import Advanced, advance
from gitopsd.engine.asking import see_to_asking
from gitopsd.engine.effects import destination_of, stage_spec_of, watch_for_loop
from gitopsd.engine.facts import (
    count_next_votes,
    load_gate_facts,
    load_restore_facts,
    load_selection_facts,
)
from gitopsd.engine.gate_evidence import put_gates
from gitopsd.engine.group_restores import take_back
from gitopsd.engine.holding import find_hold
from gitopsd.engine.notifications import ask_for_approval
from gitopsd.engine.restoring import pass_prepare
from gitopsd.engine.showing import refresh_reports
from gitopsd.engine.slots import schedule_reconsider
from gitopsd.engine.soak_facts import ask_for_looks
from gitopsd.pipeline.apply_hold import has_clock_stopped, is_held_before_apply
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    Event,
    GateRefused,
    RunAdmitted,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.gates import (
    all_open,
    evaluate_gates,
    first_refusal,
    is_plan_current,
    lacks_approval,
)
from gitopsd.pipeline.rollback import choose_restore, is_same_place
from gitopsd.pipeline.selection import compute_handover, select
from gitopsd.pipeline.steps import timeouts_for
from gitopsd.store_ports import Transaction

ROUNDS = 200
"""Bound on the follow-up work of one transaction; what is left goes to the outbox."""


def apply_event(tx: Transaction, run: RunId, event: Event, config: Configuration) -> Advanced:
    """Apply one event and everything that follows from it in this transaction.

    Where a Rollback begins, what its stage takes next is decided right after it: nothing may.
    """
    before = tx.runs.get(run)
    done = advance(tx, run, event, config)
    _follow(tx, before, done, config)
    if done.started:
        for key in done.reconsider:
            schedule_reconsider(tx, key, timedelta(0))
    else:
        settle(tx, done.reconsider, config)
    return done


def _follow(tx: Transaction, before: Run | None, done: Advanced, config: Configuration) -> None:
    """Admit runs that the event started, and tell *next* when what it was checked against changed.

    That is when an Apply is commanded and when it is over, however it went: in between a dry-run
    sees part of the old objects and part of the new. A run that takes over goes on as it is.
    """
    for started in done.started:
        rollback = tx.runs.get(started)
        if rollback is None:
            continue
        watch_for_loop(tx, rollback, config)
        if tx.work.get(f"admit:{started}") is None:
            admit(tx, rollback, config)
    run = done.run
    if before is None or _applies(before) == _applies(run):
        return
    stage = tx.stages.get(run.stage)
    if stage is None or stage.next is None or (run.superseded_by == stage.next and not run.live):
        return
    advance(tx, stage.next, AppliedChanged(tx.now), config)


def _applies(run: Run) -> bool:
    return run.live and run.step is Step.APPLY


def admit(tx: Transaction, run: Run, config: Configuration) -> None:
    """Let a Pending run begin; a Rollback goes on to Apply at once where nothing runs before it.

    Safe to repeat: a run that began ignores it.
    """
    spec = tx.specs.get(run.stage.application, run.spec)
    stage_spec = spec.stage(run.stage.stage) if spec is not None else None
    timeouts = timeouts_for(stage_spec, run.kind) if stage_spec is not None else ()
    began = advance(tx, run.id, RunAdmitted(tx.now, timeouts), config)
    if run.kind is RunKind.ROLLBACK:
        pass_prepare(tx, began.run, config)


def settle(tx: Transaction, stages: Iterable[StageKey], config: Configuration) -> None:
    """Reconsider stages until nothing more follows from it."""
    queue = deque(dict.fromkeys(stages))
    for _ in range(ROUNDS):
        if not queue:
            return
        key = queue.popleft()
        for follow in _reconsider(tx, key, config):
            if follow not in queue:
                queue.append(follow)
    for key in queue:
        schedule_reconsider(tx, key, timedelta(seconds=1))


def _reconsider(tx: Transaction, key: StageKey, config: Configuration) -> tuple[StageKey, ...]:
    stage = tx.stages.get(key)
    application = tx.specs.current(key.application)
    if stage is None:
        return ()
    front = tx.runs.get(stage.front) if stage.front is not None else None
    if front is not None:
        _admit_waiting_front(tx, front, config)
        _release_front(tx, front, config)
    spec = application.stage(key.stage) if application is not None else None
    if application is None or spec is None or stage.retired_at is not None:
        return _drop_next(tx, stage, config)
    back = take_back(tx, stage, application, spec, config)
    if back:
        return back
    stage = tx.stages.get(key) or stage
    follow = _select(tx, stage, application, spec, config)
    stage = tx.stages.get(key) or stage
    waiting = tx.runs.get(stage.next) if stage.next is not None else None
    if waiting is not None and waiting.step is Step.GATE and waiting.phase is Phase.RUNNING:
        follow = (*follow, *_pass_gate(tx, waiting, application, spec, config))
    return follow


def _admit_waiting_front(tx: Transaction, front: Run, config: Configuration) -> None:
    if front.phase is not Phase.PENDING:
        return
    item = tx.work.get(f"admit:{front.id}")
    if item is None or item.due_at <= tx.now:
        tx.work.remove(f"admit:{front.id}")
        admit(tx, front, config)


def _release_front(tx: Transaction, front: Run, config: Configuration) -> None:
    """Let a run that was held before Apply be asked again at once, when nothing holds it."""
    if front.command is None or not is_held_before_apply(front):
        return
    if not find_hold(tx, front, config):
        tx.work.hasten(front.command, tx.now)


def _drop_next(tx: Transaction, stage: Stage, config: Configuration) -> tuple[StageKey, ...]:
    """A stage that left the configuration: *next* is aborted, *front* finishes (design 9)."""
    if stage.next is None:
        return ()
    event = AbortRequested(
        tx.now,
        by="gitopsd",
        reason=AbortReason.STAGE_REMOVED,
        message=f"{stage.key} is no longer configured",
    )
    return advance(tx, stage.next, event, config).reconsider


def _select(
    tx: Transaction,
    stage: Stage,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> tuple[StageKey, ...]:
    offered = load_selection_facts(tx, stage, application, spec)
    facts = count_next_votes(tx, offered, application, spec, config)
    choice = select(facts)
    if choice.not_before is not None and choice.not_before > tx.now:
        schedule_reconsider(tx, stage.key, choice.not_before - tx.now)
    if choice.end_next is not None and facts.next_run is not None:
        event = AbortRequested(tx.now, by="gitopsd", reason=choice.end_next, message=choice.reason)
        return (stage.key, *advance(tx, facts.next_run.id, event, config).reconsider)
    if choice.release is None:
        return ()
    if facts.next_run is not None:
        if not choice.supersede_next:
            return ()
        return _supersede_next(tx, stage, facts.next_run, choice.release, application, config)
    _start_rollout(tx, stage.key, choice.release, application, spec, config)
    return (stage.key,)


def _supersede_next(
    tx: Transaction,
    stage: Stage,
    waiting: Run,
    release: ReleaseId,
    application: ApplicationSpec,
    config: Configuration,
) -> tuple[StageKey, ...]:
    newer = tx.releases.get(release)
    event = Superseded(
        tx.now,
        by=_run_id(application, stage.key),
        by_alias=newer.alias if newer is not None else str(release),
        vote_standing=False,
    )
    done = advance(tx, waiting.id, event, config)
    return done.reconsider if done.run.phase.terminal else ()


def bring_now(tx: Transaction, key: StageKey, release: ReleaseId, config: Configuration) -> None:
    """Begin with a release that a person asked for, where it would only wait for a pause to end.

    Safe to repeat: what is on its way is begun once.
    """
    stage = tx.stages.get(key)
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if stage is None or application is None or spec is None or stage.next is not None:
        return
    choice = select(load_selection_facts(tx, stage, application, spec))
    waits = choice.release is None and choice.not_before is not None
    if waits and stage.requested == release and release not in dict(choice.skipped):
        _start_rollout(tx, key, release, application, spec, config)
        settle(tx, (key,), config)


def _start_rollout(
    tx: Transaction,
    key: StageKey,
    release: ReleaseId,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> None:
    previous = tx.runs.last_rollouts(key).get(release)
    errored = previous is not None and previous.phase is Phase.ERRORED
    run = Run(
        id=_run_id(application, key),
        stage=key,
        release=release,
        kind=RunKind.ROLLOUT,
        created_at=tx.now,
        spec=application.revision,
        attempt_number=previous.attempt_number + 1 if previous is not None and errored else 1,
    )
    tx.runs.add(run)
    stage = tx.stages.get(key)
    if stage is not None:
        tx.stages.save(replace(stage, next=run.id))
    advance(tx, run.id, RunAdmitted(tx.now, timeouts_for(spec, run.kind)), config)


def _run_id(application: ApplicationSpec, key: StageKey) -> RunId:
    """Make a run id that sorts and reads well: ``shop-staging-3f9a1c``."""
    return RunId(f"{application.name}-{key.stage}-{secrets.token_hex(4)}")


def _pass_gate(
    tx: Transaction,
    run: Run,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> tuple[StageKey, ...]:
    facts = load_gate_facts(tx, run, application, spec, config)
    if facts is None:
        return ()
    if not is_plan_current(run, facts.stage):
        return advance(tx, run.id, AppliedChanged(tx.now), config).reconsider
    see_to_asking(tx, run, spec, facts.observations)
    states = evaluate_gates(facts)
    if put_gates(tx, run, states):
        refresh_reports(tx, run, config)
    run = _keep_clock(tx, run, states, config)
    ask_for_approval(tx, run, states, config)
    ask_for_looks(tx, facts)
    refusal = first_refusal(states)
    if refusal is not None:
        return advance(tx, run.id, GateRefused(tx.now, refusal), config).reconsider
    if all_open(states) and run.command is not None:
        return _leave_gate(tx, run, run.command, spec, config)
    if not run.approved and not lacks_approval(states):
        run = advance(tx, run.id, ApprovalComplete(tx.now), config).run
    if facts.front_run is not None:
        return _hand_over(tx, facts.front_run, run, states, facts.stage, config)
    return ()


def _keep_clock(
    tx: Transaction, run: Run, states: tuple[GateState, ...], config: Configuration
) -> Run:
    """Let a run's deadline stand still for as long as a freeze or a shut window has it wait."""
    stopped = has_clock_stopped(run, states)
    if stopped == (run.clock_stopped_at is not None):
        return run
    event = ClockStopped(tx.now) if stopped else ClockStarted(tx.now)
    return advance(tx, run.id, event, config).run


def _leave_gate(
    tx: Transaction, run: Run, command: CommandId, spec: StageSpec, config: Configuration
) -> tuple[StageKey, ...]:
    facts = load_restore_facts(tx, run, spec)
    choice = choose_restore(facts) if facts is not None else None
    target = choice if isinstance(choice, RestoreTarget) else None
    event = StepSucceeded(
        tx.now,
        command=command,
        restore=target,
        no_restore=choice if choice is not None and not isinstance(choice, RestoreTarget) else None,
    )
    return advance(tx, run.id, event, config).reconsider


def _hand_over(
    tx: Transaction,
    front: Run,
    waiting: Run,
    states: tuple[GateState, ...],
    stage: Stage,
    config: Configuration,
) -> tuple[StageKey, ...]:
    failing = front.failing
    moved = _is_elsewhere(tx, front, stage)
    handover = compute_handover(front, waiting, states, stage, failing, moved=moved)
    if not handover.now:
        return ()
    release = tx.releases.get(waiting.release)
    event = Superseded(
        tx.now,
        by=waiting.id,
        by_alias=release.alias if release is not None else str(waiting.release),
        failing=failing,
        protected=handover.protected,
    )
    return advance(tx, front.id, event, config).reconsider


def _is_elsewhere(tx: Transaction, front: Run, stage: Stage) -> bool:
    """Tell whether the stage is written somewhere else by now than where a run writes."""
    spec = stage_spec_of(tx, front)
    if spec is None or stage.destination is None:
        return False
    return not is_same_place(destination_of(spec), stage.destination)
