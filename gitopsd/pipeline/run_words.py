"""Sentences about runs that the machine tells."""

from __future__ import annotations

from gitopsd.domain.runs import Run, RunKind
from gitopsd.pipeline.commands import Notify, Trigger


def tell_start(run: Run) -> Notify:
    """Tell that a run begins."""
    if run.kind is RunKind.ROLLBACK:
        return Notify(run.id, Trigger.ROLLBACK_STARTED, f"{run.stage}: going back to {run.release}")
    if run.kind is RunKind.SYNC:
        return Notify(run.id, Trigger.RUN_STARTED, f"{run.stage}: applying {run.release} again")
    return Notify(run.id, Trigger.RUN_STARTED, f"{run.stage}: {run.release} is on its way")


def say_whereabouts(run: Run) -> str:
    """Say what a run is and where it stands: ``a Rollout in Verify``."""
    where = run.step.value if run.step is not None else run.phase.value
    return f"a {run.kind.value} in {where}"
