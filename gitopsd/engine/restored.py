"""Finds out that the database was restored from an older copy, and what that makes worthless.

A cluster's inventory carries the fence of the last writer. One above the database's can only come
from a time that the database does not know: approvals were given for a state that is gone, and
refs have moved since. Who writes next is then a person's choice.
"""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Inventory
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Run
from gitopsd.domain.stages import Stage, Stall
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.effects import put_stall
from gitopsd.engine.image_hints import want_images_of
from gitopsd.engine.looks import want_look
from gitopsd.engine.notifications import notify
from gitopsd.pipeline.commands import Trigger
from gitopsd.pipeline.implicit_gates import RESTORED_CHOICES
from gitopsd.store_ports import Transaction


def find_restored(
    tx: Transaction,
    key: StageKey,
    found: Inventory,
    config: Configuration,
    *,
    run: Run | None = None,
) -> str:
    """Compare an inventory's fence with the stage's; a higher one stalls the stage at once.

    The stage is read here, after the inventory was: whoever wrote in between had stored the fence
    first. Safe to repeat: the same stall keeps its first time and pages nobody twice.

    Returns:
        What is the matter; empty while nothing is.
    """
    stage = tx.stages.get(key)
    if stage is None or found.fence <= stage.fence:
        return ""
    message = (
        f"the cluster has fence {found.fence} for {key} and the database only {stage.fence}: "
        f"the database was restored from an older copy. Look, then: {say_choices(key)}"
    )
    stall = Stall(
        StallReason.RESTORED_DATABASE,
        message,
        tx.now,
        run.id if run is not None else None,
        found.fence,
        release=found.release,
        rendered=found.rendered,
    )
    if put_stall(tx, key, stall):
        void_votes(tx, stage)
        _look_again(tx, key)
        notify(tx, run, Trigger.STALLED, message, config, stage=key)
    return message


def say_choices(key: StageKey) -> str:
    """Say what a person can choose for a stage whose database was restored."""
    return RESTORED_CHOICES.format(key.application, key.stage)


def void_votes(tx: Transaction, stage: Stage) -> None:
    """Void what people said about the run that waits: they saw a plan against another past.

    Votes, gates they let it pass, and the name of the release they wanted.
    """
    if stage.next is not None:
        tx.votes.void(stage.next, keep_plan=None, at=tx.now)
        tx.skips.void(stage.next, tx.now)
    present = tx.stages.get(stage.key)
    if present is not None and present.naming is not None:
        tx.stages.save(replace(present, naming=None))


def _look_again(tx: Transaction, key: StageKey) -> None:
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if application is None or spec is None:
        return
    want_look(tx, application.source.repo, application.ref_of(spec))
    want_images_of(tx, application)
