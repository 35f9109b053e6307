"""What is true of every history, stated without the machine's own table.

Each sentence is one of the promises that the design makes for all states and events. The order of
steps is typed again here, so that a fault in the one place is not believed in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from gitopsd.domain.runs import AbortReason, CommandId, LastLook, Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import (
    Command,
    ExecuteStep,
    MarkStalled,
    RecordVerified,
    StartRollback,
    StoreQuarantine,
)
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    DeadlineReached,
    Event,
    GateRefused,
    RollbackRequested,
    RunAdmitted,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)

_BEFORE = (Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE)
_AFTER = (Step.PREPARE, Step.APPLY, Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE, Step.CERTIFY)
_ORDER: Mapping[RunKind, tuple[Step | None, ...]] = {
    RunKind.ROLLOUT: (None, *_BEFORE, *_AFTER),
    RunKind.ROLLBACK: (None, *_AFTER),
    RunKind.SYNC: (None, Step.APPLY, Step.WAIT_HEALTHY),
}
_REPLANNED = (Step.VALIDATE, Step.DIFF, Step.GATE)
_WRITING = (Step.PREPARE, Step.APPLY, Step.PRUNE)
_OUTCOMES = (StepSucceeded, StepPending, StepErrored, StepFailed)
_WISHES = (Superseded, AbortRequested)
_ABORTABLE = (RunKind.ROLLOUT, RunKind.SYNC)
_OLD_SECONDS = 90
"""A look that is older than this condemns nobody."""


class BrokenRuleError(Exception):
    """Something that is always true was not."""


def complain(what: str) -> NoReturn:
    """Say which rule was broken.

    Raises:
        BrokenRuleError: Always.
    """
    raise BrokenRuleError(what)


def check_transition(before: Run, event: Event, transition: Transition) -> None:
    """Hold one transition against what is true of all.

    Raises:
        BrokenRuleError: It is not.
    """
    after = transition.run
    outcome = isinstance(event, _OUTCOMES)
    if transition.ignored:
        if after is not before or transition.commands:
            complain(f"an ignored {event} changed {before.id}")
        _check_may_be_ignored(before, event)
        return
    if before.phase.terminal:
        complain(f"{before.id} had ended and was changed by {event}")
    if outcome and event.command != before.command:  # type: ignore[union-attr] # an outcome has one
        complain(f"{before.id} believed a stale {event}")
    if after.version != before.version + 1:
        complain(f"{before.id} has version {after.version} after {before.version}")
    _check_command(before, after, transition.commands)
    if after.phase.terminal:
        _check_ending(before, event, after)
        _check_what_follows(before, event, after, transition.commands)
        return
    if len(transition.commands) > 1:
        _check_calls(after, transition.commands)
    if after.step is before.step and not isinstance(event, AppliedChanged):
        _check_staying(before, event, after)
    else:
        _check_entering(before, event, after)


def _check_may_be_ignored(before: Run, event: Event) -> None:
    """What may not be ignored: an answer that is waited for, the end of a time, a person's wish."""
    if before.phase is not Phase.RUNNING:
        return
    step, rollout = before.step, before.kind is RunKind.ROLLOUT
    if isinstance(event, _OUTCOMES):
        if event.command == before.command:
            complain(f"{before.id} ignored the {event} that it waits for")
    elif isinstance(event, DeadlineReached):
        if _is_over(before, event.at):
            complain(f"{before.id} outlives its deadline in {step}")
    elif isinstance(event, AbortRequested):
        _check_may_go_on(before, event)
    elif isinstance(event, AppliedChanged):
        if rollout and step in _REPLANNED:
            complain(f"{before.id} keeps a plan for what is there no more")
    elif isinstance(event, RollbackRequested) and before.kind is RunKind.ROLLBACK:
        complain(f"{before.id} cannot be sent elsewhere in {step}")


def _check_may_go_on(before: Run, event: AbortRequested) -> None:
    """Whom a person's abort does not concern: a Rollback, what ends already, a removed stage."""
    if before.kind is RunKind.ROLLOUT and before.step in _BEFORE:
        complain(f"{before.id} cannot be aborted in {before.step}")
    removed = event.reason is AbortReason.STAGE_REMOVED
    if before.kind is not RunKind.ROLLBACK and not _is_marked(before) and not removed:
        complain(f"{before.id} ignored that it is to end in {before.step}")


def _is_over(run: Run, at: datetime) -> bool:
    deadline = run.step_deadline
    return deadline is not None and at >= deadline and run.clock_stopped_at is None


def _check_command(before: Run, after: Run, commands: tuple[Command, ...]) -> None:
    """At most one command is outstanding; the run knows it, and each has a name of its own."""
    executes = [command for command in commands if isinstance(command, ExecuteStep)]
    if not executes:
        wanted: CommandId | None = None if after.phase.terminal else before.command
        if after.command != wanted:
            complain(f"{after.id} waits for {after.command}, which nobody was told to do")
        return
    given = executes[0]
    if len(executes) > 1 or after.phase is not Phase.RUNNING:
        complain(f"{after.id} in {after.phase} commands {executes}")
    known = (given.id, given.step, given.attempt)
    if known != (after.command, after.step, after.attempt):
        complain(f"{after.id} commands {given} and waits for {after.command}")
    if given.id == before.command:
        complain(f"{after.id} gives {given.id} a second time")


def _check_staying(before: Run, event: Event, after: Run) -> None:
    """Within a step: its time stays what it is, but for the few things that may change it."""
    if before.mutated is not after.mutated:
        complain(f"{after.id} has {'not ' * (not after.mutated)}written without a step's beginning")
    if after.step_deadline != before.step_deadline and _keeps_time(event):
        complain(f"{event} moved the deadline of {after.id}")
    if isinstance(event, StepErrored):
        if not event.locked_out and (after.attempt != before.attempt + 1 or not event.retryable):
            complain(f"{after.id} makes attempt {after.attempt} after {before.attempt}")
        if not event.locked_out and before.attempt >= event.limit:
            complain(f"{after.id} tries more often than {event.limit} times")
    elif isinstance(event, DeadlineReached):
        complain(f"{after.id} goes on after its deadline")
    elif isinstance(event, _WISHES):
        _check_wish(before, event)
        if isinstance(event, Superseded) and after.superseded_by != event.by:
            complain(f"{after.id} does not know that {event.by} takes over")
    elif not isinstance(event, RollbackRequested) and before.aborting is not after.aborting:
        complain(f"{event} made an abort of {after.id}")


def _keeps_time(event: Event) -> bool:
    if isinstance(event, StepErrored):
        return not event.locked_out
    if isinstance(event, StepPending):
        return not event.locked_out and event.lasts is None
    return isinstance(event, (Superseded, AbortRequested, RollbackRequested))


def _check_wish(before: Run, event: Event) -> None:
    """A Rollback that can go on does so; votes, and what was overtaken twice, are respected."""
    if before.kind is RunKind.ROLLBACK and (
        before.locked_out_until is None or before.redirect is not None
    ):
        complain(f"{event} stops {before.id}, a rollback")
    waits = before.kind is RunKind.ROLLOUT and before.step not in _AFTER
    if isinstance(event, Superseded) and event.vote_standing and waits:
        complain(f"{before.id} was superseded though a vote stands")
    if isinstance(event, Superseded) and before.aborting:
        complain(f"{before.id} was superseded while it is aborted")


def _check_entering(before: Run, event: Event, after: Run) -> None:
    """Steps come in order, each with its own time and its first attempt."""
    order = _ORDER[after.kind]
    back = isinstance(event, AppliedChanged) and before.step in _REPLANNED
    if back:
        if after.step is not Step.VALIDATE or after.plan is not None:
            complain(f"{after.id} keeps its plan in {after.step}")
    elif after.step is not order[order.index(before.step) + 1]:
        complain(f"{after.id} goes from {before.step} to {after.step}")
    elif not isinstance(event, StepSucceeded if before.step else RunAdmitted):
        complain(f"{event} brought {after.id} to {after.step}")
    if after.step_deadline is None or after.step_deadline <= event.at or after.attempt != 1:
        complain(f"{after.id} has until {after.step_deadline} for {after.step} at {event.at}")
    if after.mutated is not (after.step in _AFTER):
        complain(f"{after.id} is in {after.step}, mutated: {after.mutated}")
    if before.step is Step.GATE and after.step is Step.PREPARE:
        kept = (after.restore_target, after.no_restore)
        if not isinstance(event, StepSucceeded) or kept != (event.restore, event.no_restore):
            complain(f"{after.id} forgets what its failure restores")
    if before.superseded_by is None and _is_marked(before):
        complain(f"{after.id} was to end with its work in flight and goes on")


def _is_marked(run: Run) -> bool:
    """Whether a person had a run end, or go elsewhere, with its work in flight."""
    return run.aborting or run.redirect is not None


def _check_ending(before: Run, event: Event, after: Run) -> None:
    """Each phase that a run can end in has its own causes, and no other."""
    phase = after.phase
    if after.ended_at != event.at or after.step_deadline is not None:
        complain(f"{after.id} ended at {after.ended_at} by {event}")
    if after.step is not before.step:
        complain(f"{after.id} ended in {after.step}, having been in {before.step}")
    if isinstance(event, DeadlineReached) and not _is_over(before, event.at):
        complain(f"{after.id} ended before its deadline {before.step_deadline}")
    if phase is Phase.ABORTED:
        _check_abort(before, event)
    elif _is_marked(before):
        complain(f"{after.id} was to be aborted and ended {phase}")
    elif phase is Phase.SUCCEEDED:
        _check_success(before, event)
    elif phase is Phase.FAILED:
        _check_verdict(before, event)
    else:
        _check_no_verdict(before, event)


def _check_success(before: Run, event: Event) -> None:
    """By its last step, or because nothing would change of what is verified."""
    if isinstance(event, StepSucceeded):
        unchanged = event.plan_empty and event.applied_verified and before.step is Step.DIFF
        if unchanged or before.step is _ORDER[before.kind][-1]:
            return
    complain(f"{before.id} succeeded by {event} in {before.step}")


def _check_verdict(before: Run, event: Event) -> None:
    """By a definite word, or a time that is over while the last look, a recent one, was bad."""
    if isinstance(event, StepFailed) and before.step is not Step.GATE:
        return
    if isinstance(event, DeadlineReached) and before.last_look is LastLook.NOT_HEALTHY:
        looked = before.looked_at or event.at
        if (event.at - looked).total_seconds() <= _OLD_SECONDS and before.step is not Step.GATE:
            return
    complain(f"{event} is no verdict on {before.id}, last seen {before.last_look}")


def _check_no_verdict(before: Run, event: Event) -> None:
    """When the attempts are spent, or a time is over without sight."""
    if isinstance(event, StepErrored):
        spent = before.attempt >= event.limit and not event.locked_out
        if spent or not event.retryable:
            return
    elif isinstance(event, DeadlineReached) and before.step is not Step.GATE:
        recent = before.looked_at is None or (
            (event.at - before.looked_at).total_seconds() <= _OLD_SECONDS
        )
        if before.last_look is not LastLook.NOT_HEALTHY or not recent:
            return
    complain(f"{before.id} gave up by {event} at attempt {before.attempt}")


def _check_abort(before: Run, event: Event) -> None:
    """Before a write by whoever may; after one only when the work in flight has reported."""
    reported = isinstance(event, (*_OUTCOMES, DeadlineReached, RollbackRequested))
    if reported and (_is_marked(before) or (before.superseded_by is not None and before.mutated)):
        return
    if before.step is Step.GATE and isinstance(event, (GateRefused, DeadlineReached, StepFailed)):
        return
    redirected = isinstance(event, RollbackRequested) and before.kind is RunKind.ROLLBACK
    if redirected and before.step not in _WRITING:
        return
    if isinstance(event, Superseded):
        _check_wish(before, event)
        rollout = before.kind is RunKind.ROLLOUT
        protected = event.protected and not event.failing and before.locked_out_until is None
        waiting = before.step in (None, Step.WAIT_HEALTHY)
        if not before.mutated or (waiting and not (protected and rollout)):
            return
    if isinstance(event, AbortRequested) and not before.mutated and before.kind in _ABORTABLE:
        return
    complain(f"{event} aborted {before.id} in {before.step}")


def _check_what_follows(
    before: Run, event: Event, after: Run, commands: tuple[Command, ...]
) -> None:
    """What an ending emits: quarantine, verification, what is restored, who is called."""
    kinds = [type(command) for command in commands]
    failed, rollout = after.phase is Phase.FAILED, after.kind is RunKind.ROLLOUT
    if kinds.count(StoreQuarantine) != (failed and rollout):
        complain(f"{after.id} ended {after.phase} and quarantines {kinds.count(StoreQuarantine)}")
    proven = after.phase is Phase.SUCCEEDED and after.kind is not RunKind.SYNC
    if kinds.count(RecordVerified) != proven:
        complain(f"{after.id} ended {after.phase}; verified: {kinds.count(RecordVerified)}")
    started = [command for command in commands if isinstance(command, StartRollback)]
    stalled = [command.reason for command in commands if isinstance(command, MarkStalled)]
    if len(started) > 1 or len(stalled) > 1:
        complain(f"{after.id} starts {started} and calls for {stalled}")
    if stalled and not after.mutated and after.kind is not RunKind.ROLLBACK:
        complain(f"{after.id} calls a person and has written nothing")
    if started:
        _check_rollback(before, event, after, started[0])
    if after.kind is RunKind.ROLLBACK and failed and stalled != [StallReason.ROLLBACK_FAILED]:
        complain(f"{after.id}, a rollback, failed and calls for {stalled}")
    if after.kind is not RunKind.ROLLOUT or not after.mutated:
        return
    if after.phase is Phase.ERRORED and stalled != [StallReason.UNREACHABLE]:
        complain(f"{after.id} was given up after it wrote and calls for {stalled}")
    asked = before.aborting_restore or before.redirect is not None
    if (failed or (asked and after.phase is Phase.ABORTED)) and len(started) + len(stalled) != 1:
        complain(f"{after.id} ended {after.phase}: started {started}, called for {stalled}")


def _check_rollback(before: Run, event: Event, after: Run, command: StartRollback) -> None:
    """Only after a write, never to the failed bytes, and never by a rollback of its own accord."""
    redirected = before.redirect is not None or isinstance(event, RollbackRequested)
    if after.kind is RunKind.ROLLBACK:
        again = command.again and after.phase is Phase.ERRORED
        if not redirected and (not again or command.target != before.restore_target):
            complain(f"{after.id}, a rollback, starts one to {command.target}")
        return
    # A Sync brings what the stage has, verified or not: a person may restore that as verified.
    may_repeat = redirected and before.kind is RunKind.SYNC
    if not before.mutated or (command.target.rendered == before.rendered and not may_repeat):
        complain(f"{after.id} restores {command.target}; it applied {before.rendered}")
    wanted = before.restore_target if before.redirect is None else before.redirect
    if command.target != wanted:
        complain(f"{after.id} restores {command.target}, not {wanted}")
    asked = before.aborting_restore or before.redirect is not None
    failed = after.phase is Phase.FAILED and after.kind is RunKind.ROLLOUT
    if not (asked and after.phase is Phase.ABORTED) and not failed:
        complain(f"{after.id} ended {after.phase} and nobody asked to restore")


def _check_calls(run: Run, commands: tuple[Command, ...]) -> None:
    """A run that goes on quarantines nothing, proves nothing and restores nothing."""
    for command in commands:
        if isinstance(command, (StoreQuarantine, RecordVerified, StartRollback)):
            complain(f"{run.id} goes on and commands {command}")
