"""Reads what stands in line for a stage."""

from __future__ import annotations

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.stages import Stage
from gitopsd.engine.facts import load_selection_facts
from gitopsd.engine.queries import load_gates
from gitopsd.pipeline.stage_queue import QueueEntry, compute_queue
from gitopsd.store_ports import Transaction


def load_queue(
    tx: Transaction, stage: Stage, application: ApplicationSpec
) -> tuple[QueueEntry, ...]:
    """Read what stands in line for a stage; nothing for one that is not configured any more."""
    spec = application.stage(stage.key.stage)
    if spec is None:
        return ()
    facts = load_selection_facts(tx, stage, application, spec)
    gates = load_gates(tx, facts.next_run) if facts.next_run is not None else ()
    return compute_queue(facts, gates)
