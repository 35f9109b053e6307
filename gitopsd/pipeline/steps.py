"""Which steps a run takes, how long each may last, and how soon one is tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.checks import JobCheck, compute_longest
from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
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

CERTIFY_REPEATS = 2
"""How often Certify repeats every check at least, whatever its time: once within it, once after."""

ONE_MORE_LOOK = timedelta(minutes=2)
"""Added to each promise, since what ends in its last moment is seen by the look after it."""

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
            Waves that wait for health in Apply have that time, too, so Apply is never shorter;
            what several of them need is computed from the set when Apply begins.

    Returns:
        One pair for each step of the kind, in order.
    """
    checks = sum(map(compute_longest, spec.verify), timedelta(0))
    jobs = (check.timeout for check in spec.verify if isinstance(check, JobCheck))
    repeats = sum(jobs, timedelta(0)) * CERTIFY_REPEATS
    rollback = kind is RunKind.ROLLBACK
    health = spec.rollback_deadline if rollback else spec.health_timeout
    configured = {
        Step.GATE: _gate_timeout(spec),
        Step.APPLY: max(DEFAULT_TIMEOUTS[Step.APPLY], health + SLACK),
        Step.WAIT_HEALTHY: health,
        Step.VERIFY: max(DEFAULT_TIMEOUTS[Step.VERIFY], checks + SLACK),
        Step.CERTIFY: spec.certify_of(rollback=rollback) + repeats + SLACK,
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


@dataclass(frozen=True, slots=True)
class WaveTime:
    """What one wave of a step was promised.

    Attributes:
        hooks: How long each of its hooks may work, by its own word; None where it says nothing.
        health: How long its objects may take to be healthy, once its hooks have ended; None where
            the step does not wait for that.
    """

    hooks: tuple[timedelta | None, ...] = ()
    health: timedelta | None = None


def compute_promised(step: Step, configured: timedelta, waves: Iterable[WaveTime]) -> timedelta:
    """Compute how long a step may last, so that it condemns nothing within its own time.

    The hooks of a wave run side by side, waves one after another. What is configured is there for
    the rest: for sending, and for hooks that say nothing. Only Apply counts those as well, with
    what it has without any wave, since what comes after them was promised a time of its own.

    Args:
        step: The step.
        configured: What it has without waves.
        waves: Its waves.
    """
    silent = DEFAULT_TIMEOUTS[step] if step is Step.APPLY else None
    total = configured
    for wave in waves:
        said = [own for hook in wave.hooks if (own := hook or silent) is not None]
        parts = [*([max(said)] if said else []), *([wave.health] if wave.health else [])]
        total += sum((part + ONE_MORE_LOOK for part in parts), timedelta(0))
    return total


def grant_time(run: Run, step: Step, lasts: timedelta | None) -> Run:
    """Give a run's step the time that it is known to need; never less than it has.

    Safe to repeat: the same number gives nothing more.

    Args:
        run: The run.
        step: Its present step.
        lasts: How long the step may last from its beginning; None for what it has.
    """
    had = timeout_of(run, step)
    if lasts is None or lasts <= had or run.step_deadline is None:
        return run
    timeouts = tuple({**dict(run.timeouts), step: lasts}.items())
    return replace(run, timeouts=timeouts, step_deadline=run.step_deadline + (lasts - had))


def compute_backoff(attempt: int, asked: timedelta | None) -> timedelta:
    """Compute the wait after an attempt that errored: 1, 2, 4, 8, 16, then 30 s.

    Args:
        attempt: Which attempt errored, from 1.
        asked: What the other side asked for; never undercut.
    """
    backoff = min(timedelta(seconds=2 ** min(attempt - 1, 5)), LONGEST_BACKOFF)
    return max(backoff, asked) if asked is not None else backoff


def retry_delay(attempt_number: int) -> timedelta:
    """Compute the wait after a run that ended Errored: 1, 2, 5, then every 10 minutes.

    Args:
        attempt_number: Which attempt of its release it was, from 1.
    """
    if attempt_number <= len(_RETRY_DELAYS):
        return _RETRY_DELAYS[attempt_number - 1]
    return _LAST_RETRY_DELAY
