"""Asks that Git agrees with a Rollback: in the transaction that ends it, and for a person."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.runs import Run, RunId, RunKind
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
    _add_work(tx, run.id)


def is_left_to_person(tx: Transaction, run: RunId) -> bool:
    """Tell whether nothing more is tried to make Git agree with a Rollback, and it does not."""
    found = tx.agreements.get(run)
    return found is not None and found.state is AgreementState.LEFT_TO_PERSON


def agree_again(tx: Transaction, run: RunId) -> None:
    """Try once more what was left to a person, who has mended something. Safe to repeat."""
    found = tx.agreements.get(run)
    if found is not None and found.state is AgreementState.LEFT_TO_PERSON:
        again = replace(found, state=AgreementState.WAITING, message="", refusals=0, told=False)
        tx.agreements.save(again)
        _add_work(tx, run)


def _add_work(tx: Transaction, run: RunId) -> None:
    tx.work.add(WorkItem(f"agree:{run}", WorkKind.AGREE, run, tx.now))
