"""A half-dead API server between the real service and a real control plane is never a verdict.

Nothing is faked but the way to the API server: a proxy that does at each step what half-dead
servers do, going by the step that the service has stored. What each trouble does at each step is
shown in virtual time (test_cluster_trouble.py); here is what comes of it over real sockets, with
the client, the checks and the retries of one installation together. Nothing is shorter than in
earnest: a request that is never answered costs its ten seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from tests.support.cluster_client import make_kubeconfig, save_private
from tests.support.half_dead_api import Behaviour, refuse
from tests.support.half_dead_proxy import HalfDeadProxy, run_half_dead_proxy
from tests.support.images import smoke_failing_image, web_image
from tests.support.service_site import (
    DEPLOYMENT,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

HANGS, READ_ONLY = "accepts, never answers", "reads, cannot write"
UNRELIABLE, BUSY = "every third is 500", "429 with Retry-After"
ROLLOUT = {
    Step.VALIDATE: UNRELIABLE,
    Step.APPLY: HANGS,
    Step.WAIT_HEALTHY: UNRELIABLE,
    Step.VERIFY: UNRELIABLE,
}
ROLLBACK = {
    Step.APPLY: READ_ONLY,
    Step.WAIT_HEALTHY: UNRELIABLE,
    Step.VERIFY: UNRELIABLE,
    Step.PRUNE: BUSY,
}
"""Step -> what happens in it."""

PLANNED = {(RunKind.ROLLOUT, step) for step in ROLLOUT} | {
    (RunKind.ROLLBACK, step) for step in ROLLBACK
}
LOTS = {HANGS: 1, READ_ONLY: 3, BUSY: 1}
"""How many requests of a step meet it until the server is well again; all where nothing is said."""

PATIENCE = timedelta(seconds=2)
"""Longer than the pause after a first attempt."""

LONG = timedelta(seconds=90)
"""Nothing depends on how fast the machine is."""


@dataclass
class Trouble:
    """What the proxy does in which step of staging.

    Attributes:
        site: Whose steps.
        proxy: The proxy.
        asked: (kind, step) -> when each request came, in seconds, and whether it failed.
    """

    site: ServiceSite
    proxy: HalfDeadProxy
    asked: dict[tuple[RunKind, Step], list[tuple[float, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    async def choose(self, request: web.Request) -> Behaviour | None:
        """Go by the step that the run is in; the bad release meets nothing."""
        if f"/namespaces/{self.site.namespaces[STAGING]}/" not in request.path:
            return None
        runs = await self.site.runs(STAGING)
        live = [run for run in runs if run.phase is Phase.RUNNING]
        if not live or live[-1].step is None or runs[1:2] == live:
            return None
        kind, step = live[-1].kind, live[-1].step
        plan = ROLLBACK if kind is RunKind.ROLLBACK else ROLLOUT
        chosen = self._behave(plan.get(step, ""), request, self.asked[kind, step])
        now = asyncio.get_running_loop().time()
        self.asked[kind, step].append((now, chosen is not None))
        return chosen

    def _behave(
        self, trouble: str, request: web.Request, asked: list[tuple[float, bool]]
    ) -> Behaviour | None:
        if trouble == UNRELIABLE:
            broken = refuse(500, "InternalError", "an error on the server")
            return broken if len(asked) % 3 == 0 else None
        if sum(failed for _, failed in asked) >= LOTS.get(trouble, 0):
            return None
        if trouble == BUSY:
            seconds = str(int(PATIENCE.total_seconds()))
            return refuse(429, "TooManyRequests", "slow down", Retry_After=seconds)
        if request.method == "GET" or "dryRun" in request.query:
            return None
        leaderless = refuse(503, "ServiceUnavailable", "etcdserver: no leader")
        return leaderless if trouble == READ_ONLY else self.proxy.never

    def pauses(self, kind: RunKind, step: Step) -> list[float]:
        """Tell how long each request that failed was followed by none."""
        found = pairwise(self.asked[kind, step])
        return [later - sooner for (sooner, failed), (later, _) in found if failed]


def proxied(site: ServiceSite, plane: ControlPlane, proxy: HalfDeadProxy) -> None:
    """Let the service come to its cluster through the proxy, and smoke-test staging."""
    account = json.loads(plane.gitopsd_kubeconfig().read_text())
    way = make_kubeconfig(proxy.url, plane.authority, account["users"][0]["user"])
    kubeconfig = save_private(site.directory / "proxied.kubeconfig", way)
    (site.directory / "config" / "clusters" / "one.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Cluster\nmetadata: {name: one}\n"
        f"spec: {{kubeconfig: {kubeconfig}}}\n"
    )
    application = site.directory / "config" / "applications" / "shop.yaml"
    written = application.read_text()
    checks = "path: /health, within: 10s"
    assert checks in written
    application.write_text(written.replace(checks, "path: /smoke, within: 3s", 1))


@pytest.mark.timeout(240)
async def test_a_release_and_a_rollback_get_through(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    tmp_path: Path,
) -> None:
    """The good release is live, the bad one fails by its own fault, and what was is restored."""
    good = cluster_registry.push(web_image("1"), "half-dead/api:1").pinned
    bad = cluster_registry.push(smoke_failing_image("2"), "half-dead/api:2").pinned
    async with (
        run_half_dead_proxy(control_plane) as proxy,
        run_site(control_plane, cluster_registry, tmp_path / node.name, start=False) as site,
    ):
        proxied(site, control_plane, proxy)
        site.start()
        await site.ready()
        trouble = Trouble(site, proxy)
        proxy.choose = trouble.choose
        kept = (SERVICE, config_map("kept", a="1"))
        await site.push("good", DEPLOYMENT.format(image=good), *kept, config_map("leaving"))
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, within=LONG)
        before = site.live(STAGING)
        assert len(before) == 4

        await site.push("bad", DEPLOYMENT.format(image=bad), *kept, config_map("added"))
        await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED, within=LONG)
        assert site.live(STAGING) == before

        assert [(run.kind, run.phase, run.step) for run in await site.runs(STAGING)] == [
            (RunKind.ROLLOUT, Phase.SUCCEEDED, Step.CERTIFY),
            (RunKind.ROLLOUT, Phase.FAILED, Step.VERIFY),
            (RunKind.ROLLBACK, Phase.SUCCEEDED, Step.CERTIFY),
        ]
        failed = {place for place, asked in trouble.asked.items() if any(ill for _, ill in asked)}
        assert failed == PLANNED
        (pause,) = trouble.pauses(RunKind.ROLLBACK, Step.PRUNE)
        assert pause >= PATIENCE.total_seconds() - 0.01
