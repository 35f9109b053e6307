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
from gitopsd.engine.verb_checks import refuse_for_stage
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def start_sync(tx: Transaction, actor: Actor, key: StageKey, config: Configuration) -> ActionResult:
    """Start a Sync of the stage's applied set, unless something holds every writer."""
    refusal = refuse_for_stage(tx, Verb.SYNC, key, config) or _refuse_observed(tx, key)
    stage = tx.stages.get(key)
    if refusal is not None or stage is None or stage.applied is None:
        return refusal or ActionRefused(409, f"nothing was applied to {key} yet")
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


def _refuse_observed(tx: Transaction, key: StageKey) -> ActionRefused | None:
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if spec is not None and spec.mode is StageMode.OBSERVE:
        message = f"{key} only observes; set mode: apply in the application file"
        return ActionRefused(409, message)
    return None
