"""While a cluster lets us ask nothing, a step's time stands still and a person is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.runs import AbortReason, LastLook, Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.clocks import start_clock
from gitopsd.pipeline.commands import ExecuteStep, MarkStalled, Notify, Trigger
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import (
    AbortRequested,
    ClockStarted,
    ClockStopped,
    DeadlineReached,
    RollbackRequested,
    StepErrored,
    StepPending,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.lockouts import AFTER_LOCKOUT, compute_standstill, is_locked_out
from gitopsd.pipeline.machine import decide
from tests.support.runs import COMMAND, NEWER, NOON, OTHER_TARGET, run_at

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
    assert run.attempt == 1
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
    without = replace(run, step_deadline=None, locked_out_until=None, lockouts=0)
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
def test_a_person_is_called_at_the_second_refusal(kind: RunKind, step: Step, subject: str) -> None:
    """Once, with what to do, in any case; the stage is stalled if something was written."""
    first = refuse(running(kind, step), NOON)
    second = refuse(first.run, NOON + MINUTE)
    third = refuse(second.run, NOON + 2 * MINUTE)
    message = (
        f"shop/production: {subject} waits in {step.value}: {REFUSED}; replace the cluster's "
        "credential file, or its CA, and it goes on at once; to end it instead: gitopsd abort "
        "run-7 --leave"
    )
    told = Notify(first.run.id, Trigger.STALLED, message)
    stalled = MarkStalled(first.run.id, StallReason.UNREACHABLE, message)

    assert second.commands[1:] == ((stalled, told) if first.run.mutated else (told,))
    for transition in (first, second, third):
        assert isinstance(transition.commands[0], ExecuteStep)
    assert len(first.commands) == len(third.commands) == 1


def err(run: Run, at: datetime, limit: int = 1000) -> Transition:
    """An attempt that found the server in other trouble."""
    assert run.command is not None
    return decide(run, StepErrored(at, run.command, "Unavailable", "503", limit=limit))


def calls(transition: Transition) -> list[Notify]:
    """What people are told."""
    return [command for command in transition.commands if isinstance(command, Notify)]


def test_what_was_let_in_between_lets_time_pass() -> None:
    """Another trouble, or a look, is the step's own time; a person is called once all the same."""
    run = refuse(running(ROLLOUT, Step.WAIT_HEALTHY), NOON).run
    assert run.command is not None
    outcomes = (
        StepPending(NOON, run.command, SECOND, LastLook.NOT_HEALTHY),
        StepErrored(NOON, run.command, "Unavailable", "503"),
    )
    for outcome in outcomes:
        after = decide(run, outcome).run
        assert (after.lockouts, after.locked_out_until) == (1, None)
        assert after.step_deadline == run.step_deadline
        again = refuse(after, NOON + MINUTE)
        assert again.run.step_deadline == NOON + 7 * MINUTE
        assert len(calls(again)) == 1
    following = decide(run, StepSucceeded(NOON, run.command)).run
    assert (following.step, following.lockouts) == (Step.VERIFY, 0)


def test_refusals_that_alternate_with_other_trouble_end_by_the_deadline() -> None:
    """One server of two refuses us and the other is ill: one call, and then no verdict."""
    run, at, told = running(ROLLOUT, Step.WAIT_HEALTHY), NOON, 0
    while run.live:
        refused = refuse(run, at)
        told += len(calls(refused))
        at += MINUTE
        errored = err(refused.run, at)
        [command] = errored.commands
        assert isinstance(command, ExecuteStep)
        at, run = at + command.delay, errored.run
        assert at < NOON + timedelta(hours=1), "it never ends"
        run = decide(run, DeadlineReached(at)).run
    assert run.phase is Phase.ERRORED
    assert told == 1


def test_pairs_of_refusals_call_once_for_a_step() -> None:
    """However often the credential is taken in between; the next step calls again."""
    run, told = running(ROLLBACK, Step.VERIFY), []
    for minute in range(4):
        for _ in range(2):
            refused = refuse(run, NOON + minute * MINUTE)
            told += calls(refused)
            run = refused.run
        run = err(run, NOON + minute * MINUTE).run
    assert len(told) == 1
    assert run.command is not None
    run = decide(run, StepSucceeded(NOON, run.command)).run
    assert len(calls(refuse(refuse(run, NOON).run, NOON))) == 1


def test_refusals_spend_no_attempts_and_a_hopeless_error_ends_it_all_the_same() -> None:
    """Attempts are bounded for other errors; one that no retry can help ends the run."""
    run = replace(running(ROLLOUT, Step.APPLY), attempt=5000)
    assert refuse(run, NOON).run.phase is Phase.RUNNING
    assert refuse(run, NOON, retryable=False).run.phase is Phase.ERRORED


def test_an_ordinary_error_after_a_thousand_refusals_is_the_first() -> None:
    """A night of refusals leaves it all its attempts, and those of a bug of gitopsd's too."""
    run, at = refuse_for(running(ROLLOUT, Step.APPLY), 1000)
    for attempt in (2, 3):
        run = err(run, at, limit=3).run
        assert (run.phase, run.attempt) == (Phase.RUNNING, attempt)
        run = refuse(run, at).run
    assert err(run, at, limit=3).run.phase is Phase.ERRORED


def test_refusals_that_say_no_time_are_asked_more_and_more_rarely() -> None:
    """They are not counted as attempts, but they back off like them."""
    run, delays = running(ROLLOUT, Step.APPLY), []
    for _ in range(7):
        assert run.command is not None
        event = StepErrored(NOON, run.command, "Credential", REFUSED, locked_out=True)
        transition = decide(run, event)
        command = transition.commands[0]
        assert isinstance(command, ExecuteStep)
        delays.append(command.delay.total_seconds())
        run = transition.run
    assert delays == [1, 2, 4, 8, 16, 30, 30]


def locked_out(kind: RunKind, step: Step) -> Run:
    """A run whose last two attempts were refused."""
    run = refuse_for(running(kind, step), 2)[0]
    assert is_locked_out(run)
    return run


LATE = (Step.VERIFY, Step.PRUNE, Step.CERTIFY)


@pytest.mark.parametrize("step", LATE)
@pytest.mark.parametrize("first", ["superseded", "locked out"])
def test_a_rollout_that_nearly_finished_yields_while_it_is_locked_out(
    step: Step, first: str
) -> None:
    """Whichever comes first, the newer release or the refusals, its next attempt ends it."""
    newer = Superseded(NOON, NEWER, "calm-owl")
    if first == "superseded":
        run = refuse_for(decide(running(ROLLOUT, step), newer).run, 2)[0]
    else:
        run = decide(locked_out(ROLLOUT, step), newer).run
    assert run.live
    ended = refuse(run, NOON + 2 * MINUTE).run
    assert ended.phase is Phase.ABORTED
    assert ended.failure is not None
    assert ended.failure.reason == AbortReason.SUPERSEDED.value
    let_in = err(running(ROLLOUT, step), NOON).run
    assert refuse(decide(let_in, newer).run, NOON).run.live


def test_a_protected_rollout_yields_while_it_is_locked_out() -> None:
    """Nothing can be seen of what it is protected for."""
    newer = Superseded(NOON, NEWER, protected=True)
    assert decide(running(ROLLOUT, Step.WAIT_HEALTHY), newer).ignored != ""
    assert decide(locked_out(ROLLOUT, Step.WAIT_HEALTHY), newer).run.phase is Phase.ABORTED


@pytest.mark.parametrize("step", [Step.PREPARE, Step.WAIT_HEALTHY, Step.CERTIFY])
@pytest.mark.parametrize(
    "wish", [Superseded(NOON, NEWER), AbortRequested(NOON, "maria", restore=True)]
)
def test_a_rollback_ends_while_it_is_locked_out(
    step: Step, wish: Superseded | AbortRequested
) -> None:
    """With its next attempt, and without restoring anything else; otherwise it goes on."""
    assert decide(running(ROLLBACK, step), wish).ignored != ""
    run = decide(locked_out(ROLLBACK, step), wish).run
    assert run.live
    assert decide(run, wish).ignored != ""
    ended = refuse(run, NOON + 2 * MINUTE)
    assert ended.run.phase is Phase.ABORTED
    assert [type(command).__name__ for command in ended.commands] == ["Reconsider", "Notify"]


def test_a_rollback_of_a_removed_stage_and_a_redirected_one_keep_their_course() -> None:
    """A removed stage finishes; another target was chosen, and is what comes next."""
    run = locked_out(ROLLBACK, Step.APPLY)
    gone = AbortRequested(NOON, "gitopsd", reason=AbortReason.STAGE_REMOVED)
    assert decide(run, gone).ignored != ""
    redirected = decide(run, RollbackRequested(NOON, "maria", OTHER_TARGET)).run
    for wish in (Superseded(NOON, NEWER), AbortRequested(NOON, "maria")):
        assert decide(redirected, wish).ignored != ""


@pytest.mark.parametrize("kind", [ROLLOUT, ROLLBACK])
def test_the_end_of_a_refused_steps_time_is_no_verdict(kind: RunKind) -> None:
    """Nothing comes any more, as when no process runs: it ends Errored whatever it saw before."""
    run = replace(running(kind, Step.WAIT_HEALTHY), last_look=LastLook.NOT_HEALTHY, looked_at=NOON)
    after = refuse(run, NOON).run
    assert after.step_deadline is not None
    assert decide(after, DeadlineReached(after.step_deadline)).run.phase is Phase.ERRORED


@pytest.mark.parametrize("refused_at", [0, 1, 30])
def test_time_that_a_freeze_and_a_refusal_take_together_is_given_back_once(refused_at: int) -> None:
    """Whether the refusal came before the freeze or within it."""
    run = running(ROLLOUT, Step.PREPARE)
    if refused_at == 0:
        run = refuse(run, NOON).run
    run = decide(run, ClockStopped(NOON + 10 * SECOND)).run
    if refused_at:
        run = refuse(run, NOON + refused_at * MINUTE).run
    run = decide(run, ClockStarted(NOON + 60 * MINUTE)).run
    left = 5 * MINUTE if refused_at == 0 else 5 * MINUTE - 10 * SECOND
    assert run.step_deadline == NOON + 60 * MINUTE + left


def test_a_refusal_that_outlasts_a_freeze_is_nobodys_time_either() -> None:
    """The step's time goes on with the next attempt; the first refusal leaves it two minutes."""
    run = decide(running(ROLLOUT, Step.PREPARE, SECOND), ClockStopped(NOON)).run
    run = refuse(run, NOON + 10 * MINUTE).run
    run = decide(run, ClockStarted(NOON + 10 * MINUTE + SECOND)).run
    assert run.step_deadline == NOON + 11 * MINUTE + AFTER_LOCKOUT


def test_clocks_need_something_that_counts() -> None:
    """A run without a deadline has none when its clock is started, and one that runs is left so."""
    endless = replace(running(ROLLOUT, Step.GATE), step_deadline=None, clock_stopped_at=NOON)
    assert start_clock(endless, NOON + MINUTE) == endless
    counting = running(ROLLOUT, Step.GATE)
    assert start_clock(counting, NOON + MINUTE) == counting
