"""Brings a release that a person names: once more, or instead of what the stage would take."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.releases import Line, OfferKind, ReleaseId, StageKey
from gitopsd.domain.runs import RunId, RunKind
from gitopsd.domain.stages import Condition
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.admission import bring_now, settle
from gitopsd.engine.agreements import agree_again
from gitopsd.engine.facts import load_selection_facts
from gitopsd.engine.naming import name_release, refuse_naming
from gitopsd.engine.probing import ask_again
from gitopsd.engine.verb_checks import find_quarantine, refuse_for_run, refuse_for_stage
from gitopsd.pipeline.selection import select
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def promote_release(
    tx: Transaction, actor: Actor, key: StageKey, release: ReleaseId, config: Configuration
) -> ActionResult:
    """Ask for a release in a stage; an older one sets a hold, so nothing newer follows."""
    refusal = refuse_for_stage(tx, Verb.PROMOTE, key, config)
    if refusal is not None:
        return refusal
    if tx.releases.get(release) is None:
        return ActionRefused(404, f"there is no release {release}")
    refusal = refuse_naming(tx, actor, key, config)
    return refusal or _bring(tx, actor, key, release, config)


def retry_run(tx: Transaction, actor: Actor, run_id: RunId, config: Configuration) -> ActionResult:
    """Try a run's release again in its stage, or what waits for a run or follows it."""
    refusal = refuse_for_run(tx, Verb.RETRY, run_id, config)
    run = tx.runs.get(run_id)
    if refusal is not None or run is None:
        return refusal or ActionRefused(404, f"there is no run {run_id}")
    if run.kind is RunKind.ROLLBACK and not run.live:
        agree_again(tx, run.id)
        return ActionDone(f"the commit that follows {run.id} is tried again", run.id)
    if not run.live:
        return _bring(tx, actor, run.stage, run.release, config)
    if run.kind is RunKind.ROLLBACK:
        tx.work.remove(f"admit:{run.id}")
        settle(tx, (run.stage,), config)
        return ActionDone(f"{run.id} begins at once", run.id)
    if ask_again(tx, run):
        return ActionDone(f"the gates of {run.id} that ask outside are asked again now", run.id)
    message = f"{run.id} waits at its Gate, and no gate asks outside; what opens them"
    return ActionRefused(409, f"{message}: gitopsd explain {run.id}")


def _bring(
    tx: Transaction, actor: Actor, key: StageKey, release: ReleaseId, config: Configuration
) -> ActionResult:
    stage = tx.stages.get(key)
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if stage is None or application is None or spec is None:
        return ActionRefused(404, f"there is no stage {key}")
    applied = stage.applied if stage.verified is not None else None
    if applied is not None and applied.release == release:
        return ActionRefused(409, f"{key} runs {release} already")
    held = find_quarantine(tx, key, release)
    if held is not None:
        lift = f"let it in again with: gitopsd quarantine lift {held.id}"
        return ActionRefused(409, f"{release} is quarantined in {key}: {held.reason}; {lift}")
    line = Line(key.application, application.ref_of(spec))
    older = _is_older(tx, line, key, release)
    if tx.releases.last_offer(line, release) is None:
        tx.releases.offer(line, release, tx.now, OfferKind.REQUESTED)
    naming = name_release(tx, actor, key, release, config)
    tx.stages.save(replace(stage, requested=release, naming=naming or stage.naming))
    settle(tx, (key,), config)
    bring_now(tx, key, release, config)
    done = _say_brought(tx, key, release, application, spec, hold=older)
    stage = tx.stages.get(key)
    if older and stage is not None:
        hold = Condition(actor.subject, "asked for an older release", tx.now)
        tx.stages.save(replace(stage, hold=hold))
        settle(tx, (key,), config)
    return done


def _say_brought(
    tx: Transaction,
    key: StageKey,
    release: ReleaseId,
    application: ApplicationSpec,
    spec: StageSpec,
    *,
    hold: bool,
) -> ActionDone:
    stage = tx.stages.get(key)
    waiting = tx.runs.get(stage.next) if stage is not None and stage.next is not None else None
    held = "; nothing newer follows until gitopsd resume" if hold else ""
    if waiting is not None and waiting.release == release:
        return ActionDone(f"{release} is on its way to {key}{held}", waiting.id)
    why = ""
    if stage is not None:
        choice = select(load_selection_facts(tx, stage, application, spec))
        why = dict(choice.skipped).get(release, choice.reason if choice.release is None else "")
    waits = f": {why}" if why else ""
    return ActionDone(f"{release} is asked for in {key} and waits for its turn{waits}{held}")


def _is_older(tx: Transaction, line: Line, key: StageKey, release: ReleaseId) -> bool:
    stage = tx.stages.get(key)
    if stage is None or stage.applied is None:
        return False
    asked = tx.releases.last_offer(line, release)
    running = tx.releases.last_offer(line, stage.applied.release)
    return asked is not None and running is not None and asked.number < running.number
