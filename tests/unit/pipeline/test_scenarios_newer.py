"""Scenarios: a newer release at each step, and while others wait for an approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import Phase, RunKind, Step
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


@pytest.mark.parametrize("step", [Step.RENDER, Step.VALIDATE, Step.DIFF])
def test_a_newer_release_replaces_one_that_has_not_begun_to_write(step: Step) -> None:
    """Before its Gate a run ends at once, and the newer one goes live."""
    world = world_with(Content(1, 1))
    old = world.offer(Content(2, 2))
    world.work(STAGING, until=step)
    new = world.offer(Content(3, 3))
    (run,) = runs_of(world, STAGING, old)
    assert (run.phase, why(run), run.step) == (Phase.ABORTED, "Superseded", step)
    world.work(STAGING)
    assert live_release(world, STAGING) == new


@pytest.mark.parametrize("step", [Step.PREPARE, Step.APPLY])
def test_a_newer_release_waits_for_the_batch_in_flight(step: Step) -> None:
    """The older run ends when its hook or batch reports, and in that moment the newer begins."""
    world = world_with(Content(1, 1))
    old = world.offer(Content(2, 2))
    world.work(STAGING, until=step)
    new = world.offer(Content(3, 3))
    bring_to_gate(world, STAGING)
    (run,) = runs_of(world, STAGING, old)
    (newer,) = runs_of(world, STAGING, new)
    assert (run.phase, run.superseded_by) == (Phase.RUNNING, newer.id)
    assert newer.step is Step.GATE
    world.succeed(run)
    assert why(world.runs[run.id]) == "Superseded"
    assert front(world, STAGING).id == newer.id
    world.work(STAGING)
    assert live_release(world, STAGING) == new
    assert world.quarantines == []


def test_a_newer_release_that_is_ready_ends_a_wait_for_health() -> None:
    """Only once it stands at its Gate; it inherits what a failure restores."""
    world = world_with(Content(1, 1))
    verified = world.running(STAGING)
    old = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    new = world.offer(Content(3, 3))
    (run,) = runs_of(world, STAGING, old)
    assert run.phase is Phase.RUNNING
    bring_to_gate(world, STAGING)
    (run,) = runs_of(world, STAGING, old)
    assert (run.phase, why(run)) == (Phase.ABORTED, "Superseded")
    taken_over = front(world, STAGING)
    assert taken_over.release == new
    assert verified is not None
    assert taken_over.restore_target is not None
    assert taken_over.restore_target.rendered == verified.rendered
    world.fail(taken_over)
    restoring = front(world, STAGING)
    assert (restoring.kind, restoring.release) == (RunKind.ROLLBACK, verified.release)
    world.work(STAGING)
    assert live_release(world, STAGING) == old, "it was never judged, so it is eligible again"


def test_a_newer_release_that_does_not_render_ends_nothing() -> None:
    """It never takes the watch away from the one that is out."""
    world = world_with(Content(1, 1))
    old = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.offer(Content(3, 3))
    broken = world.next_of(STAGING)
    assert broken is not None
    world.fail(broken)
    world.work(STAGING)
    assert live_release(world, STAGING) == old


@pytest.mark.parametrize("step", [Step.VERIFY, Step.PRUNE, Step.CERTIFY])
def test_a_newer_release_lets_the_one_before_finish(step: Step) -> None:
    """From Verify on the older run is recorded as verified before the newer begins."""
    world = world_with(Content(1, 1))
    old = world.offer(Content(2, 2))
    world.work(STAGING, until=step)
    new = world.offer(Content(3, 3))
    bring_to_gate(world, STAGING)
    assert front(world, STAGING).release == old
    assert front(world, STAGING).superseded_by is not None
    world.work(STAGING)
    assert [run.phase for run in runs_of(world, STAGING, old)] == [Phase.SUCCEEDED]
    assert live_release(world, STAGING) == new


def test_a_stuck_release_is_overtaken_by_its_fix() -> None:
    """Nobody has to wait for a deadline, and what was stuck is not blamed."""
    world = world_with(Content(1, 1))
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    for _ in range(3):
        world.wait(front(world, STAGING))
    fix = world.offer(Content(3, 3))
    world.work(STAGING)
    assert live_release(world, STAGING) == fix
    assert world.quarantines == []


def test_continuous_pushes_cannot_starve_verification() -> None:
    """After two in a row were superseded while they waited, the third may finish."""
    world = world_with(Content(1, 1))
    for number in (2, 3, 4):
        world.offer(Content(number, number))
        bring_to_gate(world, STAGING)
        world.succeed(front(world, STAGING))
        world.succeed(front(world, STAGING))
        assert front(world, STAGING).step is Step.WAIT_HEALTHY
    assert world.stages[STAGING].superseded_waiting == 2
    third = front(world, STAGING)
    last = world.offer(Content(5, 5))
    bring_to_gate(world, STAGING)
    assert world.runs[third.id].phase is Phase.RUNNING
    world.wait(front(world, STAGING))
    assert world.runs[third.id].phase is Phase.RUNNING, "that it is not healthy yet is no signal"
    world.succeed(front(world, STAGING))
    assert front(world, STAGING).step is Step.VERIFY
    world.work(STAGING)
    assert world.runs[third.id].phase is Phase.SUCCEEDED
    assert live_release(world, STAGING) == last
    assert world.stages[STAGING].superseded_waiting == 0


def test_a_protected_release_that_fails_makes_room_for_its_fix() -> None:
    """The third in a row is superseded after all, as soon as it shows a failing signal."""
    world = world_with(Content(1, 1))
    for number in (2, 3, 4):
        world.offer(Content(number, number))
        bring_to_gate(world, STAGING)
        world.succeed(front(world, STAGING))
        world.succeed(front(world, STAGING))
    third = front(world, STAGING)
    fix = world.offer(Content(5, 5))
    bring_to_gate(world, STAGING)
    world.wait(front(world, STAGING), failing=True)
    assert why(world.runs[third.id]) == "Superseded"
    world.work(STAGING)
    assert live_release(world, STAGING) == fix


def test_newer_releases_replace_what_waits_for_an_approval() -> None:
    """Three arrive; only the newest is left to be approved, and the others never write."""
    world = world_with(Content(1, 1))
    waiting = []
    for number in (2, 3, 4, 5):
        waiting.append(world.offer(Content(number, number)))
        world.work(STAGING)
        world.work(PRODUCTION)
    ends = [why(run) for release in waiting for run in runs_of(world, PRODUCTION, release)]
    assert ends == ["Superseded", "Superseded", "Superseded", ""]
    assert closed_gates(world, PRODUCTION) == ["approval"]
    world.vote(PRODUCTION)
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == waiting[-1]


def test_a_vote_keeps_what_was_voted_for() -> None:
    """Three newer ones wait until it is decided; then the newest alone goes on."""
    world = World()
    managers = ApprovalGate(("group:managers",), count=2)
    world.read_file((STAGES[0], replace(STAGES[1], gates=(managers,))))
    first = world.offer(Content(1, 1))
    world.work(STAGING)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    newer = []
    for number in (2, 3, 4):
        newer.append(world.offer(Content(number, number)))
        world.work(STAGING)
        world.work(PRODUCTION)
    (run,) = runs_of(world, PRODUCTION, first)
    assert run.step is Step.GATE
    world.votes.append(replace(world.votes[-1], id="vote-b", subject="ben"))
    world.settle()
    world.work(PRODUCTION)
    assert runs_of(world, PRODUCTION, first)[0].phase is Phase.SUCCEEDED
    assert [len(runs_of(world, PRODUCTION, release)) for release in newer] == [0, 0, 1]


def test_a_vote_is_void_once_the_plan_changes() -> None:
    """The applied set moves under the waiting run; it is diffed anew and approved anew."""
    world = world_with(Content(1, 1), Content(2, 2))
    world.offer(Content(3, 3))
    world.work(STAGING)
    world.work(PRODUCTION)
    before = world.next_of(PRODUCTION)
    assert before is not None
    world.rollback(PRODUCTION)
    world.work(PRODUCTION)
    after = world.next_of(PRODUCTION)
    assert after is not None
    assert after.id == before.id
    assert after.plan != before.plan
    world.votes.append(replace(world.votes[-1], run=after.id, plan=before.plan or Digest("")))
    world.resume(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["approval"]
    world.vote(PRODUCTION)
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == after.release


def test_a_verification_revoked_upstream_stops_the_promotion() -> None:
    """What waits for production loses its way there when staging finds out."""
    slow = replace(STAGES[0], watch=timedelta(hours=1))
    world = World()
    world.read_file((slow, STAGES[1]))
    world.offer(Content(1, 1))
    world.work(STAGING)
    approve(world)
    world.offer(Content(2, 2))
    world.work(STAGING)
    world.work(PRODUCTION)
    world.watch_failure(STAGING)
    world.vote(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["upstream"]
