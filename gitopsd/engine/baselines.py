"""Finds what a release's metrics are compared with: what ran before, until it was disturbed."""

from __future__ import annotations

from gitopsd.domain.runs import Run, RunKind, Step
from gitopsd.domain.work import Page
from gitopsd.ports import Baseline
from gitopsd.store_ports import Transaction

_RUNS = Page(50)


def find_baseline(tx: Transaction, run: Run) -> Baseline | None:
    """Find the release that was verified before, and when a run began to write over it.

    An attempt that is made again after one that errored is compared with what ran before the first
    of them: not with itself. What a Rollback brings back is compared with nothing, since what ran
    before it was bad.
    """
    target = run.restore_target
    if run.kind is not RunKind.ROLLOUT or target is None:
        return None
    verified = target.verification.removeprefix("v-")
    first = run
    for earlier in tx.runs.page(_RUNS, stage=run.stage):
        if earlier.id == verified:
            break
        if earlier.mutated and earlier.kind is RunKind.ROLLOUT:
            first = earlier
    left = [
        event.at
        for event in tx.runs.events(first.id)
        if event.name == "StepSucceeded" and event.step is Step.GATE
    ]
    return Baseline(target.release, left[-1]) if left else None
