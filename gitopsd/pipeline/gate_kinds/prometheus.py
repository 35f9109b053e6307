"""``prometheus:``: a figure of a metric server is as the condition says."""

from __future__ import annotations

from gitopsd.domain.asked_gates import PrometheusGate
from gitopsd.domain.gates import GateAnswer
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.asked import evaluate_asked


def evaluate_prometheus(spec: PrometheusGate, facts: GateFacts) -> GateAnswer:
    """Answer by the figure that was read last."""
    return evaluate_asked(
        spec,
        facts,
        asks=f"a figure {spec.condition}",
        on_failure=spec.on_failure,
        on_inconclusive=spec.on_inconclusive,
    )
