"""Lets a stage go on: what a person lifts, and what one chooses after a restored database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, ReleaseId, StageKey
from gitopsd.domain.runs import RunId, RunKind
from gitopsd.domain.stages import AppliedSet, RestoredChoice, Stage, Stall
from gitopsd.domain.verifications import StallReason, VerificationId
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.admission import apply_event, settle
from gitopsd.engine.restored import void_votes
from gitopsd.engine.syncing import start_sync
from gitopsd.engine.verb_checks import refuse_for_stage
from gitopsd.pipeline.events import AbortRequested
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def resume_stage(
    tx: Transaction,
    actor: Actor,
    key: StageKey,
    choice: RestoredChoice | None,
    config: Configuration,
) -> ActionResult:
    """Lift suspension, hold, stall and a held rewind of a stage.

    Args:
        tx: The transaction.
        actor: Who asks.
        key: Which stage.
        choice: Whom to believe; asked for when the database was restored, and then only.
        config: The configuration in force.
    """
    stage = tx.stages.get(key)
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    refused = refuse_for_stage(tx, Verb.RESUME, key, config) if choice is None else None
    if refused is not None or stage is None or application is None or spec is None:
        return refused or ActionRefused(409, f"{key} is no longer configured")
    head = tx.releases.head(Line(key.application, application.ref_of(spec)))
    newest = head.number if head is not None else 0
    stall = stage.stall if _is_restored(stage) else None
    refusal = _refuse_choice(tx, stage, stall, choice)
    if refusal is not None:
        return refusal
    if stall is not None:
        if not _take_fence(tx, key, stall):
            return ActionRefused(409, f"somebody is writing to {key} just now; try again")
        void_votes(tx, stage)
        if choice is RestoredChoice.KEEP_CLUSTER:
            _believe_cluster(tx, actor, key, stall, newest, config)
        else:
            _save(tx, key, kept_offer=0)
    stage = tx.stages.get(key) or stage
    tx.stages.save(replace(stage, suspended=None, hold=None, stall=None, rewind_accepted=newest))
    settle(tx, (key,), config)
    stage = tx.stages.get(key) or stage
    front = tx.runs.get(stage.front) if stage.front is not None else None
    if front is not None and front.command is not None:
        tx.work.hasten(front.command, tx.now)
    if choice is RestoredChoice.KEEP_CLUSTER and stall is not None:
        return ActionDone(_say_kept(key, stall))
    if choice is RestoredChoice.REDEPLOY:
        return _redeploy(tx, actor, stage, config)
    return ActionDone(f"{key} goes on")


def _is_restored(stage: Stage) -> bool:
    return stage.stall is not None and stage.stall.reason is StallReason.RESTORED_DATABASE


def _refuse_choice(
    tx: Transaction, stage: Stage, stall: Stall | None, choice: RestoredChoice | None
) -> ActionRefused | None:
    key = stage.key
    if stall is None:
        if choice is None:
            return None
        message = f"{key} is not stalled by a restored database"
        return ActionRefused(409, f"{message}; gitopsd resume {key.application} {key.stage}")
    front = tx.runs.get(stage.front) if stage.front is not None else None
    if choice is RestoredChoice.REDEPLOY or front is None:
        return None
    message = f"{front.id} would write to {key} and change what the cluster has"
    if front.kind is RunKind.ROLLBACK:
        return ActionRefused(409, f"{message}; a rollback is not aborted: choose --redeploy")
    return ActionRefused(409, f"{message}; end it first: gitopsd abort {front.id} --leave")


def _take_fence(tx: Transaction, key: StageKey, stall: Stall) -> bool:
    """Let fences go on above the cluster's; returns whether nobody held the lease."""
    lease = tx.stages.claim(key, "resume", timedelta(seconds=1), cluster_fence=stall.fence)
    if lease is not None:
        tx.stages.release(lease)
    return lease is not None


def _believe_cluster(
    tx: Transaction, actor: Actor, key: StageKey, stall: Stall, newest: int, config: Configuration
) -> None:
    """Take over what the inventory says, and let nothing in that is known by now."""
    stage = tx.stages.get(key)
    if stage is None:
        return
    if stage.next is not None:
        message = f"{actor.subject} kept what the cluster has"
        event = AbortRequested(tx.now, by=actor.subject, message=message)
        apply_event(tx, stage.next, event, config)
        stage = tx.stages.get(key) or stage
    applied = _applied_there(tx, stage, stall)
    tx.stages.save(
        replace(
            stage,
            applied=applied,
            verified=_verified_as(tx, stage, applied) if applied is not None else None,
            requested=None,
            naming=None,
            observation=None,
            soaks=(),
            kept_offer=newest,
        )
    )


def _applied_there(tx: Transaction, stage: Stage, stall: Stall) -> AppliedSet | None:
    """Tell what the cluster's inventory names, with the run that brought it where one is known."""
    if not stall.release or not stall.rendered:
        return None
    before, rendered = stage.applied, Digest(stall.rendered)
    if before is not None and (before.release, before.rendered) == (stall.release, rendered):
        return before
    release = ReleaseId(stall.release)
    run = tx.runs.last_rollouts(stage.key).get(release)
    known = run.id if run is not None and run.rendered == rendered else RunId("")
    return AppliedSet(release, rendered, known, tx.now)


def _verified_as(tx: Transaction, stage: Stage, applied: AppliedSet) -> VerificationId | None:
    for item in tx.verifications.page(stage.key):
        same = item.rendered == applied.rendered and item.destination == stage.destination
        if same and item.revoked_at is None:
            return item.id
    return None


def _say_kept(key: StageKey, stall: Stall) -> str:
    what = stall.release or "what it has"
    return (
        f"{key} keeps {what} as its cluster has it; nothing is written until something newer "
        f"comes, or: gitopsd promote {key.application} {key.stage} RELEASE"
    )


def _redeploy(tx: Transaction, actor: Actor, stage: Stage, config: Configuration) -> ActionDone:
    """Apply the applied set again when no newer release is on its way by itself."""
    on_its_way = stage.front or stage.next
    if on_its_way is not None:
        return ActionDone(f"{stage.key} goes on with {on_its_way}", on_its_way)
    done = start_sync(tx, actor, stage.key, config)
    if isinstance(done, ActionRefused):
        return ActionDone(f"{stage.key} goes on; nothing is applied now: {done.message}")
    return ActionDone(f"{stage.key} goes on; its applied set is applied again", done.run)


def _save(tx: Transaction, key: StageKey, *, kept_offer: int) -> None:
    stage = tx.stages.get(key)
    if stage is not None:
        tx.stages.save(replace(stage, kept_offer=kept_offer))
