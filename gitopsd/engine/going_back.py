"""Restores a verified set because a person wants it, whatever is under way."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import Configuration
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import Run, RunKind
from gitopsd.domain.stages import Condition, Stage
from gitopsd.domain.verifications import RestoreTarget
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.admission import apply_event
from gitopsd.engine.facts import restore_facts
from gitopsd.engine.syncing import make_run_id, put_front
from gitopsd.engine.verb_checks import refuse_for_stage
from gitopsd.pipeline.events import RollbackRequested
from gitopsd.pipeline.rollback import choose_manual_target
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def roll_back(
    tx: Transaction,
    actor: Actor,
    key: StageKey,
    wanted: ReleaseId | None,
    reason: str,
    config: Configuration,
) -> ActionResult:
    """Restore a verified set: the release named, or the one before what the stage has.

    What is under way there ends first. A hold keeps newer releases away afterwards.

    Args:
        tx: The transaction.
        actor: Who goes back.
        key: Which stage.
        wanted: The release; None for the one before what the stage has, or is being brought.
        reason: In their words; may be empty.
        config: The configuration in force.
    """
    refusal = refuse_for_stage(tx, Verb.ROLLBACK, key, config)
    stage = tx.stages.get(key)
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if refusal is not None:
        return refusal
    if stage is None or spec is None or stage.applied is None:
        return ActionRefused(404, f"there is no stage {key}")
    front = tx.runs.get(stage.front) if stage.front is not None else None
    bringing = front if front is not None and front.kind is RunKind.ROLLOUT else None
    bad = bringing.rendered if bringing is not None else None
    facts = restore_facts(tx, key, bad or stage.applied.rendered, spec)
    choice = choose_manual_target(facts, wanted, f"{key.application} {key.stage}")
    if not isinstance(choice, RestoreTarget):
        return ActionRefused(409, choice.message)
    if front is not None and front.kind is not RunKind.SYNC and front.rendered == choice.rendered:
        message = f"{front.id} brings {choice.release} already; what it waits for"
        return ActionRefused(409, f"{message}: gitopsd explain {front.id}")
    if front is None and _runs_verified(tx, stage, choice):
        again = f"to apply it again: gitopsd sync {key.application} {key.stage}"
        return ActionRefused(409, f"{key} runs {choice.release} already; {again}")
    return _go(tx, actor, stage, front, choice, reason, config)


def _runs_verified(tx: Transaction, stage: Stage, choice: RestoreTarget) -> bool:
    """Tell whether a stage runs what would be restored, and that is verified."""
    verified = tx.verifications.get(stage.verified) if stage.verified is not None else None
    return verified is not None and verified.rendered == choice.rendered


def _go(
    tx: Transaction,
    actor: Actor,
    stage: Stage,
    front: Run | None,
    choice: RestoreTarget,
    reason: str,
    config: Configuration,
) -> ActionResult:
    key = stage.key
    why = f": {reason}" if reason else ""
    hold = Condition(actor.subject, f"rolled back by hand{why}", tx.now)
    tx.stages.save(replace(stage, hold=hold))
    if stage.verified is not None and not _runs_verified(tx, stage, choice):
        tx.verifications.revoke(stage.verified, tx.now)
    until = f"nothing newer follows until: gitopsd resume {key.application} {key.stage}"
    if front is not None:
        event = RollbackRequested(tx.now, by=actor.subject, target=choice)
        done = apply_event(tx, front.id, event, config)
        if done.ignored:
            return ActionRefused(409, f"{front.id} {done.ignored}; gitopsd explain {front.id}")
        if front.kind is RunKind.ROLLBACK:
            return ActionDone(f"the rollback goes to {choice.release} instead; {until}", front.id)
        ends = f"{front.id} ends as soon as its work in flight reports"
        return ActionDone(f"{ends}, then {choice.release} is restored; {until}", front.id)
    run = Run(
        id=make_run_id(key, "rb"),
        stage=key,
        release=choice.release,
        kind=RunKind.ROLLBACK,
        created_at=tx.now,
        spec=choice.spec,
        rendered=choice.rendered,
        restore_target=choice,
        requested_by=actor.subject,
    )
    put_front(tx, tx.stages.get(key) or stage, run, config)
    return ActionDone(f"{key} is being rolled back to {choice.release}; {until}", run.id)
