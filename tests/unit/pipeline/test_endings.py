"""What follows from each ending, to the letter: these are the sentences people are woken by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.runs import Failure, Phase, RunId, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import (
    AgreeInGit,
    Command,
    MarkStalled,
    Notify,
    Reconsider,
    RecordVerified,
    Scope,
    StartRollback,
    StoreQuarantine,
    Trigger,
)
from gitopsd.pipeline.endings import abort, end_closing, fail, give_up, succeed, succeed_unchanged
from tests.support.runs import BYTES, NOON, OTHER_TARGET, TARGET, run_at

ROLLOUT, ROLLBACK, SYNC = RunKind.ROLLOUT, RunKind.ROLLBACK, RunKind.SYNC
ID = RunId("run-7")
CRASH = Failure("CrashLoopBackOff", "Deployment api crashes: exit code 1", Step.VERIFY)
ASK = "push a fix or choose with: gitopsd rollback shop production"
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "kind,step,verified,trigger,message",
    [
        (
            ROLLOUT,
            Step.CERTIFY,
            (RecordVerified(ID),),
            Trigger.DEPLOYED,
            "shop/production runs r-7, verified",
        ),
        (
            ROLLBACK,
            Step.CERTIFY,
            (RecordVerified(ID), AgreeInGit(ID)),
            Trigger.ROLLBACK_SUCCEEDED,
            "shop/production is back on r-7, verified",
        ),
        (
            SYNC,
            Step.WAIT_HEALTHY,
            (),
            Trigger.DEPLOYED,
            "shop/production had r-7 applied again and is healthy",
        ),
    ],
)
def test_success_is_recorded_and_told(
    kind: RunKind, step: Step, verified: tuple[Command, ...], trigger: Trigger, message: str
) -> None:
    """Success makes the set a restore target (not for a Sync) and wakes what comes after."""
    transition = succeed(run_at(kind, step), NOON)
    assert transition.commands == (
        *verified,
        Reconsider(ID, Scope.STAGE_AND_DOWNSTREAM),
        Notify(ID, trigger, message),
    )
    run = transition.run
    assert (run.phase, run.step, run.ended_at) == (Phase.SUCCEEDED, step, NOON)
    assert (run.command, run.step_deadline, run.failure, run.version) == (None, None, None, 4)


def test_an_unchanged_release_is_verified_silently() -> None:
    """Nothing changed, so nobody is told; what comes after is reconsidered."""
    transition = succeed_unchanged(run_at(ROLLOUT, Step.DIFF), NOON)
    assert transition.commands == (
        RecordVerified(ID),
        Reconsider(ID, Scope.STAGE_AND_DOWNSTREAM),
    )
    assert (transition.run.phase, transition.run.ended_at) == (Phase.SUCCEEDED, NOON)


def test_a_failed_rollout_is_quarantined_and_restored() -> None:
    """The bytes are held, the target comes back, and one sentence says both."""
    transition = fail(run_at(ROLLOUT, Step.VERIFY), NOON, CRASH)
    assert transition.commands == (
        StoreQuarantine(ID, "Deployment api crashes: exit code 1"),
        StartRollback(ID, TARGET),
        Reconsider(ID),
        Notify(
            ID,
            Trigger.VERIFICATION_FAILED,
            "shop/production: r-7 failed in Verify: Deployment api crashes: exit code 1; "
            "restoring r-3",
        ),
    )
    run = transition.run
    assert (run.phase, run.failure, run.ended_at, run.version) == (Phase.FAILED, CRASH, NOON, 4)


def test_a_rollout_that_failed_before_it_wrote_restores_nothing() -> None:
    """It is quarantined; there is nothing to undo."""
    transition = fail(run_at(ROLLOUT, Step.VALIDATE), NOON, replace(CRASH, step=Step.VALIDATE))
    assert transition.commands == (
        StoreQuarantine(ID, CRASH.message),
        Reconsider(ID),
        Notify(
            ID,
            Trigger.VERIFICATION_FAILED,
            f"shop/production: r-7 failed in Validate: {CRASH.message}; nothing was changed",
        ),
    )


@pytest.mark.parametrize(
    "reason,why",
    [
        (StallReason.NO_TARGET, "nothing was verified here before that could be restored"),
        (StallReason.MANUAL, "policy leaves restoring to a person"),
        (StallReason.SAME_BYTES, "what could be restored has the same bytes"),
        (
            StallReason.DESTINATION_CHANGED,
            "what was verified before was written to another destination",
        ),
        (StallReason.INVENTORY, "Inventory"),
    ],
)
def test_a_failure_without_a_target_calls_a_person(reason: StallReason, why: str) -> None:
    """The stage is stalled, and the sentence says why nothing is restored and what to type."""
    run = replace(run_at(ROLLOUT, Step.VERIFY), restore_target=None, no_restore=reason)
    message = f"shop/production: r-7 failed in Verify: {CRASH.message}; {why}, {ASK}"
    assert fail(run, NOON, CRASH).commands == (
        StoreQuarantine(ID, CRASH.message),
        MarkStalled(ID, reason, message),
        Reconsider(ID),
        Notify(ID, Trigger.VERIFICATION_FAILED, message),
    )


def test_a_run_that_stored_neither_target_nor_reason_has_no_target() -> None:
    """A missing fact never becomes a rollback to something."""
    run = replace(run_at(ROLLOUT, Step.VERIFY), restore_target=None)
    stalled = fail(run, NOON, CRASH).commands[1]
    assert isinstance(stalled, MarkStalled)
    assert stalled.reason is StallReason.NO_TARGET


def test_a_target_with_the_failed_bytes_is_not_restored() -> None:
    """Restoring what just failed cannot help, wherever the target came from."""
    run = replace(run_at(ROLLOUT, Step.VERIFY), restore_target=replace(TARGET, rendered=BYTES))
    stalled = fail(run, NOON, CRASH).commands[1]
    assert isinstance(stalled, MarkStalled)
    assert stalled.reason is StallReason.SAME_BYTES


def test_a_failed_rollback_stops_and_calls_a_person() -> None:
    """At most one automatic rollback per failure: nothing more is tried."""
    message = (
        f"shop/production: the rollback to r-7 failed in Verify: {CRASH.message}; "
        f"nothing more is tried, {ASK}; a fix waits for: gitopsd resume shop production"
    )
    assert fail(run_at(ROLLBACK, Step.VERIFY), NOON, CRASH).commands == (
        MarkStalled(ID, StallReason.ROLLBACK_FAILED, message),
        Reconsider(ID),
        Notify(ID, Trigger.ROLLBACK_FAILED, message),
    )


def test_a_failed_sync_says_that_the_stage_is_degraded() -> None:
    """The set was verified once: it is neither held nor replaced."""
    failure = Failure("Denied", "quota is used up")
    assert fail(run_at(SYNC, Step.APPLY), NOON, failure).commands == (
        Reconsider(ID),
        Notify(
            ID,
            Trigger.HEALTH_DEGRADED,
            "shop/production: applying r-7 again failed: quota is used up",
        ),
    )


@pytest.mark.parametrize(
    "attempt,delay,said", [(1, MINUTE, "1"), (2, 2 * MINUTE, "2"), (9, 10 * MINUTE, "10")]
)
def test_an_errored_rollout_is_tried_again(attempt: int, delay: timedelta, said: str) -> None:
    """No verdict: no quarantine, no rollback; the stage is looked at again, later each time."""
    run = replace(run_at(ROLLOUT, Step.RENDER), attempt_number=attempt)
    failure = Failure("Unavailable", "Git does not answer", Step.RENDER)
    transition = give_up(run, NOON, failure)
    assert transition.commands == (
        Reconsider(ID, Scope.STAGE, delay),
        Notify(
            ID,
            Trigger.RUN_ERRORED,
            "shop/production: r-7 has no verdict in Render: Git does not answer; "
            f"it is tried again in {said} min",
        ),
    )
    after = transition.run
    assert (after.phase, after.failure, after.ended_at) == (Phase.ERRORED, failure, NOON)


@pytest.mark.parametrize("kind,subject", [(ROLLOUT, "r-7"), (SYNC, "applying r-7 again")])
def test_an_errored_run_that_wrote_calls_a_person(kind: RunKind, subject: str) -> None:
    """Nobody knows what the cluster runs, so a person looks too."""
    failure = Failure("Unreachable", "no sight of it", Step.APPLY)
    message = (
        f"shop/production: {subject} has no verdict in Apply: no sight of it; "
        "it is tried again in 1 min"
    )
    assert give_up(run_at(kind, Step.APPLY), NOON, failure).commands == (
        MarkStalled(ID, StallReason.UNREACHABLE, message),
        Reconsider(ID, Scope.STAGE, MINUTE),
        Notify(ID, Trigger.RUN_ERRORED, message),
    )


def test_an_errored_rollback_is_tried_again_with_the_same_target() -> None:
    """The only rollback that a rollback starts is its own next attempt."""
    run = replace(run_at(ROLLBACK, Step.APPLY), attempt_number=3)
    stalled, again, told = give_up(run, NOON, Failure("Unreachable", "no sight")).commands
    assert isinstance(stalled, MarkStalled)
    assert stalled.reason is StallReason.UNREACHABLE
    assert again == StartRollback(ID, TARGET, delay=5 * MINUTE, again=True)
    assert told == Notify(ID, Trigger.RUN_ERRORED, stalled.message)
    assert stalled.message == (
        "shop/production: the rollback to r-7 has no verdict: no sight; it is tried again in 5 min"
    )


def test_an_errored_rollback_without_its_target_waits_for_a_person() -> None:
    """Without the target there is nothing to try again; the stage is reconsidered."""
    run = replace(run_at(ROLLBACK, Step.APPLY), restore_target=None)
    commands = give_up(run, NOON, Failure("Unreachable", "no sight")).commands
    assert commands[1] == Reconsider(ID, Scope.STAGE, MINUTE)


def test_an_abort_frees_the_stage() -> None:
    """What was aborted is told; commands that go with it come first."""
    failure = Failure("Rejected", "approval: rejected by maria", Step.GATE)
    extra = StartRollback(ID, OTHER_TARGET)
    transition = abort(run_at(ROLLOUT, Step.GATE), NOON, failure, extra)
    assert transition.commands == (
        extra,
        Reconsider(ID),
        Notify(
            ID,
            Trigger.RUN_ABORTED,
            "shop/production: r-7 ended: approval: rejected by maria",
        ),
    )
    assert (transition.run.phase, transition.run.failure) == (Phase.ABORTED, failure)


def test_an_abort_that_cannot_restore_calls_a_person() -> None:
    """Asked to restore without a target, it says so and by whom it was aborted."""
    run = replace(
        run_at(ROLLOUT, Step.APPLY),
        aborting=True,
        aborting_restore=True,
        ended_by="maria",
        restore_target=None,
        no_restore=StallReason.MANUAL,
    )
    stalled = end_closing(run, NOON, Failure("Requested", "aborted by maria")).commands[0]
    assert stalled == MarkStalled(
        ID,
        StallReason.MANUAL,
        f"shop/production: r-7 was aborted by maria; policy leaves restoring to a person, {ASK}",
    )
