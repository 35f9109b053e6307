"""Asks that Git agrees with a Rollback, in the transaction that ends it."""

from __future__ import annotations

from gitopsd.domain.agreements import Agreement
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.runs import Run, RunKind
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.store_ports import Transaction


def want_agreement(tx: Transaction, run: Run) -> None:
    """Ask that Git agrees with a Rollback that succeeded, if the stage's policy says so.

    Safe to repeat: a run has one agreement, and one row of work.
    """
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None or spec.rollback_git is RollbackGit.NONE:
        return
    if run.kind is not RunKind.ROLLBACK or tx.agreements.get(run.id) is not None:
        return
    tx.agreements.save(
        Agreement(
            run=run.id,
            stage=run.stage,
            policy=spec.rollback_git,
            repo=application.source.repo,
            ref=application.ref_of(spec),
            since=tx.now,
        )
    )
    tx.work.add(WorkItem(f"agree:{run.id}", WorkKind.AGREE, run.id, tx.now))
