"""Goes on at once when a credential was replaced that its cluster refused."""

from __future__ import annotations

from gitopsd.domain.runs import Run
from gitopsd.engine.effects import stage_spec_of
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.store_ports import Transaction


async def resume_renewed(services: Services) -> None:
    """Make the runs due that wait for a cluster whose credential has just been replaced.

    They are tried again each minute all the same. A Rollback that pauses after an attempt without
    a verdict begins its next one.

    Safe to repeat: what is due stays due.

    Raises:
        TemporaryError: The database does not answer.
    """
    renewed = frozenset(services.clusters.find_renewed())
    if not renewed:
        return

    def work(tx: Transaction) -> None:
        for run in tx.runs.live():
            if _cluster_of(tx, run) in renewed:
                tx.work.hasten(run.command or f"admit:{run.id}", tx.now)

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


def _cluster_of(tx: Transaction, run: Run) -> str:
    spec = stage_spec_of(tx, run)
    return spec.cluster if spec is not None else ""
