"""Reports for tests: one release on its way through two stages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageName
from gitopsd.domain.reports import (
    ApprovalReport,
    CallReport,
    Check,
    DeploymentReport,
    GroupApprovalReport,
    ReleaseReport,
    Report,
    RunReport,
    StageLine,
    StageReport,
    Standing,
    StepLine,
)
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.testing.clock import START

R = TypeVar("R", bound=Report)

SHOP = ApplicationName("shop")
STAGING, PRODUCTION = StageName("staging"), StageName("production")
SHA = CommitSha("3f9a1c2d" + "0" * 32)
RUN = RunId("shop-staging-ab12")
PLAN = "sha256:" + "7" * 64

RELEASE = ReleaseReport(
    id="inst/deploys/release:r-1",
    application=SHOP,
    release=ReleaseId("r-1"),
    alias="brave-otter",
    sha=SHA,
    subject="Serve two kinds of tea",
    author="Ada Example",
    at=START,
    stages=(
        StageLine(STAGING, Standing.RUNNING, "Apply", START, RUN),
        StageLine(PRODUCTION, Standing.WAITING, "waits for staging"),
    ),
    runs=(
        RunReport(
            RUN,
            STAGING,
            RunKind.ROLLOUT,
            Phase.RUNNING,
            "brave-otter",
            (
                StepLine(Step.RENDER, Phase.SUCCEEDED, START, START + timedelta(seconds=1.2)),
                StepLine(Step.APPLY, Phase.RUNNING, START, None, "1 of 2 waves"),
            ),
        ),
    ),
    link="https://gitopsd.example/api/v1/releases/r-1",
)

APPROVAL = ApprovalReport(
    id="inst/deploys/approval:shop-production-cd34:p",
    application=SHOP,
    stage=PRODUCTION,
    cluster="prod",
    namespace="shop",
    run=RunId("shop-production-cd34"),
    plan=PLAN,
    alias="brave-otter",
    sha=SHA,
    subject="Serve two kinds of tea",
    author="Ada Example",
    approvers=("group:release-managers",),
    needed=1,
    until=START + timedelta(hours=24),
    counts=(("created", 1), ("configured", 2), ("pruned", 1)),
    changes=(
        ("pruned", "ConfigMap shop/old"),
        ("configured", "Deployment shop/api"),
        ("configured", "Service shop/api"),
        ("created", "ConfigMap shop/tea"),
    ),
    link="https://gitopsd.example/api/v1/runs/shop-production-cd34",
)

_MEMBERS = tuple(
    replace(
        APPROVAL,
        stage=StageName(name),
        cluster=name,
        run=RunId(f"shop-{name}-1"),
        plan=f"sha256:{number}",
        counts=(("configured", 1),),
        changes=(("configured", "Deployment shop/api"),),
    )
    for number, name in enumerate(("canary", "eu", "us"))
)
GROUP = GroupApprovalReport(
    id="inst/deploys/approvals:shop-canary-1",
    application=SHOP,
    group="world",
    plans=_MEMBERS,
    missing=((StageName("asia"), "in Diff"),),
    name="plans-0123456789abcdef",
)

CALL = CallReport(
    id="inst/deploys/call:n-1",
    trigger="on-stalled",
    application="shop",
    stage="production",
    sentence="shop/production is stalled",
    at=START,
)

STAGE = StageReport(
    id="inst/commits/stage:shop/staging/3f9a",
    repository=RepoURL("https://github.com/acme/shop-deploy.git"),
    application=SHOP,
    stage=STAGING,
    sha=SHA,
    state=Check.PENDING,
    sentence="on its way",
    deployments=(
        DeploymentReport(RUN, RunKind.ROLLOUT, SHA, Check.PENDING, "bringing brave-otter"),
    ),
)


def settled(report: ReleaseReport) -> ReleaseReport:
    """The same release, live in staging."""
    steps = (report.runs[0].steps[0], StepLine(Step.APPLY, Phase.SUCCEEDED, START, START))
    run = replace(report.runs[0], phase=Phase.SUCCEEDED, steps=steps)
    line = StageLine(STAGING, Standing.LIVE, "verified", START, RUN)
    return replace(report, stages=(line, report.stages[1]), runs=(run,))


class Memory:
    """What a channel remembers of one report, as the engine would keep it.

    Attributes:
        state: What was remembered last.
        saved: How often.
    """

    def __init__(self) -> None:
        self.state: JsonObject = {}
        self.saved = 0

    async def remember(self, state: JsonObject) -> None:
        """Keep it."""
        self.state = state
        self.saved += 1


def write_file(name: str, content: bytes) -> None:
    """Replace what a file holds."""
    Path(name).write_bytes(content)
