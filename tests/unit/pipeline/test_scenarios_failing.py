"""Scenarios: releases that fail, before and after they were verified."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import RollbackPolicy
from gitopsd.domain.runs import LastLook, Phase, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import Trigger
from tests.support.pipeline_state import PRODUCTION, STAGES, STAGING, Content
from tests.support.pipeline_stories import (
    approve,
    bring_to_gate,
    closed_gates,
    front,
    live_release,
    runs_of,
    why,
    world_with,
)
from tests.support.pipeline_world import World

MINUTE = timedelta(minutes=1)


def test_the_first_release_fails_and_its_fix_flows() -> None:
    """There is nothing to restore, so a person is called; that keeps no newer release waiting."""
    world = World()
    first = world.offer(Content(1, 1))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.fail(front(world, STAGING))
    stall = world.stages[STAGING].stall
    assert stall is not None
    assert stall.reason is StallReason.NO_TARGET
    assert world.front_of(STAGING) is None
    assert world.next_of(STAGING) is None, "the failed release is not tried again"
    fix = world.offer(Content(2, 2))
    world.work(STAGING)
    assert live_release(world, STAGING) == fix
    assert world.stages[STAGING].stall is None
    assert len(runs_of(world, STAGING, first)) == 1


@pytest.mark.parametrize(
    "step", [Step.PREPARE, Step.APPLY, Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE, Step.CERTIFY]
)
def test_a_bad_release_is_restored_from_any_step_that_writes(step: Step) -> None:
    """What was verified last comes back; the bad bytes are held; production never sees them."""
    world = world_with(Content(1, 1))
    good = live_release(world, STAGING)
    bad = world.offer(Content(2, 2))
    world.work(STAGING, until=step)
    world.fail(front(world, STAGING))
    assert front(world, STAGING).kind is RunKind.ROLLBACK
    world.work(STAGING)
    assert live_release(world, STAGING) == good
    assert [item.rendered for item in world.quarantines] == [Content(2, 2).digest]
    assert runs_of(world, PRODUCTION, bad) == []
    again = world.offer(Content(2, 2))
    world.work(STAGING)
    (run,) = runs_of(world, STAGING, again)
    assert why(run) == "Quarantined"
    fix = world.offer(Content(3, 3))
    world.work(STAGING)
    approve(world)
    assert live_release(world, PRODUCTION) == fix


def test_a_bad_image_is_held_in_every_release_that_contains_it() -> None:
    """When images were all that changed, the image is to blame; lifting lets it through."""
    world = world_with(Content(1, 1))
    world.offer(Content(1, 2))
    world.work(STAGING, until=Step.VERIFY)
    world.fail(front(world, STAGING))
    world.work(STAGING)
    held = world.offer(Content(7, 2))
    world.work(STAGING)
    assert why(runs_of(world, STAGING, held)[0]) == "Quarantined"
    world.lift(0)
    world.work(STAGING)
    assert live_release(world, STAGING) == held


def test_a_target_is_judged_by_the_file_it_was_verified_under() -> None:
    """The file has changed since; the rollback runs under the revision its target passed."""
    world = world_with(Content(1, 1))
    good = world.running(STAGING)
    assert good is not None
    slower = replace(STAGES[0], rollback_deadline=20 * MINUTE)
    world.read_file((slower, STAGES[1]))
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.VERIFY)
    failed = front(world, STAGING)
    assert failed.spec == good.spec + 1
    world.fail(failed)
    rollback = front(world, STAGING)
    assert (rollback.spec, rollback.rendered) == (good.spec, good.rendered)
    assert dict(rollback.timeouts)[Step.WAIT_HEALTHY] == 5 * MINUTE
    world.work(STAGING)
    restored = world.running(STAGING)
    assert restored is not None
    assert restored.spec == good.spec


def test_bytes_that_failed_are_not_restored_by_themselves() -> None:
    """A revert of a half-applied release fails: only its own bytes are known to be good."""
    world = world_with(Content(1, 1))
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.offer(Content(1, 1))
    bring_to_gate(world, STAGING)
    reverted = front(world, STAGING)
    assert reverted.no_restore is StallReason.SAME_BYTES
    world.fail(reverted)
    stall = world.stages[STAGING].stall
    assert stall is not None
    assert stall.reason is StallReason.SAME_BYTES
    assert world.rollbacks == []


def test_a_release_with_the_bytes_that_run_changes_nothing() -> None:
    """It is verified without a write, and goes on to the next stage."""
    world = world_with(Content(1, 1))
    same = world.offer(Content(1, 1))
    world.work(STAGING)
    (run,) = runs_of(world, STAGING, same)
    assert (run.phase, run.step, run.mutated) == (Phase.SUCCEEDED, Step.DIFF, False)
    world.work(PRODUCTION)
    assert [item.phase for item in runs_of(world, PRODUCTION, same)] == [Phase.SUCCEEDED]
    assert world.votes == world.votes[:1], "nobody was asked again"


def test_a_failed_rollback_closes_the_stage_until_a_person_resumes() -> None:
    """At most one automatic rollback per failure; even the fix waits."""
    world = world_with(Content(1, 1))
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.VERIFY)
    world.fail(front(world, STAGING))
    world.fail(front(world, STAGING))
    assert world.front_of(STAGING) is None
    assert Trigger.ROLLBACK_FAILED in [note.trigger for note in world.told]
    fix = world.offer(Content(3, 3))
    world.work(STAGING)
    assert closed_gates(world, STAGING) == ["stall"]
    world.resume(STAGING)
    world.work(STAGING)
    assert live_release(world, STAGING) == fix


def test_an_errored_rollback_is_tried_again_until_the_cluster_answers() -> None:
    """The same target each time, a little later each time, and a person is called."""
    world = world_with(Content(1, 1))
    good = live_release(world, STAGING)
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.VERIFY)
    world.fail(front(world, STAGING))
    for minutes in (1, 2, 5, 10):
        world.err(front(world, STAGING), last=True)
        waiting = front(world, STAGING)
        assert (waiting.kind, waiting.phase) == (RunKind.ROLLBACK, Phase.PENDING)
        world.pass_time(minutes * MINUTE - timedelta(seconds=1))
        assert front(world, STAGING).phase is Phase.PENDING
        world.pass_time(timedelta(seconds=1))
        assert front(world, STAGING).phase is Phase.RUNNING
    world.work(STAGING)
    assert live_release(world, STAGING) == good
    assert len(world.quarantines) == 1


def test_an_unreachable_cluster_is_no_verdict() -> None:
    """A release that nobody could look at is neither held nor rolled back; it is tried again."""
    world = world_with(Content(1, 1))
    release = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.wait(front(world, STAGING), LastLook.NOT_HEALTHY)
    world.err(front(world, STAGING))
    world.pass_time(6 * MINUTE)
    (run,) = runs_of(world, STAGING, release)
    assert (run.phase, why(run)) == (Phase.ERRORED, "Unreachable")
    assert (world.quarantines, world.rollbacks) == ([], [])
    stall = world.stages[STAGING].stall
    assert stall is not None
    assert stall.reason is StallReason.UNREACHABLE
    world.pass_time(MINUTE)
    world.work(STAGING)
    assert [item.attempt_number for item in runs_of(world, STAGING, release)] == [1, 2]
    assert live_release(world, STAGING) == release
    assert world.stages[STAGING].stall is None


def test_a_release_that_stays_unhealthy_fails_at_its_deadline() -> None:
    """The last look was a good one and said no: that is a verdict."""
    world = world_with(Content(1, 1))
    good = live_release(world, STAGING)
    release = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.pass_time(4 * MINUTE)
    world.wait(front(world, STAGING), LastLook.NOT_HEALTHY)
    world.pass_time(1 * MINUTE)
    assert why(runs_of(world, STAGING, release)[0]) == "DeadlineExceeded"
    world.work(STAGING)
    assert live_release(world, STAGING) == good


def test_a_look_from_long_before_the_deadline_condemns_nobody() -> None:
    """After a time without sight, such as a restart, the end is Errored: no verdict."""
    world = world_with(Content(1, 1))
    live_release(world, STAGING)
    release = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.pass_time(5 * MINUTE - timedelta(seconds=91))
    world.wait(front(world, STAGING), LastLook.NOT_HEALTHY)
    world.pass_time(timedelta(seconds=91))
    assert why(runs_of(world, STAGING, release)[0]) == "Unreachable"


def test_a_look_as_old_as_two_reports_still_counts() -> None:
    """Ninety seconds are the bound."""
    world = world_with(Content(1, 1))
    live_release(world, STAGING)
    release = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.pass_time(5 * MINUTE - timedelta(seconds=90))
    world.wait(front(world, STAGING), LastLook.NOT_HEALTHY)
    world.pass_time(timedelta(seconds=90))
    assert why(runs_of(world, STAGING, release)[0]) == "DeadlineExceeded"


def test_an_outage_loses_no_release() -> None:
    """A source that does not answer is asked again after 1, 2, 5, then every 10 minutes."""
    world = world_with(Content(1, 1))
    release = world.offer(Content(2, 2))
    for minutes in (1, 2, 5, 10, 10):
        waiting = world.next_of(STAGING)
        assert waiting is not None
        world.err(waiting, last=True)
        world.pass_time(minutes * MINUTE - timedelta(seconds=1))
        assert world.next_of(STAGING) is None
        world.pass_time(timedelta(seconds=1))
    world.work(STAGING)
    assert live_release(world, STAGING) == release
    assert world.stages[STAGING].stall is None


def test_policy_may_leave_restoring_to_a_person() -> None:
    """The stage is stalled with the command to type; nothing older comes by itself either."""
    world = World()
    manual = replace(STAGES[0], rollback_policy=RollbackPolicy.MANUAL)
    world.read_file((manual, STAGES[1]))
    good = world.offer(Content(1, 1))
    world.work(STAGING)
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.VERIFY)
    world.fail(front(world, STAGING))
    stall = world.stages[STAGING].stall
    assert stall is not None
    assert stall.reason is StallReason.MANUAL
    assert "gitopsd rollback shop staging" in stall.message
    assert (world.front_of(STAGING), world.next_of(STAGING)) == (None, None)
    world.rollback(STAGING, good)
    world.work(STAGING)
    assert live_release(world, STAGING) == good


def test_a_failure_in_the_watch_window_still_rolls_back() -> None:
    """What was verified before comes back, and the failed bytes are not taken again."""
    world = world_with(Content(1, 1), Content(2, 2))
    decision = world.watch_failure(PRODUCTION)
    assert decision is not None
    assert decision.stall is None
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == "r-1"
    assert world.next_of(PRODUCTION) is None
    assert world.quarantines[0].rendered == Content(2, 2).digest


def test_two_rollbacks_within_an_hour_are_a_loop() -> None:
    """The second is carried out; then newer releases wait for a person."""
    world = world_with(Content(1, 1))
    for number in (2, 3):
        world.offer(Content(number, number))
        world.work(STAGING, until=Step.VERIFY)
        world.fail(front(world, STAGING))
        world.work(STAGING)
        world.pass_time(20 * MINUTE)
    assert live_release(world, STAGING) == "r-1"
    world.offer(Content(4, 4))
    world.work(STAGING)
    assert closed_gates(world, STAGING) == ["stall"]
    stall = world.stages[STAGING].stall
    assert stall is not None
    assert stall.reason is StallReason.ROLLBACK_LOOP


def test_stages_that_fail_together_are_not_rolled_back() -> None:
    """The cluster is the likelier cause: nothing is blamed, and a person is called."""
    world = world_with(Content(1, 1), Content(2, 2))
    world.watch_failure(PRODUCTION, cluster_rollbacks=3)
    assert live_release(world, PRODUCTION) == "r-2"
    assert (world.quarantines, world.rollbacks) == ([], [])
    stall = world.stages[PRODUCTION].stall
    assert stall is not None
    assert stall.reason is StallReason.CLUSTER_TROUBLE
