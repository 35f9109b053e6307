"""``external:``: a service of the user's own says open, closed or refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from gitopsd.domain.asked_gates import ExternalGate
from gitopsd.domain.gates import GateAnswer
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.asked import evaluate_asked


def evaluate_external(spec: ExternalGate, facts: GateFacts) -> GateAnswer:
    """Answer by what the service said last; what it did not say clearly is closed."""
    return evaluate_asked(spec, facts, asks=urlsplit(spec.url).netloc)
