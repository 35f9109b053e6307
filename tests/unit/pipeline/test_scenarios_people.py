"""Scenarios: what people do, to runs, to the configuration and to the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.releases import OfferKind, ReleaseId
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.stages import Stall
from gitopsd.domain.verifications import StallReason
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

MINUTE = timedelta(minutes=1)


def test_a_persons_rollback_holds_newer_releases() -> None:
    """The one before comes back; nothing newer leaves its Gate until a person resumes."""
    world = world_with(Content(1, 1), Content(2, 2))
    world.rollback(PRODUCTION)
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == "r-1"
    new = world.offer(Content(3, 3))
    world.work(STAGING)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["hold"]
    world.resume(PRODUCTION)
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == new


def test_a_person_promotes_an_older_release() -> None:
    """It passes its Gates like any other, over what is newer, and holds the stage."""
    world = world_with(Content(1, 1), Content(2, 2))
    world.promote(PRODUCTION, ReleaseId("r-1"))
    world.work(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["approval"]
    world.vote(PRODUCTION)
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == "r-1"
    assert world.stages[PRODUCTION].requested is None
    world.offer(Content(3, 3))
    world.work(STAGING)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["hold"]


def test_a_person_redirects_a_rollback_under_way() -> None:
    """It is the only thing that ends a rollback early, and no failure of it counts then."""
    world = world_with(Content(1, 1), Content(2, 2), Content(3, 3))
    world.rollback(PRODUCTION)
    world.work(PRODUCTION, until=Step.APPLY)
    running = front(world, PRODUCTION)
    assert world.rollback(PRODUCTION, ReleaseId("r-1"))
    world.fail(front(world, PRODUCTION))
    assert why(world.runs[running.id]) == "Redirected"
    world.work(PRODUCTION)
    assert live_release(world, PRODUCTION) == "r-1"
    assert world.stages[PRODUCTION].stall is None


def test_a_person_aborts_and_gets_the_old_state_back() -> None:
    """Nothing is blamed, and the aborted release is not taken again by itself."""
    world = world_with(Content(1, 1))
    release = world.offer(Content(2, 2))
    world.work(STAGING, until=Step.WAIT_HEALTHY)
    world.abort(front(world, STAGING).id, restore=True)
    world.wait(front(world, STAGING))
    world.work(STAGING)
    assert live_release(world, STAGING) == "r-1"
    assert world.quarantines == []
    assert world.next_of(STAGING) is None
    assert len(runs_of(world, STAGING, release)) == 1


def test_a_rewound_branch_waits_for_a_person() -> None:
    """A force-push to an older commit does not go back by itself; asking for it does."""
    world = world_with(Content(1, 1), Content(2, 2))
    world.offer_again(ReleaseId("r-1"), OfferKind.REWOUND)
    world.work(STAGING)
    assert closed_gates(world, STAGING) == ["rewind"]
    world.promote(STAGING, ReleaseId("r-1"))
    world.work(STAGING)
    assert live_release(world, STAGING) == "r-1"


def test_a_suspended_stage_takes_nothing() -> None:
    """Releases pile up before it; on resume only the newest goes."""
    world = world_with(Content(1, 1))
    world.suspend(STAGING)
    passed = world.offer(Content(2, 2))
    newest = world.offer(Content(3, 3))
    assert world.next_of(STAGING) is None
    world.resume(STAGING)
    world.work(STAGING)
    assert live_release(world, STAGING) == newest
    assert runs_of(world, STAGING, passed) == []


def test_drift_is_corrected_unless_a_release_comes() -> None:
    """A Sync applies the applied set again; a release that is ready ends it."""
    world = world_with(Content(1, 1))
    assert world.sync(STAGING)
    world.work(STAGING)
    assert live_release(world, STAGING) == "r-1"
    assert world.sync(STAGING)
    sync = front(world, STAGING)
    release = world.offer(Content(2, 2))
    bring_to_gate(world, STAGING)
    assert world.runs[sync.id].superseded_by is not None
    world.succeed(front(world, STAGING))
    assert why(world.runs[sync.id]) == "Superseded"
    world.work(STAGING)
    assert live_release(world, STAGING) == release


def test_a_removed_stage_ends_what_waits_and_lets_finish_what_writes() -> None:
    """The front run finishes, its rollback included; nothing else begins."""
    world = world_with(Content(1, 1))
    world.offer(Content(2, 2))
    world.work(STAGING)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    world.work(PRODUCTION, until=Step.VERIFY)
    world.offer(Content(3, 3))
    world.work(STAGING)
    waiting, writing = world.next_of(PRODUCTION), front(world, PRODUCTION)
    assert waiting is not None
    world.read_file(STAGES[:1])
    assert why(world.runs[waiting.id]) == "StageRemoved"
    assert world.runs[writing.id].phase is Phase.RUNNING
    world.fail(front(world, PRODUCTION))
    assert front(world, PRODUCTION).kind is RunKind.ROLLBACK
    world.work(PRODUCTION)
    assert world.stages[PRODUCTION].front is None
    applied = world.stages[PRODUCTION].applied
    assert applied is not None
    assert applied.release == "r-1"
    world.offer(Content(4, 4))
    world.work(STAGING)
    assert world.next_of(PRODUCTION) is None


def test_a_stage_that_comes_back_goes_on_where_it_was() -> None:
    """What waited when it was removed is eligible again."""
    world = world_with(Content(1, 1))
    release = world.offer(Content(2, 2))
    world.work(STAGING)
    world.read_file(STAGES[:1])
    world.read_file(STAGES)
    approve(world)
    assert live_release(world, PRODUCTION) == release


def test_a_removed_file_retires_all_its_stages() -> None:
    """The same for each of them."""
    world = world_with(Content(1, 1))
    world.offer(Content(2, 2))
    world.work(STAGING, until=Step.APPLY)
    world.offer(Content(3, 3))
    world.file = None
    world.settle()
    assert [world.stages[key].next for key in (STAGING, PRODUCTION)] == [None, None]
    finishing = front(world, STAGING)
    for _ in range(5):
        world.succeed(front(world, STAGING))
    assert world.runs[finishing.id].phase is Phase.SUCCEEDED
    assert live_release(world, STAGING) is None, "there is no stage any more"


def test_a_moved_stage_has_no_targets_in_its_new_place() -> None:
    """What was verified elsewhere is not restored; the failure calls a person."""
    world = world_with(Content(1, 1))
    moved = replace(STAGES[0], namespace="shop-staging-2")
    world.read_file((moved, STAGES[1]))
    world.work(STAGING, until=Step.VERIFY)
    failed = front(world, STAGING)
    assert failed.no_restore is StallReason.DESTINATION_CHANGED
    world.fail(failed)
    assert world.rollbacks == []


def test_a_restored_database_waits_for_a_person() -> None:
    """Nothing leaves a Gate, and votes that were voided do not count after the resume."""
    world = world_with(Content(1, 1))
    release = world.offer(Content(2, 2))
    world.work(STAGING)
    stall = Stall(StallReason.RESTORED_DATABASE, "the cluster has a higher fence", world.now)
    world.stages[PRODUCTION] = replace(world.stages[PRODUCTION], stall=stall)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["stall"]
    world.votes = [replace(vote, void_at=world.now) for vote in world.votes]
    world.resume(PRODUCTION)
    assert closed_gates(world, PRODUCTION) == ["approval"]
    approve(world)
    assert live_release(world, PRODUCTION) == release
