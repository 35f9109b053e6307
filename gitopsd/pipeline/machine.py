"""The machine: `decide(run, event)` is the deploy pipeline.

Theory of operation
-------------------
A run is Pending, Running in one step, or ended. Each time it is let into a step it commands one
`ExecuteStep` and remembers its id in ``command``: that is the only work outstanding. Whatever
does the work answers with one outcome (`StepSucceeded`, `StepPending`, `StepErrored`,
`StepFailed`) that names the command. An outcome that names another command is stale: it comes
from work that was done twice, or from before something else moved the run, and changes nothing.
So every effect may be tried any number of times, and a crash between command and outcome costs a
repetition, never a decision.

Everything else comes from outside the work: time (`DeadlineReached`), people (`AbortRequested`,
`GateRefused`, `RollbackRequested`), other runs of the stage (`Superseded`, `AppliedChanged`). A
run with writes in flight cannot be ended from outside at once, for half a batch may be in the
cluster: it is marked (``superseded_by``, ``aborting``, ``redirect``) and *closes*, that is, it
ends with the next outcome whatever that says, or at its deadline, whichever comes first. What may
finish otherwise, a Rollout from Verify on and a Rollback, closes as well while it is locked out.

Deadlines are set when a step is entered. Three things extend them. When no approval is missing at
the Gate, the deadline for approving gives way to the Gate's own, once. A step that waits may learn
how long what it runs was promised, waves and hooks with times of their own, and is given that: one
number, however often it is told. And while a cluster lets us ask nothing a step's time stands still
(`lockouts`): each such attempt moves the deadline on by as long as nothing is asked, so that the
run waits for the person who is called at the second one, and ends by its own deadline when the
attempts end. They are not counted as attempts. One thing stops them: a freeze or a shut window that
has a run wait, at its Gate or before Apply, from `ClockStopped` to `ClockStarted` (`clocks`).

A deadline is judged by the last look: *not healthy* is a verdict (Failed, DeadlineExceeded),
everything else is none (Errored, Unreachable). That holds for a last look that said *healthy*, too:
in WaitHealthy it cannot stand, for a healthy look ends the step; in Certify it means that looking
stopped, and a release is neither certified nor condemned by looks that were not made. An attempt
that errored counts as a look that saw nothing, so an API server that goes away after a not-healthy
look never turns into a verdict.

`table.ROWS` says what can happen where; without a row an event is ignored with a reason. What
each ending emits is in `endings`. Ids of commands are made of the run's id and version, so the
same history makes the same ids.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

from gitopsd.domain.runs import (
    AbortReason,
    CommandId,
    Failure,
    LastLook,
    Phase,
    Run,
    RunKind,
    Step,
)
from gitopsd.pipeline.clocks import start_clock, stop_clock
from gitopsd.pipeline.commands import ExecuteStep
from gitopsd.pipeline.endings import (
    Transition,
    abort,
    call_locked_out,
    end_closing,
    fail,
    give_up,
    succeed,
    succeed_unchanged,
)
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
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
from gitopsd.pipeline.lockouts import CALLED_AT, is_locked_out, let_in, lock_out
from gitopsd.pipeline.run_words import say_whereabouts, tell_start
from gitopsd.pipeline.steps import (
    DEFAULT_TIMEOUTS,
    MUTATING_STEPS,
    compute_backoff,
    first_step,
    grant_time,
    next_step,
    timeout_of,
)
from gitopsd.pipeline.table import Effect, find_row, is_closing

__all__ = ["Transition", "decide"]

OLD_LOOK = timedelta(seconds=90)
"""A step that waits reports each 45 s; a look that is twice as old says nothing of now."""

_Outcome: TypeAlias = StepSucceeded | StepPending | StepErrored | StepFailed
_Circumstance: TypeAlias = (
    RunAdmitted
    | DeadlineReached
    | GateRefused
    | ApprovalComplete
    | AppliedChanged
    | ClockStopped
    | ClockStarted
)
_Wish: TypeAlias = Superseded | AbortRequested | RollbackRequested


def decide(run: Run, event: Event) -> Transition:
    """Decide what an event does to a run.

    Total and pure: every pair has an answer, the same each time.

    Args:
        run: The run as stored.
        event: What happened; it carries its own time.

    Returns:
        The run after it, at ``version + 1``, with the commands that follow; or the same run and
        the reason why the event was ignored.
    """
    if run.phase.terminal:
        return _ignore(run, f"{run.id} has ended: {run.phase.value}")
    if isinstance(event, _Outcome) and event.command != run.command:
        return _ignore(run, f"stale: it answers {event.command}, outstanding is {run.command}")
    row = find_row(run, event)
    if row is None:
        return _ignore(run, f"{type(event).__name__} changes nothing for {say_whereabouts(run)}")
    if isinstance(event, DeadlineReached) and not _is_over(run, event.at):
        return _ignore(run, f"the deadline is not reached for {say_whereabouts(run)}")
    if row.effect is Effect.END_CLOSING:
        return end_closing(run, event.at, run.failure or _superseded_by(run, ""))
    if isinstance(event, _Outcome):
        return _report(run, event)
    if isinstance(event, _Circumstance):
        return _meet(run, event)
    return _obey(run, event, row.effect)


def _report(run: Run, event: _Outcome) -> Transition:
    """Go by what the outstanding command came to."""
    step = run.step or first_step(run.kind)
    if isinstance(event, StepSucceeded):
        return _advance(run, step, event)
    if isinstance(event, StepPending):
        looked = replace(
            grant_time(run, step, event.lasts),
            last_look=event.last_look,
            looked_at=event.at,
            failing=event.failing,
            cursor=event.cursor,
            waiting_for=event.message,
        )
        if event.locked_out:
            return _wait_locked_out(looked, step, event.at, event.retry_after)
        return _command(let_in(looked), step, event.retry_after)
    if isinstance(event, StepErrored):
        return _retry(run, step, event)
    if step is Step.GATE:
        return _reject(run, event.at, event.message)
    if event.unwritten and step is Step.PREPARE:
        run = replace(run, mutated=False)
    return fail(run, event.at, Failure(event.reason, event.message, step))


def _meet(run: Run, event: _Circumstance) -> Transition:
    """Go by what is the case, whoever wished it."""
    if isinstance(event, RunAdmitted):
        timeouts = event.timeouts or run.timeouts
        admitted = replace(run, phase=Phase.RUNNING, started_at=event.at, timeouts=timeouts)
        entered = _enter(admitted, first_step(run.kind), event.at)
        return replace(entered, commands=(*entered.commands, tell_start(run)))
    if isinstance(event, DeadlineReached):
        return _expire(run, event.at) if run.step is Step.GATE else _judge(run, event.at)
    if isinstance(event, GateRefused):
        return _reject(run, event.at, event.reason)
    if isinstance(event, ApprovalComplete):
        return _extend(run, event.at)
    if isinstance(event, ClockStopped | ClockStarted):
        return _keep_clock(run, event)
    unplanned = replace(run, plan=None, plan_empty=False, plan_base=None)
    return _enter(unplanned, Step.VALIDATE, event.at)


def _obey(run: Run, event: _Wish, do: Effect) -> Transition:
    """Go by what a person, or a newer release, wants of the run."""
    if isinstance(event, Superseded):
        return _supersede(run, event, do)
    if isinstance(event, AbortRequested):
        return _abort(run, event, do)
    return _redirect(run, event, do)


def _enter(run: Run, step: Step, at: datetime) -> Transition:
    """Begin a step: its first attempt, its own deadline, nothing seen yet."""
    version = run.version + 1
    command = CommandId(f"{run.id}.{version}")
    after = replace(
        run,
        step=step,
        command=command,
        version=version,
        attempt=1,
        step_deadline=at + timeout_of(run, step),
        mutated=run.mutated or step in MUTATING_STEPS,
        last_look=LastLook.NONE,
        looked_at=None,
        failing=False,
        cursor="",
        waiting_for="",
        lockouts=0,
        locked_out_until=None,
        approved=False,
        clock_stopped_at=None,
    )
    return Transition(after, (ExecuteStep(command, run.id, step, 1, timedelta(0)),))


def _command(run: Run, step: Step, delay: timedelta) -> Transition:
    """Command a step anew; the id is made of the version, so the earlier command turns stale."""
    version = run.version + 1
    command = CommandId(f"{run.id}.{version}")
    after = replace(run, step=step, command=command, version=version)
    return Transition(after, (ExecuteStep(command, run.id, step, run.attempt, delay),))


def _advance(run: Run, step: Step, event: StepSucceeded) -> Transition:
    if step is Step.RENDER:
        run = replace(run, rendered=event.rendered)
    elif step is Step.DIFF:
        run = replace(run, plan=event.plan, plan_empty=event.plan_empty, plan_base=event.plan_base)
        if event.plan_empty and event.applied_verified:
            return succeed_unchanged(run, event.at)
    elif step is Step.GATE:
        run = replace(run, restore_target=event.restore, no_restore=event.no_restore)
    following = next_step(run.kind, step)
    return succeed(run, event.at) if following is None else _enter(run, following, event.at)


def _retry(run: Run, step: Step, event: StepErrored) -> Transition:
    spent = run.attempt >= event.limit and not event.locked_out
    if not event.retryable or spent:
        return give_up(run, event.at, Failure(event.reason, event.message, step))
    blind = replace(
        run,
        last_look=LastLook.UNKNOWN,
        failing=False,
        cursor=event.cursor or run.cursor,
        waiting_for=event.message,
    )
    if event.locked_out:
        delay = compute_backoff(run.attempt + run.lockouts, event.retry_after)
        return _wait_locked_out(blind, step, event.at, delay)
    tried = replace(let_in(blind), attempt=run.attempt + 1)
    return _command(tried, step, compute_backoff(run.attempt, event.retry_after))


def _wait_locked_out(run: Run, step: Step, at: datetime, delay: timedelta) -> Transition:
    """Let a step's time stand still, and call a person when it is no passing moment."""
    waiting = lock_out(run, at, at + delay)
    commanded = _command(waiting, step, delay)
    told = call_locked_out(commanded.run) if waiting.lockouts == CALLED_AT else ()
    return replace(commanded, commands=(*commanded.commands, *told))


def _is_over(run: Run, at: datetime) -> bool:
    if run.step_deadline is None or run.clock_stopped_at is not None:
        return False
    return at >= run.step_deadline


def _is_recent(run: Run, at: datetime) -> bool:
    """A look from before a time without sight, such as a restart, condemns nobody."""
    return run.looked_at is None or at - run.looked_at <= OLD_LOOK


def _judge(run: Run, at: datetime) -> Transition:
    last = f": {run.waiting_for}" if run.waiting_for else ""
    if run.last_look is LastLook.NOT_HEALTHY and _is_recent(run, at):
        message = f"its time is over and the last look was not healthy{last}"
        return fail(run, at, Failure("DeadlineExceeded", message, run.step))
    message = f"its time is over and there is no sight of it{last}"
    return give_up(run, at, Failure("Unreachable", message, run.step))


def _extend(run: Run, at: datetime) -> Transition:
    """Give the other gates a time of their own once people have agreed; it is never shortened."""
    if run.approved:
        return _ignore(run, "its approvals were complete before")
    own = at + DEFAULT_TIMEOUTS[Step.GATE]
    return _mark(replace(run, approved=True, step_deadline=max(own, run.step_deadline or own)))


def _keep_clock(run: Run, event: ClockStopped | ClockStarted) -> Transition:
    stands = run.clock_stopped_at is not None
    if isinstance(event, ClockStopped):
        if stands:
            return _ignore(run, "its deadline stands still already")
        return _mark(stop_clock(run, event.at))
    return (
        _mark(start_clock(run, event.at)) if stands else _ignore(run, "its deadline counts already")
    )


def _expire(run: Run, at: datetime) -> Transition:
    last = f": {run.waiting_for}" if run.waiting_for else ""
    message = f"its gates did not open in time{last}"
    reason = AbortReason.OVERDUE if run.approved else AbortReason.EXPIRED
    return abort(run, at, Failure(reason.value, message, run.step))


def _reject(run: Run, at: datetime, why: str) -> Transition:
    return abort(run, at, Failure(AbortReason.REJECTED.value, why, run.step))


def _is_left_alone(run: Run) -> bool:
    """A person's other target stands; a Rollback ends for no less, unless it is locked out."""
    return run.redirect is not None or (run.kind is RunKind.ROLLBACK and not is_locked_out(run))


def _supersede(run: Run, event: Superseded, do: Effect) -> Transition:
    if _is_left_alone(run):
        return _ignore(run, "a rollback is never superseded while it can go on")
    if run.aborting:
        return _ignore(run, "it is being aborted")
    if run.superseded_by == event.by:
        return _ignore(run, f"it knows that {event.by} takes over")
    if do is Effect.REPLACE and event.vote_standing:
        return _ignore(run, "a vote has been given for it")
    protected = event.protected and not event.failing and not is_locked_out(run)
    if do is Effect.YIELD and protected:
        return _ignore(run, "two before it were superseded here, and it shows no failing signal")
    taken_over = replace(run, superseded_by=event.by)
    if do is Effect.NOTE and not is_closing(taken_over):
        return _mark(taken_over)
    failure = _superseded_by(taken_over, event.by_alias)
    if do in (Effect.NOTE, Effect.CLOSE):
        return _mark(replace(taken_over, failure=failure))
    return abort(taken_over, event.at, failure)


def _abort(run: Run, event: AbortRequested, do: Effect) -> Transition:
    tail = f": {event.message}" if event.message else ""
    failure = Failure(event.reason.value, f"aborted by {event.by}{tail}", run.step)
    if do is Effect.ABORT:
        return abort(replace(run, ended_by=event.by), event.at, failure)
    if _is_left_alone(run):
        return _ignore(run, "a rollback is redirected, not aborted, while it can go on")
    if event.reason is AbortReason.STAGE_REMOVED:
        return _ignore(run, "it has begun to write, so it finishes before its stage is retired")
    restore = event.restore and run.kind is RunKind.ROLLOUT
    if run.aborting and (run.aborting_restore or not restore):
        return _ignore(run, "it is being aborted")
    return _mark(
        replace(
            run,
            aborting=True,
            aborting_restore=restore,
            ended_by=event.by,
            failure=failure,
        )
    )


def _redirect(run: Run, event: RollbackRequested, do: Effect) -> Transition:
    message = f"redirected by {event.by} to {event.target.release}"
    failure = Failure(AbortReason.REDIRECTED.value, message, run.step)
    redirected = replace(run, redirect=event.target, ended_by=event.by, failure=failure)
    if do is Effect.REDIRECT:
        return end_closing(redirected, event.at, failure)
    return _mark(redirected)


def _mark(run: Run) -> Transition:
    """Remember something; the outstanding command stays what it is."""
    return Transition(replace(run, version=run.version + 1))


def _superseded_by(run: Run, alias: str) -> Failure:
    newer = alias or run.superseded_by
    return Failure(AbortReason.SUPERSEDED.value, f"superseded by {newer}", run.step)


def _ignore(run: Run, reason: str) -> Transition:
    return Transition(run, ignored=reason)
