"""Facts for one run at its Gate, where everything but the configured gate is open."""

from __future__ import annotations

from gitopsd.domain.config import StageSpec
from gitopsd.domain.releases import Line, Offer, Release
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.domain.stages import Stage
from gitopsd.pipeline.facts import GateFacts
from tests.support.runs import KEY, NOON, run_at

__all__ = ["FACTS", "KEY", "NOON", "OPENER", "RUN"]

RUN = run_at(RunKind.ROLLOUT, Step.GATE)

OPENER = f"wait for {{}}, which is asked every {{}}; at once: gitopsd retry {RUN.id}"
"""Who opens a gate that asks outside: whom it asks, and how often."""

FACTS = GateFacts(
    now=NOON,
    run=RUN,
    release=Release(RUN.release, KEY.application, Commit(CommitSha("a" * 40))),
    offer=Offer(7, Line(KEY.application, RefName("refs/heads/main")), RUN.release, NOON),
    stage=Stage(KEY),
    spec=StageSpec(KEY.stage, "one", "overlays/production", "shop"),
)
