"""What a process needs to do a step, and what it goes on with at once after one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gitopsd.domain.runs import CommandId, RunId, RunKind, Step
from gitopsd.domain.work import WorkItem
from gitopsd.engine.effects import readable_set
from gitopsd.engine.services import Services
from gitopsd.engine.step_context import StepContext
from gitopsd.store_ports import Transaction

_RESTORING = (Step.PREPARE, Step.APPLY)


@dataclass(frozen=True, slots=True)
class Following:
    """What a process goes on with at once, claimed in the transaction that commanded it.

    Attributes:
        item: The work.
        context: What the step needs; None when it is to be read anew.
    """

    item: WorkItem
    context: StepContext | None

    @property
    def restores(self) -> bool:
        """Whether what failed is still out: nothing of ours may get in the way of that."""
        return self.context is not None and self.context.step in _RESTORING


def load_context(tx: Transaction, services: Services, item: WorkItem) -> StepContext | None:
    """Read what a step needs; None when its command is no longer outstanding."""
    run = tx.runs.get(RunId(item.subject))
    if run is None or run.command != item.key or run.step is None:
        return None
    application = tx.specs.get(run.stage.application, run.spec)
    spec = application.stage(run.stage.stage) if application is not None else None
    release = tx.releases.get(run.release)
    stage = tx.stages.get(run.stage)
    if application is None or spec is None or release is None or stage is None:
        return None
    return StepContext(
        services=services,
        run=run,
        step=run.step,
        command=CommandId(item.key),
        application=application,
        spec=spec,
        release=release,
        stage=stage,
        began_at=services.clock.now(),
    )


def claim_restore(
    tx: Transaction, services: Services, run: RunId, started: Sequence[RunId]
) -> Following | None:
    """Claim what a Rollback is to do next, if that is due now.

    What failed stays out for as long as it is not restored: whoever did the step before does the
    next, without a look for work in between, and with what this transaction has read anyway.

    Args:
        tx: The transaction.
        services: The ports.
        run: The run whose step has ended.
        started: Runs that were begun in this transaction.
    """
    for name in (run, *started):
        found = tx.runs.get(name)
        if found is not None and found.kind is RunKind.ROLLBACK and found.command is not None:
            item = tx.work.claim_one(found.command, services.replica, services.pace.claim)
            return _follow(tx, services, item, is_first=name in started) if item else None
    return None


def _follow(tx: Transaction, services: Services, item: WorkItem, *, is_first: bool) -> Following:
    context = load_context(tx, services, item)
    if context is None or context.step not in _RESTORING or context.run.rendered is None:
        return Following(item, context)
    rendered = readable_set(tx, context.run.rendered)
    return Following(item, replace(context, rendered=rendered, is_first=is_first))
