"""What a run remembers, commands and says, to the letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import (
    CommandId,
    Failure,
    LastLook,
    Phase,
    Run,
    RunId,
    RunKind,
    Step,
)
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import ExecuteStep, Notify, Trigger
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import (
    AbortRequested,
    DeadlineReached,
    RunAdmitted,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.machine import decide
from tests.support.runs import (
    BYTES,
    COMMAND,
    NEWER,
    NOON,
    OLD_BYTES,
    OTHER_TARGET,
    STALE,
    TARGET,
    run_at,
)

ROLLOUT, ROLLBACK, SYNC = RunKind.ROLLOUT, RunKind.ROLLBACK, RunKind.SYNC
NEXT_COMMAND = CommandId("run-7.4")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def test_admission_begins_the_first_step_under_the_given_timeouts() -> None:
    """A run remembers when it began, how long its steps may take, and what it commanded."""
    run = run_at(ROLLOUT, Phase.PENDING)
    timeouts = ((Step.RENDER, 2 * MINUTE), (Step.VALIDATE, MINUTE))
    transition = decide(run, RunAdmitted(NOON, timeouts))
    assert transition == Transition(
        replace(
            run,
            phase=Phase.RUNNING,
            step=Step.RENDER,
            command=NEXT_COMMAND,
            step_deadline=NOON + 2 * MINUTE,
            started_at=NOON,
            timeouts=timeouts,
            version=4,
        ),
        (
            ExecuteStep(NEXT_COMMAND, run.id, Step.RENDER, 1, timedelta(0)),
            Notify(run.id, Trigger.RUN_STARTED, "shop/production: r-7 is on its way"),
        ),
    )


def test_admission_without_timeouts_keeps_those_the_run_has() -> None:
    """Timeouts stored with the run hold when the event brings none."""
    run = replace(run_at(SYNC, Phase.PENDING), timeouts=((Step.APPLY, 3 * MINUTE),))
    after = decide(run, RunAdmitted(NOON)).run
    assert after.timeouts == ((Step.APPLY, 3 * MINUTE),)
    assert after.step_deadline == NOON + 3 * MINUTE


@pytest.mark.parametrize(
    "kind,step,mutated,trigger,message",
    [
        (ROLLBACK, Step.PREPARE, True, Trigger.ROLLBACK_STARTED, "going back to r-7"),
        (SYNC, Step.APPLY, True, Trigger.RUN_STARTED, "applying r-7 again"),
        (ROLLOUT, Step.RENDER, False, Trigger.RUN_STARTED, "r-7 is on its way"),
    ],
)
def test_what_begins_with_a_write_has_mutated_at_once(
    kind: RunKind, step: Step, mutated: bool, trigger: Trigger, message: str
) -> None:
    """Prepare and Apply make a run mutated when they are commanded, not when they are done."""
    transition = decide(run_at(kind, Phase.PENDING), RunAdmitted(NOON))
    assert transition.run.step is step
    assert transition.run.mutated is mutated
    assert transition.commands[1] == Notify(RunId("run-7"), trigger, f"shop/production: {message}")


@pytest.mark.parametrize(
    "step,following,timeout",
    [
        (Step.RENDER, Step.VALIDATE, 10 * MINUTE),
        (Step.VALIDATE, Step.DIFF, 10 * MINUTE),
        (Step.DIFF, Step.GATE, timedelta(days=7)),
        (Step.GATE, Step.PREPARE, 30 * MINUTE),
        (Step.PREPARE, Step.APPLY, 10 * MINUTE),
        (Step.APPLY, Step.WAIT_HEALTHY, 5 * MINUTE),
        (Step.WAIT_HEALTHY, Step.VERIFY, 10 * MINUTE),
        (Step.VERIFY, Step.PRUNE, 10 * MINUTE),
        (Step.PRUNE, Step.CERTIFY, 5 * MINUTE),
    ],
)
def test_a_step_begins_with_nothing_seen_and_a_deadline_of_its_own(
    step: Step, following: Step, timeout: timedelta
) -> None:
    """Attempt, cursor, look and wait of the step before are forgotten."""
    run = replace(
        run_at(ROLLOUT, step),
        attempt=4,
        last_look=LastLook.NOT_HEALTHY,
        failing=True,
        cursor="3/4",
        waiting_for="Deployment api",
    )
    transition = decide(run, StepSucceeded(NOON, COMMAND))
    after = transition.run
    assert after.step is following
    assert (after.attempt, after.cursor, after.waiting_for) == (1, "", "")
    assert (after.last_look, after.failing) == (LastLook.NONE, False)
    assert after.step_deadline == NOON + timeout
    assert after.mutated is (following not in (Step.VALIDATE, Step.DIFF, Step.GATE))
    assert (after.command, after.version) == (NEXT_COMMAND, 4)
    assert transition.commands == (ExecuteStep(NEXT_COMMAND, run.id, following, 1, timedelta(0)),)


def test_render_and_diff_hand_their_products_to_the_run() -> None:
    """What was rendered is stored by Render, the plan by Diff, and by no other step."""
    outcome = StepSucceeded(
        NOON,
        COMMAND,
        rendered=Digest("sha256:r"),
        plan=Digest("sha256:p"),
        plan_empty=True,
        plan_base=OLD_BYTES,
        restore=OTHER_TARGET,
        no_restore=StallReason.MANUAL,
    )
    rendered = decide(run_at(ROLLOUT, Step.RENDER), outcome).run
    assert (rendered.rendered, rendered.plan, rendered.plan_empty) == ("sha256:r", None, False)
    planned = decide(run_at(ROLLOUT, Step.DIFF), outcome).run
    assert (planned.rendered, planned.plan, planned.plan_empty) == (BYTES, "sha256:p", True)
    assert (rendered.plan_base, planned.plan_base) == (None, OLD_BYTES)
    assert planned.restore_target is None
    verified = decide(run_at(ROLLOUT, Step.VERIFY), outcome).run
    assert (verified.rendered, verified.plan) == (BYTES, "sha256:plan")
    assert (verified.restore_target, verified.no_restore) == (TARGET, None)


def test_leaving_the_gate_stores_what_a_failure_restores() -> None:
    """The restore target, or why there is none, is stored with the command of Prepare."""
    gate = run_at(ROLLOUT, Step.GATE)
    with_target = decide(gate, StepSucceeded(NOON, COMMAND, restore=TARGET)).run
    assert (with_target.restore_target, with_target.no_restore) == (TARGET, None)
    without = decide(gate, StepSucceeded(NOON, COMMAND, no_restore=StallReason.NO_TARGET)).run
    assert (without.restore_target, without.no_restore) == (None, StallReason.NO_TARGET)


def test_a_plan_that_changes_nothing_still_goes_on_over_something_unverified() -> None:
    """Only over a verified applied set is an empty plan the end of the run."""
    run = run_at(ROLLOUT, Step.DIFF)
    event = StepSucceeded(NOON, COMMAND, plan=Digest("sha256:p"), plan_empty=True)
    assert decide(run, event).run.step is Step.GATE
    ended = decide(run, replace(event, applied_verified=True)).run
    assert (ended.phase, ended.step, ended.failure) == (Phase.SUCCEEDED, Step.DIFF, None)
    assert (ended.plan, ended.plan_empty, ended.ended_at) == ("sha256:p", True, NOON)
    changing = replace(event, plan_empty=False, applied_verified=True)
    assert decide(run, changing).run.step is Step.GATE


def test_a_pending_step_goes_on_later_under_a_new_command() -> None:
    """Cursor, look and reason are kept; attempt and deadline stay what they were."""
    run = replace(run_at(ROLLOUT, Step.WAIT_HEALTHY), attempt=3)
    event = StepPending(
        NOON,
        COMMAND,
        5 * SECOND,
        last_look=LastLook.NOT_HEALTHY,
        cursor="2/4",
        message="Deployment api has 1 of 3 pods",
        failing=True,
    )
    transition = decide(run, event)
    assert transition == Transition(
        replace(
            run,
            command=NEXT_COMMAND,
            last_look=LastLook.NOT_HEALTHY,
            looked_at=NOON,
            failing=True,
            cursor="2/4",
            waiting_for="Deployment api has 1 of 3 pods",
            version=4,
        ),
        (ExecuteStep(NEXT_COMMAND, run.id, Step.WAIT_HEALTHY, 3, 5 * SECOND),),
    )


def test_an_errored_attempt_counts_as_a_look_that_saw_nothing() -> None:
    """The next attempt waits, goes on where it was, and cannot blame the release."""
    run = replace(run_at(ROLLOUT, Step.WAIT_HEALTHY), last_look=LastLook.NOT_HEALTHY, cursor="2/4")
    run = replace(run, failing=True)
    transition = decide(run, StepErrored(NOON, COMMAND, "Unavailable", "no answer"))
    assert transition == Transition(
        replace(
            run,
            attempt=2,
            command=NEXT_COMMAND,
            last_look=LastLook.UNKNOWN,
            failing=False,
            waiting_for="no answer",
            version=4,
        ),
        (ExecuteStep(NEXT_COMMAND, run.id, Step.WAIT_HEALTHY, 2, SECOND),),
    )
    deadline = run.step_deadline
    assert deadline is not None
    assert decide(transition.run, DeadlineReached(deadline)).run.phase is Phase.ERRORED


def test_an_errored_attempt_may_move_the_cursor() -> None:
    """A step that got further before it errored goes on from there."""
    run = replace(run_at(ROLLOUT, Step.APPLY), cursor="2/4")
    event = StepErrored(NOON, COMMAND, "Unavailable", "no answer", cursor="3/4")
    assert decide(run, event).run.cursor == "3/4"


@pytest.mark.parametrize(
    "attempt,limit,phase,attempt_after",
    [(1, 2, Phase.RUNNING, 2), (2, 2, Phase.ERRORED, 2), (3, 2, Phase.ERRORED, 3)],
)
def test_attempts_end_at_the_limit_of_the_error(
    attempt: int, limit: int, phase: Phase, attempt_after: int
) -> None:
    """The attempt that reaches the limit is the last."""
    run = replace(run_at(ROLLOUT, Step.RENDER), attempt=attempt)
    event = StepErrored(NOON, COMMAND, "Unavailable", "no answer", limit=limit)
    after = decide(run, event).run
    assert (after.phase, after.attempt) == (phase, attempt_after)


def test_an_error_waits_as_long_as_the_other_side_asks() -> None:
    """A longer wait than the backoff is honoured."""
    event = StepErrored(NOON, COMMAND, "Throttled", "slow down", retry_after=40 * SECOND)
    (command,) = decide(run_at(ROLLOUT, Step.RENDER), event).commands
    assert isinstance(command, ExecuteStep)
    assert command.delay == 40 * SECOND


def test_giving_up_keeps_the_words_of_the_error() -> None:
    """An Errored run says what could not be found out, and where."""
    event = StepErrored(NOON, COMMAND, "Unavailable", "no answer", retryable=False)
    after = decide(run_at(ROLLOUT, Step.VALIDATE), event).run
    assert after.failure == Failure("Unavailable", "no answer", Step.VALIDATE)


def test_a_failed_step_keeps_the_verdict() -> None:
    """A Failed run says why, and where."""
    after = decide(
        run_at(ROLLOUT, Step.APPLY), StepFailed(NOON, COMMAND, "Denied", "quota is used up")
    ).run
    assert after.failure == Failure("Denied", "quota is used up", Step.APPLY)


@pytest.mark.parametrize(
    "look,waiting,failure",
    [
        (
            LastLook.NOT_HEALTHY,
            "Deployment api has 1 of 3 pods",
            Failure(
                "DeadlineExceeded",
                "its time is over and the last look was not healthy: "
                "Deployment api has 1 of 3 pods",
                Step.VERIFY,
            ),
        ),
        (
            LastLook.NOT_HEALTHY,
            "",
            Failure(
                "DeadlineExceeded",
                "its time is over and the last look was not healthy",
                Step.VERIFY,
            ),
        ),
        (
            LastLook.UNKNOWN,
            "no answer",
            Failure(
                "Unreachable",
                "its time is over and there is no sight of it: no answer",
                Step.VERIFY,
            ),
        ),
        (
            LastLook.HEALTHY,
            "",
            Failure("Unreachable", "its time is over and there is no sight of it", Step.VERIFY),
        ),
    ],
)
def test_a_deadline_is_judged_by_the_last_look(
    look: LastLook, waiting: str, failure: Failure
) -> None:
    """Only a last look that was not healthy makes a passed deadline a verdict."""
    run = replace(run_at(ROLLOUT, Step.VERIFY), last_look=look, waiting_for=waiting)
    after = decide(run, DeadlineReached(NOON + MINUTE)).run
    assert after.failure == failure
    assert after.ended_at == NOON + MINUTE


@pytest.mark.parametrize("offset,over", [(-SECOND / 1000, False), (0 * SECOND, True)])
def test_a_deadline_holds_from_its_very_moment(offset: timedelta, over: bool) -> None:
    """A report of the deadline before it is reached is ignored."""
    run = run_at(SYNC, Step.APPLY)
    transition = decide(run, DeadlineReached(NOON + MINUTE + offset))
    assert (transition.ignored == "") is over
    if not over:
        assert transition.ignored == "the deadline is not reached for a Sync in Apply"
    no_deadline = replace(run, step_deadline=None)
    assert decide(no_deadline, DeadlineReached(NOON)).run is no_deadline


def test_answers_to_earlier_commands_are_stale() -> None:
    """The answer says which command it was for and which one is outstanding."""
    run = run_at(ROLLOUT, Step.APPLY)
    assert decide(run, StepSucceeded(NOON, STALE)).ignored == (
        "stale: it answers run-7.2, outstanding is run-7.3"
    )


@pytest.mark.parametrize(
    "run,reason",
    [
        (run_at(ROLLBACK, Phase.PENDING), "Superseded changes nothing for a Rollback in Pending"),
        (
            replace(run_at(SYNC, Step.APPLY), step=Step.VERIFY),
            "Superseded changes nothing for a Sync in Verify",
        ),
    ],
)
def test_an_event_that_changes_nothing_says_where(run: Run, reason: str) -> None:
    """A pair without a row is ignored with a sentence."""
    assert decide(run, Superseded(NOON, NEWER)) == Transition(run, ignored=reason)


def test_the_same_history_makes_the_same_ids() -> None:
    """Deciding is repeatable: equal runs and events give equal transitions."""
    for event in (RunAdmitted(NOON), AbortRequested(NOON, "maria")):
        run = run_at(ROLLOUT, Phase.PENDING)
        assert decide(run, event) == decide(run, event)
