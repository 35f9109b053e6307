"""What stands in line for a stage."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import Promotion
from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageName
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.pipeline.selection import select
from gitopsd.pipeline.stage_queue import LONGEST, Place, QueueEntry, compute_queue
from tests.support.runs import run_at
from tests.unit.pipeline.test_selection import (
    PLAN,
    SPEC,
    STAGE,
    A,
    B,
    C,
    D,
    condition,
    facts,
    rollout,
    vote,
)

APPROVAL = GateState("approval", implicit=False, answer=Closed("0 of 1 approvals", "ask ben"))


def entry(position: int | None, place: Place, release: ReleaseId, reason: str) -> QueueEntry:
    """An entry without a run."""
    return QueueEntry(position, place, release, reason)


def test_an_idle_stage_has_an_empty_queue() -> None:
    """It runs the newest; what is older is history."""
    given = replace(facts(A, B), running=B, running_rendered=Digest("b"))
    assert compute_queue(given) == ()
    assert compute_queue(facts()) == ()


def test_front_next_and_what_comes_after_them_have_positions() -> None:
    """Each with what it does, or what it waits for."""
    waiting = replace(rollout(B), plan=PLAN)
    given = replace(
        facts(A, B, C),
        front_run=rollout(A, Step.APPLY),
        next_run=waiting,
        next_votes=(vote(),),
    )
    opened = GateState("freeze", implicit=True, answer=Open())
    assert compute_queue(given, (APPROVAL, opened)) == (
        QueueEntry(1, Place.FRONT, A, "being brought: Apply", RunId("run-r-a")),
        QueueEntry(2, Place.NEXT, B, "approval: 0 of 1 approvals", RunId("run-r-b")),
        entry(3, Place.WAITING, C, "a vote has been given for r-b"),
    )


def test_what_is_older_comes_only_when_the_newest_does_not() -> None:
    """In the order in which releases would be tried."""
    given = replace(facts(A, B, C), running=A, running_rendered=Digest("a"))
    assert compute_queue(given) == (
        entry(1, Place.WAITING, C, "r-c is the newest"),
        entry(2, Place.WAITING, B, "taken only when r-c is not"),
    )
    assert select(given).release == C


def test_what_is_kept_out_has_no_position() -> None:
    """It says why, also while the whole stage is closed."""
    spec = replace(SPEC, after=(StageName("staging"),))
    given = replace(facts(A, B, C), spec=spec, upstream={"staging": frozenset({A, B})})
    kept = entry(None, Place.KEPT_OUT, C, "not verified in staging")
    assert compute_queue(given) == (
        kept,
        entry(1, Place.WAITING, B, "r-b is the newest"),
        entry(2, Place.WAITING, A, "taken only when r-b is not"),
    )
    shut = replace(facts(A), stage=replace(STAGE, suspended=condition("inventory")))
    assert compute_queue(shut) == (entry(None, Place.KEPT_OUT, A, "suspended by maria: inventory"),)


def test_a_stage_that_people_feed_says_how() -> None:
    """Nothing comes by itself; a release that a person asked for has the first position."""
    spec = replace(SPEC, promotion=Promotion.MANUAL)
    given = replace(facts(A, B), spec=spec)
    first, second = compute_queue(given)
    assert first == entry(
        None,
        Place.KEPT_OUT,
        B,
        "a person names each: gitopsd promote shop production r-b",
    )
    assert second.release == A
    assert select(given).release is None
    asked = replace(given, stage=replace(STAGE, requested=A))
    assert [one.position for one in compute_queue(asked)] == [1, None]
    assert select(asked).release == A


def test_a_restore_stands_before_everything() -> None:
    """It says what it does; a run that begins says so, one that ended is not there."""

    def first(run: Run) -> str:
        (found,) = compute_queue(replace(facts(), front_run=run))
        return found.reason

    assert first(run_at(RunKind.ROLLBACK, Step.VERIFY)) == "being restored: Verify"
    assert first(run_at(RunKind.SYNC, Phase.PENDING)) == "being applied again: Pending"
    assert compute_queue(replace(facts(), next_run=rollout(D, Step.GATE, Phase.ABORTED))) == ()
    at_gate = replace(facts(), next_run=rollout(D))
    assert compute_queue(at_gate)[0].reason == "being brought: Gate"


def test_a_long_line_is_cut() -> None:
    """People look at its beginning."""
    many = [ReleaseId(f"r-{number}") for number in range(3 * LONGEST)]
    assert len(compute_queue(facts(*many))) == LONGEST
