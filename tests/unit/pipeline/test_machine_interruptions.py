"""What gates, newer releases and people do to a run, to the letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.runs import (
    AbortReason,
    CommandId,
    Failure,
    Phase,
    RunId,
    RunKind,
    Step,
)
from gitopsd.pipeline.commands import ExecuteStep, Notify, Reconsider, StartRollback, Trigger
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    DeadlineReached,
    GateRefused,
    RollbackRequested,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.machine import decide
from tests.support.runs import BYTES, COMMAND, NEWER, NOON, OTHER_TARGET, TARGET, run_at

ROLLOUT, ROLLBACK, SYNC = RunKind.ROLLOUT, RunKind.ROLLBACK, RunKind.SYNC
NEXT_COMMAND = CommandId("run-7.4")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def aborted(transition: Transition, reason: AbortReason, message: str, step: Step | None) -> None:
    """Expects a run that ended Aborted at noon with a failure, and people told of it."""
    run = transition.run
    assert run.phase is Phase.ABORTED
    assert run.failure == Failure(reason.value, message, step)
    assert run.command is None
    assert run.step_deadline is None
    assert run.ended_at == NOON
    subject = {
        ROLLOUT: "r-7",
        ROLLBACK: "the rollback to r-7",
        SYNC: "applying r-7 again",
    }[run.kind]
    assert transition.commands[-2:] == (
        Reconsider(run.id),
        Notify(run.id, Trigger.RUN_ABORTED, f"shop/production: {subject} ended: {message}"),
    )


def test_a_waiting_run_is_replaced_by_a_newer_one() -> None:
    """It ends, says by what, and remembers by which run."""
    run = run_at(ROLLOUT, Step.GATE)
    transition = decide(run, Superseded(NOON, NEWER, by_alias="calm-heron"))
    aborted(transition, AbortReason.SUPERSEDED, "superseded by calm-heron", Step.GATE)
    assert transition.run.superseded_by == NEWER
    unnamed = decide(run, Superseded(NOON, NEWER))
    aborted(unnamed, AbortReason.SUPERSEDED, "superseded by run-8", Step.GATE)


def test_a_waiting_run_that_got_a_vote_stays() -> None:
    """A vote keeps the run until it is decided."""
    run = run_at(ROLLOUT, Step.GATE)
    transition = decide(run, Superseded(NOON, NEWER, vote_standing=True))
    assert transition == Transition(run, ignored="a vote has been given for it")


def test_a_run_that_was_protected_is_superseded_only_while_it_fails() -> None:
    """After two in a row the third may wait for health, unless it shows a failing signal."""
    run = run_at(ROLLOUT, Step.WAIT_HEALTHY)
    protected = Superseded(NOON, NEWER, protected=True)
    assert decide(run, protected) == Transition(
        run, ignored="two before it were superseded here, and it shows no failing signal"
    )
    failing = decide(run, replace(protected, failing=True))
    aborted(failing, AbortReason.SUPERSEDED, "superseded by run-8", Step.WAIT_HEALTHY)
    unprotected = decide(run, Superseded(NOON, NEWER))
    aborted(unprotected, AbortReason.SUPERSEDED, "superseded by run-8", Step.WAIT_HEALTHY)


def test_a_batch_in_flight_ends_before_the_run_does() -> None:
    """In Prepare and Apply the run is marked, and its command stays outstanding."""
    run = run_at(ROLLOUT, Step.APPLY)
    marked = decide(run, Superseded(NOON, NEWER, by_alias="calm-heron"))
    assert marked == Transition(
        replace(
            run,
            superseded_by=NEWER,
            failure=Failure("Superseded", "superseded by calm-heron", Step.APPLY),
            version=4,
        )
    )
    assert marked.run.command == COMMAND
    done = decide(marked.run, StepSucceeded(NOON, COMMAND))
    aborted(done, AbortReason.SUPERSEDED, "superseded by calm-heron", Step.APPLY)


def test_a_taken_over_run_without_words_still_says_by_what() -> None:
    """A run stored without a failure ends with the id of the run that took over."""
    run = replace(run_at(ROLLOUT, Step.APPLY), superseded_by=NEWER)
    done = decide(run, StepSucceeded(NOON, COMMAND))
    aborted(done, AbortReason.SUPERSEDED, "superseded by run-8", Step.APPLY)


def test_a_nearly_proven_run_finishes_though_superseded() -> None:
    """From Verify on the run only notes who follows, and carries no failure."""
    run = run_at(ROLLOUT, Step.VERIFY)
    noted = decide(run, Superseded(NOON, NEWER))
    assert noted == Transition(replace(run, superseded_by=NEWER, version=4))
    on = decide(noted.run, StepSucceeded(NOON, COMMAND)).run
    assert (on.step, on.superseded_by, on.failure) == (Step.PRUNE, NEWER, None)


def test_the_same_successor_is_noted_once_and_a_newer_one_again() -> None:
    """A repeated notice changes nothing; another successor takes the place of the first."""
    for step in (Step.APPLY, Step.VERIFY):
        run = decide(run_at(ROLLOUT, step), Superseded(NOON, NEWER)).run
        again = decide(run, Superseded(NOON, NEWER))
        assert again == Transition(run, ignored="it knows that run-8 takes over")
        newest = decide(run, Superseded(NOON, RunId("run-9"))).run
        assert newest.superseded_by == "run-9"
        assert newest.version == 5


def test_an_abort_before_any_write_ends_the_run_at_once() -> None:
    """It ends with the reason that was given, by whom and in whose words."""
    run = run_at(ROLLOUT, Step.VALIDATE)
    asked = decide(run, AbortRequested(NOON, "maria"))
    aborted(asked, AbortReason.REQUESTED, "aborted by maria", Step.VALIDATE)
    assert asked.run.ended_by == "maria"
    event = AbortRequested(
        NOON, "gitopsd", reason=AbortReason.QUARANTINED, message="its image failed here"
    )
    held = decide(run, event)
    text = "aborted by gitopsd: its image failed here"
    aborted(held, AbortReason.QUARANTINED, text, Step.VALIDATE)
    pending = decide(run_at(SYNC, Phase.PENDING), AbortRequested(NOON, "maria"))
    aborted(pending, AbortReason.REQUESTED, "aborted by maria", None)


def test_an_abort_after_a_write_waits_for_the_work_in_flight() -> None:
    """The run is marked; the next outcome ends it, and restores only if that was asked for."""
    run = run_at(ROLLOUT, Step.WAIT_HEALTHY)
    marked = decide(run, AbortRequested(NOON, "maria", message="wrong day"))
    failure = Failure("Requested", "aborted by maria: wrong day", Step.WAIT_HEALTHY)
    assert marked == Transition(
        replace(run, aborting=True, ended_by="maria", failure=failure, version=4)
    )
    done = decide(marked.run, StepPending(NOON, COMMAND, SECOND))
    aborted(done, AbortReason.REQUESTED, failure.message, Step.WAIT_HEALTHY)
    assert len(done.commands) == 2
    restoring = decide(marked.run, AbortRequested(NOON, "ben", restore=True)).run
    assert (restoring.aborting_restore, restoring.ended_by) == (True, "ben")
    done = decide(restoring, StepPending(NOON, COMMAND, SECOND))
    aborted(done, AbortReason.REQUESTED, "aborted by ben", Step.WAIT_HEALTHY)
    assert done.commands[0] == StartRollback(run.id, TARGET, requested_by="ben")


def test_a_run_is_asked_to_abort_once() -> None:
    """A second request changes nothing unless it asks for more; nor does a successor."""
    run = decide(run_at(ROLLOUT, Step.APPLY), AbortRequested(NOON, "maria")).run
    ignored = Transition(run, ignored="it is being aborted")
    assert decide(run, AbortRequested(NOON, "maria")) == ignored
    assert decide(run, Superseded(NOON, NEWER)) == ignored
    restoring = decide(run, AbortRequested(NOON, "ben", restore=True)).run
    again = AbortRequested(NOON, "maria", restore=True)
    assert decide(restoring, again) == Transition(restoring, ignored="it is being aborted")
    waiting = decide(run_at(SYNC, Step.WAIT_HEALTHY), AbortRequested(NOON, "maria")).run
    assert decide(waiting, Superseded(NOON, NEWER)).run is waiting


def test_a_removed_stage_lets_its_front_run_finish() -> None:
    """What has begun to write goes on to its own end."""
    run = run_at(ROLLOUT, Step.PREPARE)
    event = AbortRequested(NOON, "gitopsd", reason=AbortReason.STAGE_REMOVED)
    assert decide(run, event) == Transition(
        run, ignored="it has begun to write, so it finishes before its stage is retired"
    )


def test_an_abort_overrides_a_successor() -> None:
    """A person who wants the old state back gets it, though a newer release stood ready."""
    run = decide(run_at(ROLLOUT, Step.APPLY), Superseded(NOON, NEWER)).run
    marked = decide(run, AbortRequested(NOON, "maria", restore=True)).run
    done = decide(marked, StepSucceeded(NOON, COMMAND))
    assert done.commands[0] == StartRollback(run.id, TARGET, requested_by="maria")


def test_a_rollback_is_redirected_when_its_batch_reports() -> None:
    """The newest wish counts, and the new rollback carries who asked for it."""
    run = run_at(ROLLBACK, Step.APPLY)
    first = decide(run, RollbackRequested(NOON, "maria", TARGET)).run
    marked = decide(first, RollbackRequested(NOON, "ben", OTHER_TARGET))
    failure = Failure("Redirected", "redirected by ben to r-2", Step.APPLY)
    assert marked == Transition(
        replace(run, redirect=OTHER_TARGET, ended_by="ben", failure=failure, version=5)
    )
    done = decide(marked.run, StepFailed(NOON, COMMAND, "Denied", "quota is used up"))
    aborted(done, AbortReason.REDIRECTED, failure.message, Step.APPLY)
    assert done.commands[0] == StartRollback(run.id, OTHER_TARGET, requested_by="ben")
    assert len(done.commands) == 3


def test_a_rollback_with_nothing_in_flight_is_redirected_at_once() -> None:
    """While it waits or looks, there is no batch to wait for."""
    run = run_at(ROLLBACK, Step.CERTIFY)
    done = decide(run, RollbackRequested(NOON, "maria", OTHER_TARGET))
    aborted(done, AbortReason.REDIRECTED, "redirected by maria to r-2", Step.CERTIFY)
    assert done.run.redirect == OTHER_TARGET
    assert done.commands[0] == StartRollback(run.id, OTHER_TARGET, requested_by="maria")


def test_a_gate_that_stays_closed_expires() -> None:
    """The end says what the run waited for."""
    run = replace(run_at(ROLLOUT, Step.GATE), waiting_for="0 of 1 approvals")
    at = NOON + MINUTE
    after = decide(run, DeadlineReached(at)).run
    assert after.failure == Failure(
        "Expired", "its gates did not open in time: 0 of 1 approvals", Step.GATE
    )
    quiet = decide(replace(run, waiting_for=""), DeadlineReached(at)).run
    assert quiet.failure == Failure("Expired", "its gates did not open in time", Step.GATE)


def test_a_gate_that_lacks_no_approval_gets_a_time_of_its_own() -> None:
    """A week from then, or what it had if that is longer; once, and its end is no expiry."""
    run = run_at(ROLLOUT, Step.GATE)
    at = NOON + SECOND
    extended = decide(run, ApprovalComplete(at))
    week = at + timedelta(days=7)
    assert extended.run == replace(run, approved=True, step_deadline=week, version=4)
    assert extended.commands == ()
    again = decide(extended.run, ApprovalComplete(at + MINUTE))
    assert again.run is extended.run
    assert again.ignored == "its approvals were complete before"
    assert decide(extended.run, DeadlineReached(NOON + MINUTE)).ignored
    aborted(
        decide(replace(run, approved=True, step_deadline=NOON), DeadlineReached(NOON)),
        AbortReason.OVERDUE,
        "its gates did not open in time",
        Step.GATE,
    )
    longer = replace(run, step_deadline=NOON + timedelta(days=30))
    assert decide(longer, ApprovalComplete(at)).run.step_deadline == longer.step_deadline


def test_what_is_planned_anew_is_approved_anew() -> None:
    """The time for approving counts again from the next time at the Gate."""
    run = replace(run_at(ROLLOUT, Step.GATE), approved=True)
    assert not decide(run, AppliedChanged(NOON)).run.approved


def test_a_refusal_ends_the_run_with_its_reason() -> None:
    """GateRefused, and a verdict at the Gate, end the run Rejected."""
    run = run_at(ROLLOUT, Step.GATE)
    message = "approval: rejected by maria"
    aborted(decide(run, GateRefused(NOON, message)), AbortReason.REJECTED, message, Step.GATE)
    aborted(
        decide(run, StepFailed(NOON, COMMAND, "Refused", message)),
        AbortReason.REJECTED,
        message,
        Step.GATE,
    )


@pytest.mark.parametrize("step", [Step.VALIDATE, Step.DIFF, Step.GATE])
def test_a_changed_applied_set_takes_the_plan_away(step: Step) -> None:
    """The run is validated and diffed anew; its rendered set stays."""
    run = replace(run_at(ROLLOUT, step), plan_empty=True, plan_base=BYTES)
    transition = decide(run, AppliedChanged(NOON))
    after = transition.run
    assert (after.step, after.plan, after.plan_empty) == (Step.VALIDATE, None, False)
    assert (after.rendered, after.plan_base) == (BYTES, None)
    assert after.step_deadline == NOON + 10 * MINUTE
    assert transition.commands == (
        ExecuteStep(NEXT_COMMAND, run.id, Step.VALIDATE, 1, timedelta(0)),
    )
