"""What gates would say at another time, and when those that go by the clock are open next.

Theory: windows and freezes go by the clock alone, so what they say at any moment is known now. A
gate that names a moment at which it opens (a soak that goes on as it does) is open from then on.
Every other gate waits for somebody or something, and is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Freeze, Stage
from gitopsd.pipeline.apply_hold import FREEZE
from gitopsd.pipeline.explanation import Foresight
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates

ANY_RUN = RunId("RUN")
"""Stands for a run that is not there yet, in commands."""

_WINDOW = "window"
_MOST_CHANGES = 50
"""Changes of windows that are gone through to find a moment at which all are open."""

_OF_STAGES = frozenset({_WINDOW, FREEZE, "suspend", "hold", "stall", "observe"})
"""Gates that say the same whatever release comes."""


Evaluate: TypeAlias = Callable[[GateFacts], tuple[GateState, ...]]
"""Asks the gates of a run: `evaluate_gates`, or `evaluate_before_apply` once it was let in."""


def foresee(facts: GateFacts, at: datetime, evaluate: Evaluate = evaluate_gates) -> Foresight:
    """Tell what a run's gates would say at another time, and when it is let in next."""
    opens_at = find_opening(facts, at, evaluate)
    return Foresight(at, foresee_gates(facts, at, evaluate), opens_at)


def foresee_idle(
    stage: Stage, spec: StageSpec, release: Release, freezes: tuple[Freeze, ...], at: datetime
) -> Foresight:
    """Tell what a stage without a run would say to one at another time.

    Args:
        stage: The stage as stored.
        spec: The stage as configured now.
        release: A release that could come; what it brings is not looked at.
        freezes: Freezes in force whose scope covers the stage.
        at: That time.
    """
    run = Run(ANY_RUN, stage.key, release.id, RunKind.ROLLOUT, phase=Phase.RUNNING, step=Step.GATE)
    facts = GateFacts(at, run, release, None, stage, spec, freezes=freezes)
    told = tuple(
        state for state in foresee_gates(facts, at) if state.name.split("-")[0] in _OF_STAGES
    )
    return Foresight(at, told, find_opening(facts, at))


def foresee_gates(
    facts: GateFacts, at: datetime, evaluate: Evaluate = evaluate_gates
) -> tuple[GateState, ...]:
    """Tell what each gate of a run would say at another time."""
    present, then = evaluate(facts), evaluate(replace(facts, now=at))
    return tuple(
        later if _goes_by_the_clock(now) else _wait_out(now, at)
        for now, later in zip(present, then, strict=True)
    )


def find_opening(
    facts: GateFacts, at: datetime, evaluate: Evaluate = evaluate_gates
) -> datetime | None:
    """Find the first moment from ``at`` on at which all that goes by the clock is open.

    Returns:
        The moment; None when a window or a freeze does not open by itself, or no moment was found
        at which several windows are open together.
    """
    moment = at
    for _ in range(_MOST_CHANGES):
        closed = [
            state.answer
            for state in foresee_gates(facts, moment, evaluate)
            if isinstance(state.answer, Closed)
            and (_goes_by_the_clock(state) or state.answer.until is not None)
        ]
        if not closed:
            return moment
        times = [answer.until for answer in closed if answer.until is not None]
        if len(times) < len(closed):
            return None
        moment = max(times)
    return None


def _goes_by_the_clock(state: GateState) -> bool:
    return state.name == FREEZE if state.implicit else state.name.split("-")[0] == _WINDOW


def _wait_out(state: GateState, at: datetime) -> GateState:
    """Take a gate that names the moment at which it opens as open from then on."""
    answer = state.answer
    if not isinstance(answer, Closed) or answer.until is None or answer.until > at:
        return state
    return replace(state, answer=Open(f"if it goes on as now ({answer.reason})"))
