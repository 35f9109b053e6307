"""Keeps a stage's slots, applied set and conditions in step with its runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.stages import AppliedSet, Observation, Stage
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.store_ports import Transaction

FRONT_STEPS = frozenset(
    {Step.PREPARE, Step.APPLY, Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE, Step.CERTIFY}
)
"""Steps in which a Rollout holds the front slot."""


def update_slots(tx: Transaction, before: Run, after: Run) -> tuple[StageKey, ...]:
    """Store what a run's change means for its stage; returns stages to reconsider now.

    Raises:
        ConflictError: The stage changed since it was read; the whole transaction is tried again.
    """
    stage = tx.stages.get(after.stage)
    if stage is None:
        return ()
    changed = _move(stage, after)
    changed = _apply_commanded(changed, before, after, tx)
    changed = _let_in(changed, before, after)
    if not after.live and before.live:
        changed = _ended(changed, after, tx)
    if changed != stage:
        tx.stages.save(changed)
    leaves_wait = not after.live or changed.applied != stage.applied
    return (after.stage,) if leaves_wait or after.step is Step.GATE else ()


def _move(stage: Stage, run: Run) -> Stage:
    """Move a Rollout from *next* to *front* when it leaves its Gate."""
    if run.live and run.step in FRONT_STEPS and stage.next == run.id:
        return replace(stage, next=None, front=run.id)
    return stage


def _apply_commanded(stage: Stage, before: Run, after: Run, tx: Transaction) -> Stage:
    if after.step is not Step.APPLY or before.step is Step.APPLY or not after.live:
        return stage
    if after.rendered is None:
        return stage
    applied = AppliedSet(after.release, after.rendered, after.id, tx.now)
    same = stage.applied is not None and stage.applied.rendered == after.rendered
    verified = stage.verified if same else None
    return replace(stage, applied=applied, verified=verified, observation=None)


def _let_in(stage: Stage, before: Run, after: Run) -> Stage:
    """End what a person was called for when the step is over that a cluster let us not ask in."""
    stall, over = stage.stall, before.lockouts > after.lockouts and after.live
    if stall is None or not over or stall.run != after.id:
        return stage
    return replace(stage, stall=None) if stall.reason is StallReason.UNREACHABLE else stage


def _ended(stage: Stage, run: Run, tx: Transaction) -> Stage:
    front = None if stage.front == run.id else stage.front
    following = None if stage.next == run.id else stage.next
    stage = replace(stage, front=front, next=following)
    arrived = run.kind is RunKind.ROLLOUT and run.phase is Phase.SUCCEEDED
    overdue = run.failure is not None and run.failure.reason == AbortReason.OVERDUE.value
    tried_again = run.phase is Phase.ERRORED or overdue
    if arrived or (stage.requested == run.release and not tried_again):
        stage = replace(stage, requested=None)
    named = stage.naming is not None and stage.naming.release == run.release
    if named and run.kind is RunKind.ROLLOUT and not tried_again:
        stage = replace(stage, naming=None)
    if run.kind is RunKind.ROLLOUT:
        stage = replace(stage, superseded_waiting=_superseded_waiting(stage, run))
    if run.phase is Phase.SUCCEEDED:
        stage = _settled(stage, run, tx)
    return stage


def _superseded_waiting(stage: Stage, run: Run) -> int:
    superseded = run.failure is not None and run.failure.reason == AbortReason.SUPERSEDED.value
    if superseded and run.step is Step.WAIT_HEALTHY:
        return stage.superseded_waiting + 1
    return 0 if run.mutated else stage.superseded_waiting


def _settled(stage: Stage, run: Run, tx: Transaction) -> Stage:
    stall = stage.stall
    if stall is not None and not stall.reason.closes_gates:
        stall = None
    if not run.mutated:
        return replace(stage, stall=stall)
    seen = Observation(Health.HEALTHY, synced=True, message="", at=tx.now)
    return replace(stage, stall=stall, observation=seen)


def schedule_reconsider(tx: Transaction, key: StageKey, delay: timedelta) -> None:
    """Run a stage's selection again later. Safe to repeat: keeps the earlier time."""
    tx.work.add(
        WorkItem(
            key=f"reconsider:{key}",
            kind=WorkKind.RECONSIDER,
            subject=str(key),
            due_at=tx.now + delay,
        )
    )


def parse_stage_key(text: str) -> StageKey:
    """Read ``application/stage`` back.

    Raises:
        ValueError: There is no slash in it.
    """
    application, _, stage = text.partition("/")
    if not stage:
        message = f"{text!r} is not APPLICATION/STAGE"
        raise ValueError(message)
    return StageKey(ApplicationName(application), StageName(stage))
