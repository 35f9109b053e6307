"""What runs before a Rollback restores anything; mostly nothing does, and nothing is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import JsonObject, RenderedSet
from gitopsd.domain.runs import Phase, Run, Step
from gitopsd.engine.advance import advance
from gitopsd.engine.effects import find_undone, readable_set
from gitopsd.engine.slots import schedule_reconsider
from gitopsd.kube.hooks import find_hooks
from gitopsd.kube.names import HookPhase
from gitopsd.pipeline.events import AppliedChanged, StepSucceeded
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class BeforeRestore:
    """What a Rollback's Prepare has to run.

    Attributes:
        rendered: The set to restore; None when it cannot be read any more.
        own: Its PreSync hooks that are marked for a rollback.
        of_failed: The SyncFail hooks of what failed.
    """

    rendered: RenderedSet | None
    own: tuple[JsonObject, ...]
    of_failed: tuple[JsonObject, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to run, and the set is there."""
        return self.rendered is not None and not self.own and not self.of_failed


def load_before_restore(tx: Transaction, run: Run) -> BeforeRestore:
    """Read which hooks come before a restore; what cannot be read any more holds nothing up."""
    rendered = readable_set(tx, run.rendered) if run.rendered is not None else None
    objects = rendered.objects if rendered is not None else ()
    own = find_hooks(objects, HookPhase.PRE_SYNC, restoring=True)
    return BeforeRestore(rendered, own, _hooks_of_failed(tx, run))


def _hooks_of_failed(tx: Transaction, rollback: Run) -> tuple[JsonObject, ...]:
    run = tx.runs.get(find_undone(rollback))
    if run is None or run.phase is not Phase.FAILED or run.rendered is None:
        return ()
    failed = readable_set(tx, run.rendered)
    return find_hooks(failed.objects, HookPhase.SYNC_FAIL) if failed is not None else ()


def pass_prepare(tx: Transaction, run: Run, config: Configuration) -> None:
    """Let a Rollback that has just begun apply in this very transaction, if nothing runs before.

    What follows for its stage is decided right after it, as for whatever begins a restore.
    Safe to repeat: a run that is past Prepare is left alone.
    """
    if run.step is not Step.PREPARE or run.command is None:
        return
    if not load_before_restore(tx, run).is_nothing:
        return
    done = advance(tx, run.id, StepSucceeded(tx.now, run.command), config)
    stage = tx.stages.get(run.stage)
    if stage is not None and stage.next is not None:
        advance(tx, stage.next, AppliedChanged(tx.now), config)
    for key in done.reconsider:
        schedule_reconsider(tx, key, timedelta(0))
