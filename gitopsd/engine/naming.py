"""Keeps which release a person named for a stage, where a gate waits for that."""

from __future__ import annotations

from gitopsd.domain.config import Configuration
from gitopsd.domain.gate_specs import ManualGate
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.stages import Naming
from gitopsd.engine.actors import ActionRefused, Actor
from gitopsd.pipeline.people_facts import names_of
from gitopsd.store_ports import Transaction


def refuse_naming(
    tx: Transaction, actor: Actor, key: StageKey, config: Configuration
) -> ActionRefused | None:
    """Refuse somebody whom no manual gate of a stage names; None where there is none."""
    gates = _manual_gates(tx, key)
    if not gates or any(_may_name(actor, gate, config) for gate in gates):
        return None
    allowed = ", ".join(sorted({one for gate in gates for one in gate.subjects}))
    message = f"only {allowed} may name a release for {key}, not user:{actor.subject}"
    return ActionRefused(403, message)


def name_release(
    tx: Transaction, actor: Actor, key: StageKey, release: ReleaseId, config: Configuration
) -> Naming | None:
    """Make what is kept of a person's naming; None when no gate waits for it from this person."""
    if not any(_may_name(actor, gate, config) for gate in _manual_gates(tx, key)):
        return None
    people = config.people
    return Naming(
        release=release,
        by=actor.subject,
        groups=people.groups_of(actor.subject, actor.groups),
        known=people.knows(actor.subject),
        token=actor.token,
        at=tx.now,
    )


def _manual_gates(tx: Transaction, key: StageKey) -> tuple[ManualGate, ...]:
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    gates = spec.gates if spec is not None else ()
    return tuple(gate for gate in gates if isinstance(gate, ManualGate))


def _may_name(actor: Actor, gate: ManualGate, config: Configuration) -> bool:
    people = config.people
    known = people.knows(actor.subject)
    names = names_of(people, actor.subject, actor.groups, known=known)
    return not names.isdisjoint(gate.subjects)
