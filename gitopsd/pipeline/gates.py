"""What has to hold before a Rollout begins to write: configured gates and the implicit ones.

All are evaluated each time, in a fixed order, and none remembers anything: an answer follows from
the facts alone. A fact that is missing closes its gate. A closed gate names what opens it.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitopsd.domain.asked_gates import AskedGate, ChecksGate, ExternalGate
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gate_specs import (
    ApprovalGate,
    GateSpec,
    ManualGate,
    SoakGate,
)
from gitopsd.domain.gates import GateAnswer, GateState, Open, Refused
from gitopsd.domain.runs import Run
from gitopsd.domain.stages import Stage
from gitopsd.domain.windows import WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.approval import evaluate_approval
from gitopsd.pipeline.gate_kinds.checks import evaluate_checks
from gitopsd.pipeline.gate_kinds.dependency import evaluate_dependency
from gitopsd.pipeline.gate_kinds.external import evaluate_external
from gitopsd.pipeline.gate_kinds.manual import evaluate_manual
from gitopsd.pipeline.gate_kinds.prometheus import evaluate_prometheus
from gitopsd.pipeline.gate_kinds.soak import evaluate_soak
from gitopsd.pipeline.gate_kinds.window import evaluate_window
from gitopsd.pipeline.implicit_gates import IMPLICIT_GATES
from gitopsd.pipeline.skips import pass_skipped

_OPENED_BY_VOTES = ("approval", "prune")


def evaluate_gates(facts: GateFacts) -> tuple[GateState, ...]:
    """Evaluate every gate of a run: configured ones in file order, then the implicit ones.

    One that a person let the run pass is open, whatever it would answer.
    """
    states: list[GateState] = []
    for spec in facts.spec.gates:
        kind, answer = _evaluate(spec, facts)
        same = sum(state.name.split("-")[0] == kind for state in states)
        name = f"{kind}-{same + 1}" if same else kind
        states.append(pass_skipped(GateState(name, implicit=False, answer=answer), spec, facts))
    implicit = (GateState(name, implicit=True, answer=gate(facts)) for name, gate in IMPLICIT_GATES)
    return (*states, *(pass_skipped(state, None, facts) for state in implicit))


def all_open(states: Iterable[GateState]) -> bool:
    """Tell whether every gate is open."""
    return all(isinstance(state.answer, Open) for state in states)


def lacks_approval(states: Iterable[GateState]) -> bool:
    """Tell whether a gate that people open by their votes is not open."""
    asked = (state for state in states if state.name.split("-")[0] in _OPENED_BY_VOTES)
    return not all_open(asked)


def is_plan_current(run: Run, stage: Stage) -> bool:
    """Tell whether a run's plan was made against what the stage has applied now.

    Read again in the transaction that commands Prepare: a plan for anything else is made anew.
    """
    return run.plan_base == (stage.applied.rendered if stage.applied is not None else None)


def first_refusal(states: Iterable[GateState]) -> str | None:
    """Say why the run can never pass; None while it still can."""
    for state in states:
        if isinstance(state.answer, Refused):
            return f"{state.name}: {state.answer.reason}"
    return None


def _evaluate(spec: GateSpec, facts: GateFacts) -> tuple[str, GateAnswer]:
    """Answer one configured gate, with the name of its kind as in the application file."""
    match spec:
        case ApprovalGate():
            return "approval", evaluate_approval(spec, facts)
        case DependencyGate():
            return "dependency", evaluate_dependency(spec, facts)
        case ManualGate():
            return "manual", evaluate_manual(spec, facts)
        case SoakGate():
            return "soak", evaluate_soak(spec, facts)
        case WindowGate():
            return "window", evaluate_window(spec, facts)
        case _:
            return _evaluate_asked(spec, facts)


def _evaluate_asked(gate: AskedGate, facts: GateFacts) -> tuple[str, GateAnswer]:
    """Answer one whose condition somebody else knows."""
    match gate:
        case ChecksGate():
            return "checks", evaluate_checks(gate, facts)
        case ExternalGate():
            return "external", evaluate_external(gate, facts)
        case _:
            return "prometheus", evaluate_prometheus(gate, facts)
