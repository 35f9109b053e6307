"""Runs in any place they can be in, for tests of what happens to them there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import CommandId, Phase, Run, RunId, RunKind, Step
from gitopsd.domain.verifications import RestoreTarget, VerificationId
from gitopsd.pipeline.table import Position

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
KEY = StageKey(ApplicationName("shop"), StageName("production"))
COMMAND = CommandId("run-7.3")
STALE = CommandId("run-7.2")
BYTES = Digest("sha256:new")
OLD_BYTES = Digest("sha256:old")
TARGET = RestoreTarget(VerificationId("v-3"), ReleaseId("r-3"), OLD_BYTES, 2)
OTHER_TARGET = RestoreTarget(VerificationId("v-2"), ReleaseId("r-2"), Digest("sha256:older"), 1)
NEWER = RunId("run-8")

ROLLOUT_STEPS = (
    Step.RENDER,
    Step.VALIDATE,
    Step.DIFF,
    Step.GATE,
    Step.PREPARE,
    Step.APPLY,
    Step.WAIT_HEALTHY,
    Step.VERIFY,
    Step.PRUNE,
    Step.CERTIFY,
)
STEPS = {
    RunKind.ROLLOUT: ROLLOUT_STEPS,
    RunKind.ROLLBACK: ROLLOUT_STEPS[4:],
    RunKind.SYNC: (Step.APPLY, Step.WAIT_HEALTHY),
}
"""The steps of each kind as the design writes them."""

PLACES: tuple[tuple[RunKind, Position], ...] = tuple(
    (kind, at)
    for kind, steps in STEPS.items()
    for at in tuple[Position, ...]((Phase.PENDING, *steps))
)
"""Everywhere a live run can stand."""


def run_at(kind: RunKind, at: Position) -> Run:
    """A run of a kind that stands somewhere: Pending, in a step, or ended in its last step."""
    run = Run(RunId("run-7"), KEY, ReleaseId("r-7"), kind, created_at=NOON, spec=4, version=3)
    if kind is not RunKind.ROLLOUT:
        run = replace(run, rendered=BYTES)
    if kind is RunKind.ROLLBACK:
        run = replace(run, restore_target=TARGET, rendered=TARGET.rendered)
    if at is Phase.PENDING:
        return run
    steps = STEPS[kind]
    step = at if isinstance(at, Step) else steps[-1]
    beyond_gate = step in ROLLOUT_STEPS[4:]
    rendered = kind is RunKind.ROLLOUT and step is not Step.RENDER
    planned = kind is RunKind.ROLLOUT and step in ROLLOUT_STEPS[3:]
    restorable = kind is RunKind.ROLLOUT and beyond_gate
    run = replace(
        run,
        phase=Phase.RUNNING,
        step=step,
        command=COMMAND,
        step_deadline=NOON + timedelta(minutes=1),
        started_at=NOON,
        mutated=beyond_gate,
        rendered=BYTES if rendered else run.rendered,
        plan=Digest("sha256:plan") if planned else None,
        restore_target=TARGET if restorable else run.restore_target,
    )
    if isinstance(at, Phase):
        return replace(run, phase=at, command=None, step_deadline=None, ended_at=NOON)
    return run
