"""Which gates of a stage ask outside, when each is asked again, and how long an answer counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from gitopsd.domain.asked_gates import (
    AskedGate,
    ChecksGate,
    ExternalGate,
    Finding,
    GateObservation,
    ProbeAnswer,
    PrometheusGate,
)
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.runs import Run

COUNTS_FOR = 3
"""Intervals that an answer counts for: one that was lost, or came late, closes nothing."""

LONGEST_PAUSE = timedelta(minutes=5)
"""Longest time between two askings because of trouble; a gate that is asked more rarely anyway
keeps to its own interval."""

_DOUBLINGS = 10
_KINDS = ((ChecksGate, "checks"), (ExternalGate, "external"), (PrometheusGate, "prometheus"))


def kind_of_asked(gate: AskedGate) -> str:
    """Name the kind of a gate as application files do."""
    return next(name for kind, name in _KINDS if isinstance(gate, kind))


def select_asked(gates: tuple[GateSpec, ...]) -> Mapping[str, AskedGate]:
    """Select the gates that ask outside, by question; two alike are asked once."""
    asked = (one for one in gates if isinstance(one, ChecksGate | ExternalGate | PrometheusGate))
    return {question_of(one): one for one in asked}


def question_of(gate: AskedGate) -> str:
    """Name what a gate asks: another query, address or policy is another question.

    An answer to what the application file said before counts for nothing.
    """
    digest = hashlib.sha256(repr(gate).encode()).hexdigest()
    return f"{kind_of_asked(gate)}:{digest[:16]}"


def longest_age(gate: AskedGate) -> timedelta:
    """Tell how old an answer may be that still counts."""
    return COUNTS_FOR * gate.every


def is_answered(observation: GateObservation | None, run: Run) -> bool:
    """Tell whether a question was asked for the run's present plan."""
    return observation is not None and observation.plan == run.plan


def compute_next_asking(
    gate: AskedGate, observation: GateObservation | None, run: Run
) -> datetime | None:
    """Compute when a gate is asked again; None for at once.

    While nothing can be found out it is asked more and more rarely.
    """
    if observation is None or not is_answered(observation, run):
        return None
    pause = gate.every
    if observation.troubles:
        factor = 2 ** min(observation.troubles - 1, _DOUBLINGS)
        pause = min(gate.every * factor, max(gate.every, LONGEST_PAUSE))
    due = observation.asked_at + pause
    return due if observation.not_before is None else max(due, observation.not_before)


def record_answer(
    gate: AskedGate,
    run: Run,
    answer: ProbeAnswer,
    asked_at: datetime,
    now: datetime,
    before: GateObservation | None,
) -> GateObservation:
    """Make the observation of an answer.

    Args:
        gate: What was asked.
        run: The run as it was when it was asked.
        answer: The answer.
        asked_at: When it was asked.
        now: The time of the answer.
        before: The last observation of the same question; None when there is none.
    """
    lost = answer.finding is Finding.INCONCLUSIVE
    earlier = before.troubles if before is not None and before.plan == run.plan else 0
    wait = answer.retry_after
    return GateObservation(
        run=run.id,
        question=question_of(gate),
        gate=kind_of_asked(gate),
        plan=run.plan,
        asked_at=asked_at,
        finding=answer.finding,
        sentence=answer.sentence,
        figure=answer.figure,
        details=answer.details,
        troubles=earlier + 1 if lost else 0,
        not_before=now + wait if wait is not None else None,
    )
