"""When the run in *next* takes over from the one in *front*."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gates import Closed, GateState, Open, Refused
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, ReleaseId, StageName
from gitopsd.domain.runs import Failure, Phase, Run, RunId, RunKind, Step
from gitopsd.domain.sources import RefName
from gitopsd.domain.stages import Stage
from gitopsd.pipeline.selection import (
    Handover,
    compute_handover,
    count_superseded,
)
from tests.support.runs import KEY, NEWER, NOON, run_at

A, B, C, D = (ReleaseId(f"r-{letter}") for letter in "abcd")
LINE = Line(KEY.application, RefName("refs/heads/main"))
SPEC = StageSpec(StageName("production"), "one", "overlays/production", "shop")
STAGE = Stage(KEY)
MINUTE = timedelta(minutes=1)
PLAN = Digest("sha256:plan")


def rollout(
    release: ReleaseId, step: Step = Step.GATE, phase: Phase = Phase.RUNNING, why: str = ""
) -> Run:
    """A Rollout of a release."""
    run = replace(run_at(RunKind.ROLLOUT, step), release=release, phase=phase)
    failure = Failure(why, why) if why else None
    ended_at = None if run.live else NOON - MINUTE
    return replace(run, id=RunId(f"run-{release}"), failure=failure, ended_at=ended_at)


OPEN = GateState("soak", implicit=False, answer=Open())
SLOT = GateState("slot", implicit=True, answer=Closed("busy", "wait"))
FRONT = rollout(A, Step.WAIT_HEALTHY)
WAITING = replace(rollout(B), id=NEWER)


def test_next_takes_over_once_all_its_gates_are_open() -> None:
    """All but the slot itself."""
    handover = compute_handover(FRONT, WAITING, (OPEN, SLOT), STAGE, failing=False)
    assert handover == Handover(True, False, "every gate of next is open")


@pytest.mark.parametrize("front", [None, rollout(A, Step.CERTIFY, Phase.SUCCEEDED)])
def test_a_free_slot_needs_no_handover(front: Run | None) -> None:
    """There is nobody to supersede."""
    handover = compute_handover(front, WAITING, (OPEN, SLOT), STAGE, failing=True)
    assert handover == Handover(False, False, "the slot is free")


@pytest.mark.parametrize(
    "waiting",
    [
        rollout(B, Step.DIFF),
        rollout(B, Step.GATE, Phase.ABORTED),
        replace(rollout(B), phase=Phase.PENDING, step=None),
    ],
)
def test_only_a_run_at_its_gate_takes_over(waiting: Run) -> None:
    """A release that does not render never takes the watch away from the one that is out."""
    handover = compute_handover(FRONT, waiting, (OPEN,), STAGE, failing=True)
    assert handover == Handover(False, False, "next is not at its Gate")


def test_a_closed_gate_keeps_next_waiting() -> None:
    """Neither an approval that lacks nor a refusal lets it take over; nor does knowing nothing."""
    approval = GateState("approval", implicit=False, answer=Closed("0 of 1", "approve"))
    freeze = GateState("freeze", implicit=True, answer=Refused("never"))
    states = (approval, OPEN, SLOT, freeze)
    handover = compute_handover(FRONT, WAITING, states, STAGE, failing=True)
    assert handover == Handover(False, False, "next waits for approval, freeze")
    handover = compute_handover(FRONT, WAITING, (), STAGE, failing=True)
    assert handover == Handover(False, False, "next waits for gates")


def test_a_rollback_is_never_superseded() -> None:
    """Whatever waits, it ends first."""
    front = run_at(RunKind.ROLLBACK, Step.WAIT_HEALTHY)
    stage = replace(STAGE, superseded_waiting=2)
    handover = compute_handover(front, WAITING, (OPEN,), stage, failing=True)
    assert handover == Handover(False, False, "a rollback is never superseded")


def test_a_rollback_that_is_locked_out_elsewhere_gives_way() -> None:
    """The stage is written to another place by now, and nothing can be asked of that one."""
    here = run_at(RunKind.ROLLBACK, Step.APPLY)
    front = replace(here, lockouts=2, locked_out_until=NOON)
    for run, moved, now in ((front, True, True), (front, False, False), (here, True, False)):
        handover = compute_handover(run, WAITING, (OPEN,), STAGE, failing=False, moved=moved)
        assert handover.now is now


def test_what_is_locked_out_is_not_protected() -> None:
    """Nothing can be seen of what it is protected for."""
    stage = replace(STAGE, superseded_waiting=2)
    front = replace(FRONT, lockouts=2, locked_out_until=NOON)
    assert compute_handover(front, WAITING, (OPEN,), stage, failing=False).now


def test_the_front_run_is_told_once() -> None:
    """One that is aborting, or knows of this successor, is left alone; another one is news."""
    for front in (replace(FRONT, aborting=True), replace(FRONT, superseded_by=NEWER)):
        handover = compute_handover(front, WAITING, (OPEN,), STAGE, failing=False)
        assert handover == Handover(False, False, "the front run ends already")
    other = replace(FRONT, superseded_by=RunId("run-1"))
    assert compute_handover(other, WAITING, (OPEN,), STAGE, failing=False).now


@pytest.mark.parametrize("count,protected", [(0, False), (1, False), (2, True), (3, True)])
def test_the_third_in_a_row_is_protected_in_wait_healthy(count: int, protected: bool) -> None:
    """Unless it fails; in any other step it may be told."""
    stage = replace(STAGE, superseded_waiting=count)
    waiting = compute_handover(FRONT, WAITING, (OPEN,), stage, failing=False)
    assert (waiting.now, waiting.protected) == (not protected, protected)
    if protected:
        assert waiting.reason == f"{count} in a row were superseded; this one may finish"
    failing = compute_handover(FRONT, WAITING, (OPEN,), stage, failing=True)
    assert (failing.now, failing.protected) == (True, protected)
    applying = compute_handover(rollout(A, Step.APPLY), WAITING, (OPEN,), stage, failing=False)
    assert (applying.now, applying.protected) == (True, protected)
    sync = run_at(RunKind.SYNC, Step.WAIT_HEALTHY)
    of_sync = compute_handover(sync, WAITING, (OPEN,), stage, failing=False)
    assert (of_sync.now, of_sync.protected) == (True, False)


@pytest.mark.parametrize(
    "ended,count",
    [
        (rollout(A, Step.WAIT_HEALTHY, Phase.ABORTED, "Superseded"), 3),
        (rollout(A, Step.WAIT_HEALTHY, Phase.ABORTED, "Requested"), 0),
        (rollout(A, Step.APPLY, Phase.ABORTED, "Superseded"), 0),
        (rollout(A, Step.CERTIFY, Phase.SUCCEEDED), 0),
        (rollout(A, Step.GATE, Phase.ABORTED, "Superseded"), 2),
    ],
)
def test_rollouts_superseded_in_wait_healthy_are_counted(ended: Run, count: int) -> None:
    """Any other that had written starts the count anew; one that had not leaves it."""
    assert count_superseded(2, ended) == count
