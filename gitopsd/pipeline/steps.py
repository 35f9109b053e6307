"""Which steps a run takes, how long each may last, and how soon one is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from gitopsd.domain.config import ApprovalGate, StageSpec
from gitopsd.domain.runs import Run, RunKind, Step

STEP_ORDER: Mapping[RunKind, tuple[Step, ...]] = {
    RunKind.ROLLOUT: tuple(Step),
    RunKind.ROLLBACK: (
        Step.PREPARE,
        Step.APPLY,
        Step.WAIT_HEALTHY,
        Step.VERIFY,
        Step.PRUNE,
        Step.CERTIFY,
    ),
    RunKind.SYNC: (Step.APPLY, Step.WAIT_HEALTHY),
}
"""The steps of each kind, in order. A Rollback needs no Git, no registry, no renderer, no gate."""

NEXT_STEPS = frozenset({Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE})
"""Steps in which a Rollout holds *next* and has changed nothing in the cluster."""

MUTATING_STEPS = frozenset({Step.PREPARE, Step.APPLY})
"""Steps whose command makes a run ``mutated``: a crash hides whether they ran."""

DEFAULT_TIMEOUTS: Mapping[Step, timedelta] = {
    Step.RENDER: timedelta(minutes=5),
    Step.VALIDATE: timedelta(minutes=10),
    Step.DIFF: timedelta(minutes=10),
    Step.GATE: timedelta(days=7),
    Step.PREPARE: timedelta(minutes=30),
    Step.APPLY: timedelta(minutes=10),
    Step.WAIT_HEALTHY: timedelta(minutes=5),
    Step.VERIFY: timedelta(minutes=10),
    Step.PRUNE: timedelta(minutes=10),
    Step.CERTIFY: timedelta(minutes=5),
}
"""How long a step may last where the application file says nothing."""

SLACK = timedelta(minutes=5)
"""Added to what checks and Certify are configured to take, for the looks themselves."""

AFTER_LOCKOUT = timedelta(minutes=2)
"""What a step has at least once a cluster lets us in again: longer than one execution of it."""

LONGEST_BACKOFF = timedelta(seconds=30)
"""Ceiling of the delay between two attempts of one step."""

_RETRY_DELAYS = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=5))
_LAST_RETRY_DELAY = timedelta(minutes=10)


def first_step(kind: RunKind) -> Step:
    """Tell where a run of this kind begins."""
    return STEP_ORDER[kind][0]


def next_step(kind: RunKind, step: Step) -> Step | None:
    """Tell what follows a step; None after the last."""
    order = STEP_ORDER[kind]
    following = order.index(step) + 1
    return order[following] if following < len(order) else None


def timeouts_for(spec: StageSpec, kind: RunKind) -> tuple[tuple[Step, timedelta], ...]:
    """Compute how long each step of a run may last, from the stage's configuration.

    Args:
        spec: The stage in the revision that the run is admitted under.
        kind: What the run is for; a Rollback waits for health as long as ``rollback.deadline``.
            Waves that wait for health in Apply have that time, too, so Apply is never shorter.

    Returns:
        One pair for each step of the kind, in order.
    """
    checks = sum((check.within for check in spec.verify), timedelta(0))
    rollback = kind is RunKind.ROLLBACK
    health = spec.rollback_deadline if rollback else spec.health_timeout
    configured = {
        Step.GATE: _gate_timeout(spec),
        Step.APPLY: max(DEFAULT_TIMEOUTS[Step.APPLY], health + SLACK),
        Step.WAIT_HEALTHY: health,
        Step.VERIFY: max(DEFAULT_TIMEOUTS[Step.VERIFY], checks + SLACK),
        Step.CERTIFY: spec.certify_of(rollback=rollback) + SLACK,
    }
    limits = {**DEFAULT_TIMEOUTS, **configured}
    return tuple((step, limits[step]) for step in STEP_ORDER[kind])


def _gate_timeout(spec: StageSpec) -> timedelta:
    """A run that waits for people expires with the first of their deadlines."""
    deadlines = [gate.deadline for gate in spec.gates if isinstance(gate, ApprovalGate)]
    return min(deadlines, default=DEFAULT_TIMEOUTS[Step.GATE])


def timeout_of(run: Run, step: Step) -> timedelta:
    """Tell how long a step of this run may last."""
    return dict(run.timeouts).get(step, DEFAULT_TIMEOUTS[step])


def compute_backoff(attempt: int, asked: timedelta | None) -> timedelta:
    """Compute the wait after an attempt that errored: 1, 2, 4, 8, 16, then 30 s.

    Args:
        attempt: Which attempt errored, from 1.
        asked: What the other side asked for; never undercut.
    """
    backoff = min(timedelta(seconds=2 ** min(attempt - 1, 5)), LONGEST_BACKOFF)
    return max(backoff, asked) if asked is not None else backoff


def compute_standstill(run: Run, at: datetime, again: datetime) -> datetime:
    """Compute a step's deadline after an attempt that the cluster did not let us make.

    The time until the next attempt is nobody's, and neither is what passed since the one before
    was due, if that was none either.

    Args:
        run: The run, as it was after the attempt before.
        at: When the attempt came to nothing.
        again: When the next one is due.
    """
    own = (run.step_deadline or again) + (again - (run.locked_out_until or at))
    return max(own, again + AFTER_LOCKOUT)


def retry_delay(attempt_number: int) -> timedelta:
    """Compute the wait after a run that ended Errored: 1, 2, 5, then every 10 minutes.

    Args:
        attempt_number: Which attempt of its release it was, from 1.
    """
    if attempt_number <= len(_RETRY_DELAYS):
        return _RETRY_DELAYS[attempt_number - 1]
    return _LAST_RETRY_DELAY
