"""Loads how long other stages were seen healthy with what a run brings, and asks for the looks."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import StageKey, StageName
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.pipeline.facts import GateFacts, SoakFacts
from gitopsd.pipeline.soaking import find_soak, find_soak_of_images
from gitopsd.store_ports import Transaction


def load_soaks(tx: Transaction, facts: GateFacts) -> Mapping[StageName, SoakFacts]:
    """Read what the soak gates of a run's stage ask for; empty for a stage without any."""
    names = {gate.stage for gate in facts.spec.gates if isinstance(gate, SoakGate)}
    return {name: _load(tx, facts, name) for name in names}


def ask_for_looks(tx: Transaction, facts: GateFacts) -> None:
    """Have the stages looked at whose health a run's gates ask for, for as long as it waits.

    Safe to repeat: a stage has one such row.
    """
    soaked = {StageKey(facts.stage.key.application, name) for name in facts.soaks}
    gates = (gate for gate in facts.spec.gates if isinstance(gate, DependencyGate))
    for key in sorted(soaked | {gate.on for gate in gates if gate.healthy}):
        if tx.work.get(f"soak:{key}") is None:
            tx.work.add(
                WorkItem(key=f"soak:{key}", kind=WorkKind.SOAK, subject=str(key), due_at=tx.now)
            )


def is_soaked_for(tx: Transaction, key: StageKey) -> bool:
    """Tell whether a stage of the same application has a soak gate on this one."""
    application = tx.specs.current(key.application)
    return application is not None and any(
        isinstance(gate, SoakGate) and gate.stage == key.stage
        for spec in application.stages
        for gate in spec.gates
    )


def _load(tx: Transaction, facts: GateFacts, name: StageName) -> SoakFacts:
    key = StageKey(facts.stage.key.application, name)
    stage = tx.stages.get(key)
    if stage is None:
        return SoakFacts()
    running = tx.verifications.get(stage.verified) if stage.verified is not None else None
    seen = stage.observation
    fine = seen is None or seen.health is Health.HEALTHY
    known = SoakFacts(
        running=running.release if running is not None else None,
        last="" if seen is None or fine else seen.message or seen.health.value,
    )
    upstream = facts.spec.upstream
    if upstream is not None and upstream.stage == name:
        digests = (facts.plan_images or {}).values()
        wanted = {digest for digest in digests if digest is not None} - set(facts.running_images)
        images_of = {one.rendered: one.images for one in tx.releases.renderings(key).values()}
        soak = find_soak_of_images(stage.soaks, images_of, wanted)
        nothing = facts.plan_images is not None and not wanted
    else:
        soak, nothing = find_soak(stage.soaks, facts.run.release), False
    return SoakFacts(
        soak=soak,
        current=soak is not None and soak.verification == stage.verified,
        running=known.running,
        last=known.last,
        needs_nothing=nothing,
    )
