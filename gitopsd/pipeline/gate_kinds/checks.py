"""``checks:``: check runs and statuses of a commit are good on its host."""

from __future__ import annotations

from gitopsd.domain.asked_gates import ChecksGate
from gitopsd.domain.gates import GateAnswer
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.asked import evaluate_asked


def evaluate_checks(spec: ChecksGate, facts: GateFacts) -> GateAnswer:
    """Answer by what the host said of the commit last."""
    names = ", ".join(spec.names)
    return evaluate_asked(spec, facts, asks=names, on_failure=spec.on_failure)
