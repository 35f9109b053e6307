"""While a cluster lets us ask nothing, a step's time stands still and a person is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.runs import LastLook, Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import ExecuteStep, MarkStalled, Notify, Trigger
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import DeadlineReached, StepErrored, StepPending, StepSucceeded
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.steps import AFTER_LOCKOUT, compute_standstill
from tests.support.runs import COMMAND, NOON, run_at

ROLLOUT, ROLLBACK = RunKind.ROLLOUT, RunKind.ROLLBACK
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
REFUSED = "one: the cluster refuses our credential"


def running(kind: RunKind, step: Step, left: timedelta = 5 * MINUTE) -> Run:
    """A run in a step that has so much time left at noon."""
    return replace(run_at(kind, step), step_deadline=NOON + left)


def refuse(run: Run, at: datetime, **more: bool) -> Transition:
    """An attempt that the cluster did not let us make."""
    assert run.command is not None
    event = StepErrored(at, run.command, "Credential", REFUSED, retry_after=MINUTE, locked_out=True)
    return decide(run, replace(event, **more))  # type: ignore[arg-type] # fields of the event by name


def refuse_for(run: Run, minutes: int, late: timedelta = timedelta(0)) -> tuple[Run, datetime]:
    """Refuse it each minute, each time a little late; when it is due next."""
    at = NOON
    for _ in range(minutes):
        run = refuse(run, at + late).run
        at += MINUTE + late
    return run, at


@pytest.mark.parametrize("late", [timedelta(0), SECOND])
def test_a_steps_time_stands_still_for_as_long_as_it_is_refused(late: timedelta) -> None:
    """After a weekend the step has what it had when that began, to the second."""
    run, due = refuse_for(running(ROLLOUT, Step.WAIT_HEALTHY), 60 * 48, late)

    assert run.live
    assert run.step_deadline == due + 5 * MINUTE - late
    assert run.attempt == 60 * 48 + 1
    assert decide(run, DeadlineReached(due)).ignored != ""


def test_an_attempt_that_comes_early_takes_no_time_either() -> None:
    """A new file hastens it: what was given for the rest of the minute is taken back."""
    first = refuse(running(ROLLOUT, Step.VALIDATE), NOON).run
    assert first.step_deadline == NOON + 6 * MINUTE
    second = refuse(first, NOON + 10 * SECOND).run
    assert second.step_deadline == NOON + 10 * SECOND + 6 * MINUTE


def test_a_step_whose_time_was_nearly_over_has_time_for_one_more_look() -> None:
    """Otherwise its deadline would end it before anything was asked again."""
    run = refuse(running(ROLLOUT, Step.APPLY, SECOND), NOON).run
    assert run.step_deadline == NOON + MINUTE + AFTER_LOCKOUT
    without = replace(run, step_deadline=None, locked_out_until=None)
    assert compute_standstill(without, NOON, NOON + MINUTE) == NOON + 2 * MINUTE + timedelta(
        minutes=1
    )


def test_a_look_that_could_not_be_made_waits_in_the_same_way() -> None:
    """Certify and Verify keep their place and answer that they wait."""
    event = StepPending(NOON, COMMAND, MINUTE, LastLook.UNKNOWN, "here", REFUSED, locked_out=True)
    after = decide(running(ROLLBACK, Step.CERTIFY), event)
    assert after.run.step_deadline == NOON + 6 * MINUTE
    assert (after.run.cursor, after.run.waiting_for) == ("here", REFUSED)
    assert (after.run.lockouts, after.run.locked_out_until) == (1, NOON + MINUTE)
    [command] = after.commands
    assert isinstance(command, ExecuteStep)
    assert command.delay == MINUTE


@pytest.mark.parametrize(
    "kind,step,subject",
    [
        (ROLLOUT, Step.WAIT_HEALTHY, "r-7"),
        (ROLLBACK, Step.APPLY, "the rollback to r-7"),
        (RunKind.SYNC, Step.APPLY, "applying r-7 again"),
        (ROLLOUT, Step.VALIDATE, "r-7"),
    ],
)
def test_a_person_is_called_at_the_second_refusal_in_a_row(
    kind: RunKind, step: Step, subject: str
) -> None:
    """Once, with what to do; the stage is stalled if something was written."""
    first = refuse(running(kind, step), NOON)
    second = refuse(first.run, NOON + MINUTE)
    third = refuse(second.run, NOON + 2 * MINUTE)
    message = (
        f"shop/production: {subject} waits in {step.value}: {REFUSED}; it is tried again each "
        "minute, and at once when a file of the cluster's credential changes"
    )
    told = Notify(first.run.id, Trigger.RUN_ERRORED, message)
    stalled = MarkStalled(first.run.id, StallReason.UNREACHABLE, message)

    assert second.commands[1:] == ((stalled, told) if first.run.mutated else (told,))
    for transition in (first, second, third):
        assert isinstance(transition.commands[0], ExecuteStep)
    assert len(first.commands) == len(third.commands) == 1


def test_what_was_let_in_between_begins_the_count_anew() -> None:
    """Another trouble, or a look, says that the credential was taken."""
    run = refuse(running(ROLLOUT, Step.WAIT_HEALTHY), NOON).run
    assert run.command is not None
    outcomes = (
        StepPending(NOON, run.command, SECOND, LastLook.NOT_HEALTHY),
        StepErrored(NOON, run.command, "Unavailable", "503"),
        StepSucceeded(NOON, run.command),
    )
    for outcome in outcomes:
        after = decide(run, outcome).run
        assert (after.lockouts, after.locked_out_until) == (0, None)
        if after.step is run.step:
            assert after.step_deadline == run.step_deadline
            assert len(refuse(after, NOON + MINUTE).commands) == 1


def test_refusals_spend_no_attempts_and_a_hopeless_error_ends_it_all_the_same() -> None:
    """Attempts are bounded for other errors; one that no retry can help ends the run."""
    run = replace(running(ROLLOUT, Step.APPLY), attempt=5000)
    assert refuse(run, NOON).run.phase is Phase.RUNNING
    assert refuse(run, NOON, retryable=False).run.phase is Phase.ERRORED


@pytest.mark.parametrize("kind", [ROLLOUT, ROLLBACK])
def test_the_end_of_a_refused_steps_time_is_no_verdict(kind: RunKind) -> None:
    """Nothing comes any more, as when no process runs: it ends Errored whatever it saw before."""
    run = replace(running(kind, Step.WAIT_HEALTHY), last_look=LastLook.NOT_HEALTHY, looked_at=NOON)
    after = refuse(run, NOON).run
    assert after.step_deadline is not None
    assert decide(after, DeadlineReached(after.step_deadline)).run.phase is Phase.ERRORED
