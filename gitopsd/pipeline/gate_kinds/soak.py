"""``soak:``: the release ran well in another stage for a while."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.pipeline.facts import GateFacts


def evaluate_soak(spec: SoakGate, facts: GateFacts) -> GateAnswer:
    """Answer by how long the release was verified upstream."""
    since = facts.verified_upstream_at.get(spec.stage)
    if since is None:
        return Closed(f"not verified in {spec.stage}", f"wait until it is verified in {spec.stage}")
    until = since + spec.duration
    if facts.now >= until:
        return Open(f"verified in {spec.stage} since {since:%Y-%m-%d %H:%M} UTC")
    rest = timedelta(seconds=-(-(until - facts.now) // timedelta(seconds=1)))
    return Closed(f"verified in {spec.stage}, soaks for {rest} more", "wait", until)
