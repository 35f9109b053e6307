"""Loads the facts that explanations are made from; what is said of them is decided in the core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.releases import ApplicationName, Line, Offer, ReleaseId, StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import Quarantine
from gitopsd.domain.work import Page
from gitopsd.engine.effects import destination_of, stage_spec_of
from gitopsd.engine.facts import (
    freezes_of,
    load_gate_facts,
    load_selection_facts,
    newest_verification,
)
from gitopsd.engine.ignoring import (
    load_ignored_deliveries,
    load_ignored_of_run,
    load_ignored_of_stage,
)
from gitopsd.engine.offering import find_current, load_image_choice
from gitopsd.engine.queries import rollback_after
from gitopsd.pipeline.apply_hold import evaluate_before_apply, is_held_before_apply
from gitopsd.pipeline.explained_application import ApplicationFacts, list_troubles
from gitopsd.pipeline.explained_stage import StageFacts
from gitopsd.pipeline.explanation import Foresight
from gitopsd.pipeline.facts import SelectionFacts
from gitopsd.pipeline.foresight import find_opening, foresee, foresee_idle
from gitopsd.pipeline.gates import evaluate_gates
from gitopsd.pipeline.promotion import missing_upstream
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.run_phrases import RunFacts
from gitopsd.pipeline.run_story import compute_steps
from gitopsd.pipeline.selection import find_unwanted, select
from gitopsd.pipeline.stage_queue import compute_queue
from gitopsd.store_ports import Transaction

_HISTORY = Page(limit=50)


def load_run_facts(
    tx: Transaction, run: Run, config: Configuration, at: datetime | None = None
) -> RunFacts:
    """Load everything that is said of a run.

    Args:
        tx: A reading transaction.
        run: The run.
        config: The configuration in force.
        at: Time for which its gates are foreseen; None for none.
    """
    stage, spec = tx.stages.get(run.stage), stage_spec_of(tx, run)
    steps = compute_steps(run, tuple(tx.runs.events(run.id)))
    rollback = rollback_after(tx, run)
    target = rollback.release if rollback is not None else _target_of(run)
    undone = _undone_by(tx, run)
    quarantine = tx.quarantines.get(f"q-{(undone or run).id}")
    facts = RunFacts(
        now=tx.now,
        run=run,
        name=name_release(tx, run.release),
        since=steps[-1].started_at if steps else run.created_at,
        target=name_release(tx, target) if target is not None else "",
        cluster=spec.cluster if spec is not None else "",
        successor=_successor_of(tx, run),
        rollback=rollback,
        undone=undone,
        agreement=tx.agreements.get(run.id),
        quarantine=quarantine if quarantine and quarantine.lifted_at is None else None,
        stall=stage.stall if stage is not None else None,
        ignored=load_ignored_of_run(tx, run.id),
    )
    return _with_gates(tx, facts, config, at)


def load_stage_facts(
    tx: Transaction,
    key: StageKey,
    config: Configuration,
    at: datetime | None = None,
    *,
    problems: Iterable[str] = (),
) -> StageFacts | None:
    """Load everything that is said of a stage; None when there is none of that name.

    Args:
        tx: A reading transaction.
        key: The stage.
        config: The configuration in force.
        at: Time for which its gates are foreseen; None for none.
        problems: Why its application's file as it is now is not used.
    """
    stage, application = tx.stages.get(key), tx.specs.current(key.application)
    if stage is None:
        return None
    front = _load_run(tx, stage.front, config, at)
    waiting = _load_run(tx, stage.next, config, at)
    facts = StageFacts(
        now=tx.now,
        stage=stage,
        spec=application.stage(key.stage) if application is not None else None,
        front=front,
        next=waiting,
        names=_names(tx, [stage.applied.release] if stage.applied is not None else []),
        besides=list_troubles(_load_application(tx, key.application, problems)),
        ignored=load_ignored_of_stage(tx, key, _runs_of(stage)),
    )
    if application is None or facts.spec is None:
        return facts
    return _with_offers(tx, facts, application, facts.spec, config, at)


def load_application_facts(
    tx: Transaction,
    name: ApplicationName,
    config: Configuration,
    *,
    problems: Iterable[str] = (),
    sure: bool = False,
) -> ApplicationFacts:
    """Load what is said of an application beside its stages.

    Args:
        tx: A reading transaction.
        name: The application.
        config: The configuration in force.
        problems: Why its file as it is now is not used.
        sure: Leave out deliveries that may speak of other applications.
    """
    spec = tx.specs.current(name)
    facts = _load_application(tx, name, problems)
    ignored = load_ignored_deliveries(tx, spec, config, sure=sure) if spec is not None else ()
    return replace(facts, ignored=ignored)


def _load_application(
    tx: Transaction, name: ApplicationName, problems: Iterable[str]
) -> ApplicationFacts:
    spec = tx.specs.current(name)
    if spec is None:
        return ApplicationFacts(tx.now, name)
    followed = dict.fromkeys(spec.ref_of(stage) for stage in spec.stages)
    refs = [tx.refs.get(spec.source.repo, ref) for ref in followed]
    current = find_current(tx, Line(spec.name, spec.source.ref))
    stages = [one.name for one in spec.stages if spec.ref_of(one) == spec.source.ref]
    choice = load_image_choice(tx, spec, stages, current)
    images = [tx.images.get(source.name) for source in spec.images]
    passed = [f"{image} is passed over: it is quarantined" for image in choice.skipped]
    return ApplicationFacts(
        now=tx.now,
        name=name,
        repo=spec.source.repo,
        refs=tuple(ref for ref in refs if ref is not None),
        problems=tuple(problems),
        image_problems=tuple(f"{one.name}: {one.problem}" for one in images if one and one.problem),
        waiting=(*choice.missing, *choice.waiting, *passed),
    )


def _runs_of(stage: Stage) -> list[RunId]:
    return [run for run in (stage.front, stage.next) if run is not None]


def name_release(tx: Transaction, release: ReleaseId) -> str:
    """Say a release as people call it, with its id: ``calm-lake (r-0a1b2c)``."""
    found = tx.releases.get(release)
    return f"{found.alias} ({release})" if found is not None and found.alias else str(release)


def _names(tx: Transaction, releases: Iterable[ReleaseId]) -> dict[ReleaseId, str]:
    return {release: name_release(tx, release) for release in releases}


def _load_run(
    tx: Transaction, run: RunId | None, config: Configuration, at: datetime | None
) -> RunFacts | None:
    found = tx.runs.get(run) if run is not None else None
    return load_run_facts(tx, found, config, at) if found is not None else None


def _target_of(run: Run) -> ReleaseId | None:
    own = run.restore_target is not None and run.restore_target.rendered == run.rendered
    if run.restore_target is None or (own and run.kind is RunKind.ROLLOUT):
        return None
    return run.restore_target.release


def _undone_by(tx: Transaction, run: Run) -> Run | None:
    """Find the run whose work a Rollback undoes: the last one before it that wrote."""
    if run.kind is not RunKind.ROLLBACK:
        return None
    seen = False
    for other in tx.runs.page(_HISTORY, stage=run.stage):
        if seen and other.kind is RunKind.ROLLOUT and other.mutated:
            return other
        seen = seen or other.id == run.id
    return None


def _successor_of(tx: Transaction, run: Run) -> Run | None:
    """Find the run that took over from one, or its release's next attempt."""
    if run.superseded_by is not None:
        return tx.runs.get(run.superseded_by)
    if run.phase is not Phase.ERRORED:
        return None
    if run.kind is RunKind.ROLLOUT:
        latest = tx.runs.last_rollouts(run.stage).get(run.release)
        return latest if latest is not None and latest.id != run.id else None
    stage = tx.stages.get(run.stage)
    front = tx.runs.get(stage.front) if stage is not None and stage.front is not None else None
    return front if front is not None and front.kind is run.kind else None


def _with_gates(
    tx: Transaction, facts: RunFacts, config: Configuration, at: datetime | None
) -> RunFacts:
    """Add what the gates of a run say that stands at them; nothing for any other."""
    run, held = facts.run, is_held_before_apply(facts.run)
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    stands = run.live and (run.step is Step.GATE or held)
    if application is None or spec is None or not stands:
        return facts
    found = load_gate_facts(tx, run, application, spec, config)
    if found is None:
        return facts
    evaluate = evaluate_before_apply if held else evaluate_gates
    return replace(
        facts,
        gates=evaluate(found),
        opens_at=find_opening(found, found.now, evaluate),
        foresight=foresee(found, at, evaluate) if at is not None else None,
    )


def _with_offers(
    tx: Transaction,
    facts: StageFacts,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
    at: datetime | None,
) -> StageFacts:
    """Add what the stage's line offers, and what stands in the way of it."""
    stage, key = facts.stage, facts.stage.key
    chosen = load_selection_facts(tx, stage, application, spec)
    selection = select(chosen)
    newest = chosen.offers[0] if chosen.offers else None
    current = newest_verification(tx, key, destination_of(spec))
    running = current if current is not None and current.id == stage.verified else None
    named = [one for one, _ in selection.skipped]
    queue = compute_queue(chosen)
    named += [entry.release for entry in queue]
    named += [one.release for one in (newest, stage.applied, running) if one is not None]
    last = chosen.last_runs.get(newest.release) if newest is not None else None
    freezes = freezes_of(tx, application, spec, config)
    return replace(
        facts,
        ref=application.ref_of(spec),
        names=_names(tx, named),
        running=running.release if running is not None else None,
        verified_at=running.recorded_at if running is not None else None,
        newest=newest,
        newest_run=load_run_facts(tx, last, config) if last is not None else None,
        quarantine=_quarantine_of(tx, chosen, newest),
        missing=missing_upstream(spec, newest.release, chosen.upstream) if newest else (),
        unwanted=find_unwanted(chosen, newest.release) if newest else "",
        queue=queue,
        selection=selection,
        freezes=freezes,
        foresight=_foresee_idle(tx, facts, spec, newest, config, at),
    )


def _quarantine_of(
    tx: Transaction, chosen: SelectionFacts, newest: Offer | None
) -> Quarantine | None:
    if newest is None:
        return None
    rendering = chosen.renderings.get(newest.release)
    release = tx.releases.get(newest.release)
    images = (
        *(release.images.values() if release is not None else ()),
        *(rendering.images if rendering is not None else ()),
    )
    rendered = rendering.rendered if rendering is not None else None
    return is_quarantined(rendered, images, chosen.quarantines)


def _foresee_idle(
    tx: Transaction,
    facts: StageFacts,
    spec: StageSpec,
    newest: Offer | None,
    config: Configuration,
    at: datetime | None,
) -> Foresight | None:
    application = tx.specs.current(facts.stage.key.application)
    release = tx.releases.get(newest.release) if newest is not None else None
    if at is None or release is None or application is None:
        return None
    freezes = freezes_of(tx, application, spec, config)
    return foresee_idle(facts.stage, spec, release, freezes, at)
