"""What is asked again before a run that was let in begins to apply.

Its gates let it into Prepare. A freeze that came since holds it, and so does a window that closed
and says ``overrun: wait``; nothing else does: what has begun goes on. Nor is an Apply that is under
way ever held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.domain.runs import Run, RunKind, Step
from gitopsd.domain.windows import Overrun, WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates

PREPARED = "prepared"
"""Cursor of a run whose Prepare is done and that is held before Apply."""

FREEZE = "freeze"
"""Name of the implicit gate that a freeze closes."""


def evaluate_before_apply(facts: GateFacts) -> tuple[GateState, ...]:
    """Evaluate what may hold a run before Apply; all other gates stay as passed as they were."""
    states = evaluate_gates(facts)
    specs = (*facts.spec.gates, *(None for _ in range(len(states) - len(facts.spec.gates))))
    return tuple(
        state
        if _is_asked_again(state, spec)
        else replace(state, answer=Open("it was let in before"))
        for state, spec in zip(states, specs, strict=True)
    )


def is_held_before_apply(run: Run) -> bool:
    """Tell whether a run's Prepare is done and something keeps it from applying."""
    prepared = run.kind is RunKind.ROLLOUT and run.step is Step.PREPARE
    return run.live and prepared and run.cursor == PREPARED


def is_frozen(states: Iterable[GateState]) -> bool:
    """Tell whether a freeze has a run wait."""
    return any(
        state.implicit and state.name == FREEZE and isinstance(state.answer, Closed)
        for state in states
    )


def has_clock_stopped(run: Run, states: Iterable[GateState]) -> bool:
    """Tell whether a run's deadline stands still at its Gate.

    While it is frozen; and once no vote is missing, while a window is shut: nobody has to agree
    again because the next one is far away.
    """
    states = tuple(states)
    shut = any(
        not state.implicit
        and state.name.split("-")[0] == "window"
        and isinstance(state.answer, Closed)
        for state in states
    )
    return is_frozen(states) or (run.approved and shut)


def _is_asked_again(state: GateState, spec: object) -> bool:
    if state.implicit:
        return state.name == FREEZE
    return isinstance(spec, WindowGate) and spec.overrun is Overrun.WAIT
