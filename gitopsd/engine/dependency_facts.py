"""Loads how the stages of other applications stand that a run's gates ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gitopsd.domain.config import Configuration
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.releases import Line, ReleaseId, StageKey
from gitopsd.domain.sources import CommitSha
from gitopsd.pipeline.facts import DependencyFacts, GateFacts
from gitopsd.store_ports import Transaction


def load_dependencies(tx: Transaction, facts: GateFacts) -> Mapping[StageKey, DependencyFacts]:
    """Read what the dependency gates of a run's stage ask for; empty for a stage without any."""
    keys = {gate.on for gate in facts.spec.gates if isinstance(gate, DependencyGate)}
    return {key: _load(tx, key, facts.release.commit.sha) for key in keys}


def find_dependents(
    config: Configuration, key: StageKey
) -> Iterator[tuple[StageKey, DependencyGate]]:
    """Find the stages whose gates ask a stage, as configured now."""
    for application in config.applications.values():
        for spec in application.stages:
            for gate in spec.gates:
                if isinstance(gate, DependencyGate) and gate.on == key:
                    yield StageKey(application.name, spec.name), gate


def _load(tx: Transaction, key: StageKey, sha: CommitSha) -> DependencyFacts:
    stage, application = tx.stages.get(key), tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if stage is None or application is None or spec is None or stage.retired_at is not None:
        return DependencyFacts(configured=False)
    verified = tx.verifications.get(stage.verified) if stage.verified is not None else None
    running = verified.release if verified is not None else None
    line = Line(key.application, application.ref_of(spec))
    return DependencyFacts(
        running=running,
        front=stage.front,
        observation=stage.observation,
        has_commit=running is not None and _has_commit(tx, line, running, sha),
    )


def _has_commit(tx: Transaction, line: Line, running: ReleaseId, sha: CommitSha) -> bool:
    """Tell whether a release is what a commit made of its line, or something newer."""
    made = next((one.release for one in tx.releases.seen(sha) if one.line == line), None)
    if made is None or made == running:
        return made is not None
    then, now = tx.releases.last_offer(line, made), tx.releases.last_offer(line, running)
    return then is not None and now is not None and now.number >= then.number
