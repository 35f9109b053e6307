"""What a run's gates were answered from outside, and seeing that they are asked."""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.config import StageSpec
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.pipeline.asking import is_answered, select_asked
from gitopsd.store_ports import Transaction


def probe_key(run: RunId) -> str:
    """Name the work item that asks for a run."""
    return f"probe:{run}"


def load_observations(tx: Transaction, run: Run) -> Mapping[str, GateObservation]:
    """Read the newest answers to the questions of a run's gates, by question."""
    return {one.question: one for one in tx.runs.observations(run.id)}


def see_to_asking(
    tx: Transaction, run: Run, spec: StageSpec, known: Mapping[str, GateObservation]
) -> None:
    """See that the gates of a waiting run that ask outside are asked, at once if none was yet.

    Safe to repeat: there is one work item for each run, and one that waits is only hastened.
    """
    asked = select_asked(spec.gates)
    if not asked:
        return
    key = probe_key(run.id)
    if tx.work.get(key) is None:
        tx.work.add(WorkItem(key, WorkKind.PROBE, run.id, tx.now))
    elif not all(is_answered(known.get(question), run) for question in asked):
        tx.work.hasten(key, tx.now)
