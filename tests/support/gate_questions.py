"""Questions of gates that ask outside."""

from __future__ import annotations

from gitopsd.domain.asked_gates import AskedGate, GateQuestion
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RepoURL

COMMIT = CommitSha("a" * 40)


def ask_for(gate: AskedGate, **revisions: str) -> GateQuestion:
    """Make the question of a gate; ``revisions`` are what images say they were built from."""
    return GateQuestion(
        gate=gate,
        stage=StageKey(ApplicationName("shop"), StageName("production")),
        cluster="one",
        namespace="shop-prod",
        run=RunId("shop-production-0011"),
        release=ReleaseId("r-0011"),
        alias="bold-heron",
        plan=Digest("sha256:plan"),
        repository=RepoURL("https://github.com/acme/shop-deploy.git"),
        commit=COMMIT,
        revisions=revisions,
    )
