"""What the gates that ask outside have in common: whether there is an answer that counts."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.asked_gates import AskedGate, Finding, GateObservation, Otherwise
from gitopsd.domain.gates import Closed, GateAnswer, Open, Refused
from gitopsd.pipeline.asking import is_answered, longest_age, question_of
from gitopsd.pipeline.facts import GateFacts

_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)


def evaluate_asked(
    spec: AskedGate,
    facts: GateFacts,
    *,
    asks: str,
    on_failure: Otherwise = Otherwise.WAIT,
    on_inconclusive: Otherwise = Otherwise.WAIT,
) -> GateAnswer:
    """Answer by the newest observation, if it is for the run's plan and new enough.

    Args:
        spec: The gate.
        facts: What is known.
        asks: Whom or what it asks, for people.
        on_failure: What an answer that the condition is not met means.
        on_inconclusive: What an answer that tells nothing means.
    """
    every = say_interval(spec.every)
    opener = f"wait for {asks}, which is asked every {every}; at once: gitopsd retry {facts.run.id}"
    found = facts.observations.get(question_of(spec))
    if found is None:
        return Closed("not asked yet", opener)
    if not is_answered(found, facts.run):
        return Closed("not asked yet for the present plan", opener)
    age = facts.now - found.asked_at
    if age > longest_age(spec):
        return Closed(f"the last answer is {say_interval(age)} old: {found.sentence}", opener)
    policy = {Finding.FAILED: on_failure, Finding.INCONCLUSIVE: on_inconclusive}
    return _answer(found, policy.get(found.finding, Otherwise.WAIT), opener)


def _answer(found: GateObservation, policy: Otherwise, opener: str) -> GateAnswer:
    if found.finding is Finding.MET:
        return Open(found.sentence)
    if found.finding is Finding.REFUSED or policy is Otherwise.REFUSE:
        return Refused(found.sentence)
    return Closed(found.sentence, opener)


def say_interval(duration: timedelta) -> str:
    """Say a duration in whole seconds, minutes from two on, or hours: ``90s``, ``3m``, ``5h``."""
    if duration < 2 * _MINUTE:
        return f"{duration // _SECOND}s"
    minutes = duration // _MINUTE
    return f"{minutes}m" if minutes < 120 else f"{minutes // 60}h"  # noqa: PLR2004 - two hours
