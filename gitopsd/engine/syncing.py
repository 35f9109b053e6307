"""Runs that people start in the front slot: a Sync of the applied set, and how one is put there."""

from __future__ import annotations

import secrets
from dataclasses import replace

from gitopsd.domain.config import Configuration, StageMode
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Run, RunId, RunKind
from gitopsd.domain.stages import Stage
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.admission import admit
from gitopsd.engine.facts import freezes_of
from gitopsd.store_ports import Transaction


def start_sync(tx: Transaction, actor: Actor, key: StageKey, config: Configuration) -> ActionResult:
    """Start a Sync of the stage's applied set, unless something holds every writer."""
    stage = tx.stages.get(key)
    if stage is None or stage.applied is None:
        return ActionRefused(409, f"nothing was applied to {key} yet")
    refusal = _may_sync(tx, stage, config)
    if refusal is not None:
        return refusal
    run = Run(
        id=make_run_id(key, "sync"),
        stage=key,
        release=stage.applied.release,
        kind=RunKind.SYNC,
        created_at=tx.now,
        spec=stage.spec,
        rendered=stage.applied.rendered,
        requested_by=actor.subject,
    )
    put_front(tx, stage, run, config)
    return ActionDone(f"applying the applied set of {key} again", run.id)


def put_front(tx: Transaction, stage: Stage, run: Run, config: Configuration) -> None:
    """Store a run as the one that may write, and let it begin."""
    tx.runs.add(run)
    tx.stages.save(replace(stage, front=run.id))
    admit(tx, run, config)


def make_run_id(key: StageKey, kind: str) -> RunId:
    """Make the id of a run that a person started: ``shop-staging-sync-3f9a1c2e``."""
    return RunId(f"{key.application}-{key.stage}-{kind}-{secrets.token_hex(4)}")


def _may_sync(tx: Transaction, stage: Stage, config: Configuration) -> ActionRefused | None:
    """A Sync writes: what holds every other writer holds it, too."""
    key = stage.key
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if application is None or spec is None or stage.retired_at is not None:
        return ActionRefused(409, f"{key} is no longer configured")
    if stage.front is not None:
        return ActionRefused(409, f"run {stage.front} is writing to {key}")
    if spec.mode is StageMode.OBSERVE:
        return ActionRefused(409, f"{key} only observes (mode: observe)")
    if stage.stall is not None and stage.stall.reason.closes_gates:
        resume = f"gitopsd resume {key.application} {key.stage}"
        return ActionRefused(409, f"{key} is stalled: {stage.stall.message} Then: {resume}")
    freezes = freezes_of(tx, application, spec, config)
    if freezes:
        thaw = f"gitopsd thaw {freezes[0].id}"
        return ActionRefused(409, f"{key} is frozen: {freezes[0].reason}. End it with: {thaw}")
    return None
