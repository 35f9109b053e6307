"""What is true of a whole stage, and of a run that leaves its Gate."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.history_rules import complain
from gitopsd.domain.gates import Decision
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.verifications import RestoreTarget
from tests.support.pipeline_state import PRODUCTION, STAGING, State, destination_of

_BEFORE = (None, Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE)
MOST_LIVE = 4
"""Live runs of two stages: one that writes and one that waits, each."""


def check_slots(world: State, live: Iterable[RunId]) -> None:
    """A stage has one run that may write, one Rollout before its Gate, and no other.

    Raises:
        BrokenRuleError: It has not.
    """
    slots = set()
    for run in (world.runs[run] for run in live):
        waiting = run.kind is RunKind.ROLLOUT and run.step in _BEFORE
        stage = world.stages[run.stage]
        if run.id != (stage.next if waiting else stage.front):
            complain(f"{run.id} in {run.step} is in neither slot of {run.stage}")
        slots.add(run.id)
    for stage in world.stages.values():
        for held in (stage.front, stage.next):
            if held is not None and held not in slots:
                complain(f"{held} has ended and holds a slot of {stage.key}")
    if len(slots) > MOST_LIVE:
        complain(f"{len(slots)} runs are live")


def check_outbox(world: State, live: Iterable[RunId]) -> None:
    """Each running run has exactly its one command in the outbox.

    Raises:
        BrokenRuleError: It has not.
    """
    outstanding = {world.runs[run].command for run in live} - {None}
    if world.outbox.keys() != outstanding:
        complain(f"{sorted(world.outbox)} are in the outbox, {outstanding} are waited for")


def check_leaving_gate(world: State, run: Run, front: RunId | None) -> None:
    """Whoever begins to write was let in by everything that has to hold.

    Args:
        world: The world, the run's new state stored.
        run: The run, in Prepare.
        front: Who could write in its stage a moment before.

    Raises:
        BrokenRuleError: Something did not hold.
    """
    stage, content = world.stages[run.stage], world.contents[run.release]
    if front is not None and world.runs[front].live:
        complain(f"{run.id} and {front} write to one stage")
    base = stage.applied.rendered if stage.applied is not None else None
    if run.plan_base != base or run.rendered != content.digest:
        complain(f"{run.id} was planned against {run.plan_base}, {base} is there")
    for item in world.held(run.stage):
        if content.digest == item.rendered or set(content.images) & set(item.images):
            complain(f"{run.id} brings what is quarantined: {item.id}")
    if stage.suspended is not None or (stage.stall is not None and stage.stall.reason.closes_gates):
        complain(f"{run.id} begins in a stage that is suspended or stalled")
    if stage.hold is not None and stage.requested != run.release:
        complain(f"{run.id} begins in a stage that is held")
    if run.phase is not Phase.RUNNING or (run.restore_target is None) is (run.no_restore is None):
        complain(f"{run.id} would restore {run.restore_target}, or {run.no_restore}")
    if run.restore_target is not None:
        _check_restorable(world, run)
    if run.stage == PRODUCTION:
        _check_promoted(world, run)


def _check_restorable(world: State, run: Run) -> None:
    """What would be restored was verified here, where the stage writes now, and still stands."""
    target = run.restore_target
    found = next(item for item in world.verifications if target and item.id == target.verification)
    content = world.contents[found.release]
    held = any(
        found.rendered == item.rendered or set(content.images) & set(item.images)
        for item in world.held(run.stage)
    )
    if found.revoked_at is not None or held or found.rendered == run.rendered:
        complain(f"{run.id} would restore {found.id}, which it may not")
    spec = world.spec_of(run.stage)
    if found.stage != run.stage or spec is None or found.destination != destination_of(spec):
        complain(f"{run.id} would restore {found.id}, which was written elsewhere")


def check_chosen(world: State, key: StageKey, target: RestoreTarget) -> None:
    """What a person has restored was verified in that stage, and still stands.

    Raises:
        BrokenRuleError: It was not.
    """
    found = next(item for item in world.verifications if item.id == target.verification)
    if found.stage != key or found.revoked_at is not None:
        complain(f"{key} is to go back to {found.id}, revoked at {found.revoked_at}")


def _check_promoted(world: State, run: Run) -> None:
    """Nothing comes to production unverified, or without an approval of just this plan."""
    if not any(
        (item.stage, item.release, item.revoked_at) == (STAGING, run.release, None)
        for item in world.verifications
    ):
        complain(f"{run.id} brings {run.release}, which is not verified in staging")
    votes = [vote.decision for vote in world.votes if (vote.run, vote.plan) == (run.id, run.plan)]
    if not run.plan_empty and (Decision.APPROVE not in votes or Decision.REJECT in votes):
        complain(f"{run.id} begins with the votes {votes}")


def check_freeze(world: State, run: Run, key: StageKey) -> None:
    """Nothing begins in a scope that is frozen.

    Raises:
        BrokenRuleError: It does.
    """
    for item in world.freezes:
        over = item.thawed_at is not None or (item.until is not None and item.until <= world.now)
        if not over and item.scope in ("*", f"stage:{key}"):
            complain(f"{run.id} begins {run.step} while {item.scope} is frozen")
