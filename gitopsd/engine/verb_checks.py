"""Refuses a person's verb where the table does, in its words."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import Quarantine
from gitopsd.domain.work import Page
from gitopsd.engine.actors import ActionRefused
from gitopsd.engine.agreements import is_left_to_person
from gitopsd.engine.facts import freezes_of
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.situations import VerbFacts, find_answer
from gitopsd.pipeline.verb_table import TABLE
from gitopsd.pipeline.verbs import Answer, Refused, Situation, Verb
from gitopsd.store_ports import Transaction


def refuse_for_run(
    tx: Transaction, verb: Verb, run_id: RunId, config: Configuration
) -> ActionRefused | None:
    """Refuse a verb that names a run; None where the table lets it through.

    Args:
        tx: The transaction.
        verb: The verb.
        run_id: The run that it names.
        config: The configuration in force.
    """
    run = tx.runs.get(run_id)
    if run is None:
        return _say(TABLE[verb][Situation.NOTHING], {"run": run_id})
    stage = tx.stages.get(run.stage) or Stage(run.stage)
    held = None if run.live else _quarantine_of(tx, run.stage, run.release, run.rendered)
    return _refuse(verb, _load(tx, stage, run, held, config))


def refuse_for_stage(
    tx: Transaction, verb: Verb, key: StageKey, config: Configuration
) -> ActionRefused | None:
    """Refuse a verb that is about a stage; None where the table lets it through.

    Args:
        tx: The transaction.
        verb: The verb.
        key: The stage.
        config: The configuration in force.
    """
    stage = tx.stages.get(key)
    if stage is None:
        return ActionRefused(404, f"there is no stage {key}")
    has = stage.applied
    held = _quarantine_of(tx, key, has.release, has.rendered) if has is not None else None
    return _refuse(verb, _load(tx, stage, _present_run(tx, stage), held, config))


def find_quarantine(tx: Transaction, key: StageKey, release: ReleaseId) -> Quarantine | None:
    """Find what keeps a release's bytes out of a stage; None when nothing does, as far as known."""
    last = tx.runs.last_rollouts(key).get(release)
    return _quarantine_of(tx, key, release, last.rendered if last is not None else None)


def _present_run(tx: Transaction, stage: Stage) -> Run | None:
    """Find the run that says where a stage stands."""
    present = stage.front or stage.next
    if present is not None:
        return tx.runs.get(present)
    return next(iter(tx.runs.page(Page(1), stage=stage.key)), None)


def _load(
    tx: Transaction, stage: Stage, run: Run | None, held: Quarantine | None, config: Configuration
) -> VerbFacts:
    key = stage.key
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if application is None or spec is None:
        return VerbFacts(stage, configured=False, run=run, quarantine=held)
    freezes = freezes_of(tx, application, spec, config)
    left = run is not None and is_left_to_person(tx, run.id)
    return VerbFacts(
        stage, configured=True, run=run, freezes=freezes, quarantine=held, disagrees=left
    )


def _quarantine_of(
    tx: Transaction, key: StageKey, release: ReleaseId, rendered: Digest | None
) -> Quarantine | None:
    quarantines = tuple(tx.quarantines.in_force(key))
    if not quarantines:
        return None
    found = tx.releases.get(release)
    images = tuple(found.images.values()) if found is not None else ()
    rendering = tx.releases.renderings(key).get(release)
    if rendering is not None and rendered in (None, rendering.rendered):
        rendered, images = rendering.rendered, (*images, *rendering.images)
    return is_quarantined(rendered, images, quarantines)


def _refuse(verb: Verb, facts: VerbFacts) -> ActionRefused | None:
    return _say(find_answer(verb, facts), _words(facts))


def _say(answer: Answer, words: Mapping[str, str]) -> ActionRefused | None:
    if not isinstance(answer, Refused):
        return None
    return ActionRefused(answer.status, answer.sentence.format_map(words))


def _words(facts: VerbFacts) -> Mapping[str, str]:
    """Say what the sentences of the table name."""
    stage, run = facts.stage, facts.run
    words = {
        "application": stage.key.application,
        "name": stage.key.stage,
        "stage": str(stage.key),
        "front": stage.front or "",
        "stall": stage.stall.message if stage.stall is not None else "",
    }
    if run is not None:
        words |= {
            "run": run.id,
            "phase": run.phase.value,
            "step": (run.step.value if run.step is not None and run.live else run.phase.value),
            "why": f": {run.failure.message}" if run.failure is not None else "",
            "release": run.release,
        }
    if facts.freezes:
        words |= {"freeze": facts.freezes[0].id, "frozen": facts.freezes[0].reason}
    if facts.quarantine is not None:
        words |= {"quarantine": facts.quarantine.id, "failed": facts.quarantine.reason}
    return words
