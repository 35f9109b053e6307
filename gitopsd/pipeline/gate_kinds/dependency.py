"""``dependency:``: another application's stage runs something verified."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import Health
from gitopsd.pipeline.facts import DependencyFacts, GateFacts

OLD_LOOK = timedelta(minutes=3)
"""An older look at the other stage says nothing of now; while a run waits there are newer ones."""


def evaluate_dependency(spec: DependencyGate, facts: GateFacts) -> GateAnswer:
    """Answer by what the other stage runs, and how it was when it was last looked at."""
    key, found = spec.on, facts.dependencies.get(spec.on)
    if found is None or not found.configured:
        return Closed(f"{key} is not configured", f"configure {key}, or remove the gate")
    if found.front is not None:
        return Closed(f"{found.front} is under way in {key}", "wait until it ends")
    if found.running is None:
        return Closed(f"{key} runs nothing verified", f"wait until {key} is verified")
    sha = facts.release.commit.sha[:12]
    if spec.same_commit and not found.has_commit:
        return Closed(
            f"{key} runs {found.running}, which does not have {sha}",
            f"wait until {key} is verified with it",
        )
    if spec.healthy:
        trouble = _find_trouble(spec, facts, found)
        if trouble is not None:
            return trouble
    return Open(f"{key} runs {found.running}, verified")


def _find_trouble(spec: DependencyGate, facts: GateFacts, found: DependencyFacts) -> Closed | None:
    seen = found.observation
    if seen is None or facts.now - seen.at > OLD_LOOK:
        return Closed(f"nobody has looked at {spec.on} lately", "wait for the next look")
    if seen.health is Health.HEALTHY and seen.synced is not False:
        return None
    why = seen.message or seen.health.value
    return Closed(f"{spec.on} is not seen healthy: {why}", f"mend {spec.on}")
