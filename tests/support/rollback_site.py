"""The rollback scenarios on real servers: one service, one cluster, an application for each.

Nothing is faked: ``gitopsd serve`` runs as a child beside a registry, a Git host and a cluster,
which is a sandbox or a real control plane with a node. What is judged are the cluster's live
objects.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.store.sql_store import open_store
from tests.support.git_http import run_git_http
from tests.support.prometheus import PrometheusServer, run_exporter, run_prometheus
from tests.support.rollback_files import namespaces_of, write_application, write_surroundings
from tests.support.rollback_shop import Images, Shop, definition_of, name_of
from tests.support.rollback_table import Outcome, Where
from tests.support.service_site import ROOT, ServiceSite, config_map

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess
    from tests.support.registry import RegistryServer


@dataclass
class RollbackSite:
    """One installation, and who plays on it.

    Attributes:
        site: The installation.
        images: What applications run.
        where: What it is.
        suffix: Makes its names its own.
        metrics: A real Prometheus; what it scrapes is the test's to say.
    """

    site: ServiceSite
    images: Images
    where: Where
    suffix: str
    metrics: PrometheusServer

    def shop(self, scenario: str, stage: str = "") -> Shop:
        """Find a scenario's application, at the stage it has, or at one of several."""
        name = name_of(scenario, self.suffix)
        several = namespaces_of(scenario, name)
        shop = Shop(self.site, self.images, name, beside=several)
        return replace(shop, stage=stage) if stage else shop

    async def goes_back(self, scenario: str, image: str, *bad: str, good: str = "") -> Outcome:
        """A release that fails at once gives way to what was there."""
        shop = self.shop(scenario)
        before = await shop.release(*([good] if good else []))
        await shop.push("bad", image, *bad)
        return await shop.tell(scenario, self.where, before)

    async def play_at_once(self) -> list[Outcome]:
        """Play what disturbs nobody else; side by side."""
        made, crash = self.images, self.shop("CRD change")
        settings = config_map("kept", value="2")
        return list(
            await asyncio.gather(
                self.goes_back("bad image", made.missing, config_map("added", value="2")),
                self.goes_back("crash at once", made.crashing, settings),
                self.goes_back(
                    "failing Job", made.good, settings, self.shop("failing Job").smoke()
                ),
                self.goes_back(
                    "CRD change",
                    made.crashing,
                    settings,
                    crash.widgets("2"),
                    good=crash.widgets("1"),
                ),
                self.deleted_object(),
                self.declared_manual(),
            )
        )

    async def deleted_object(self) -> Outcome:
        """An object is pruned, then the checks fail when they are repeated: it is made anew."""
        shop = self.shop("deleted object")
        before, uid = await shop.release(), shop.uid_of("kept")
        await shop.push("bad", self.images.fading)
        told = await shop.tell("deleted object", self.where, before)
        assert shop.uid_of("kept") != uid
        return told

    async def declared_manual(self) -> Outcome:
        """A release that asks for a person is left as it is."""
        scenario = "declared manual"
        shop = self.shop(scenario)
        before = await shop.release()
        asking = "metadata: {name: kept, annotations: {gitopsd.io/rollback: manual}}"
        asks = config_map("kept", value="2").replace("metadata: {name: kept}", asking)
        await shop.push("bad", self.images.crashing, asks)
        await shop.until(RunKind.ROLLOUT, Phase.FAILED)
        assert await shop.stalled(StallReason.MANUAL)
        assert not [run for run in await shop.runs() if run.kind is RunKind.ROLLBACK]
        return Outcome(scenario, self.where.value, shop.live() == before, "", None)

    async def play_without_the_world(self) -> list[Outcome]:
        """Play with the Git host and the registry away from before the verdict until after."""
        git, registry = self.shop("Git down"), self.shop("registry down")
        before = await asyncio.gather(git.release(), registry.release())
        for shop in (git, registry):
            await shop.push("bad", self.images.sick, config_map("kept", value="2"))
        for shop in (git, registry):
            await shop.until(RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        self.site.host.answer = lambda _request: web.Response(status=503)
        self.site.registry.pause()
        try:
            return [
                await git.tell("Git down", self.where, before[0]),
                await registry.tell("registry down", self.where, before[1]),
            ]
        finally:
            self.site.host.answer = None
            self.site.registry.resume()

    async def play_with_deaths(self) -> list[Outcome]:
        """Kill the service where the bad release waits, at the verdict, and in the restore."""
        scenario = "daemon killed at each boundary"
        shop = self.shop(scenario)
        before = await shop.release()
        await shop.push("bad", self.images.sick, config_map("kept", value="2"))
        await shop.until(RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await self.die()
        await shop.until(RunKind.ROLLOUT, Phase.FAILED)
        await self.die()
        return [await shop.tell(scenario, self.where, before)]

    async def die(self) -> None:
        """End the service without giving it a chance, and start it again."""
        service = self.site.service
        assert service is not None
        service.popen.kill()
        service.stop()
        self.site.start()
        await self.site.ready()


@asynccontextmanager
async def run_rollback_site(
    cluster: ClusterAccess,
    registry: RegistryServer,
    directory: Path,
    where: Where,
    scenarios: tuple[str, ...],
) -> AsyncIterator[RollbackSite]:
    """Set up one installation with an application for each scenario, and take it down."""
    suffix = secrets.token_hex(3)
    images = Images(registry, f"back{suffix}")
    names = {scenario: name_of(scenario, suffix) for scenario in scenarios}
    namespaces = [
        namespace
        for scenario, name in names.items()
        for namespace in (name, *namespaces_of(scenario, name).values())
    ]
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(run_git_http(directory / "git"))
        exporter = await stack.enter_async_context(run_exporter())
        (directory / "metrics").mkdir(parents=True)
        metrics = await stack.enter_async_context(run_prometheus(directory / "metrics", exporter))
        write_surroundings(directory, cluster.gitopsd_kubeconfig(), metrics.url, registry)
        for scenario, name in names.items():
            host.create(f"{name}.git")
            write_application(
                directory, scenario, name, host.address(f"{name}.git"), images.followed
            )
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "GITOPSD_CONFIG_DIR": str(directory / "config"),
            "GITOPSD_DATA_DIR": str(directory / "data"),
            "GITOPSD_LISTEN": "127.0.0.1:0",
            "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
        }
        store = open_store(f"sqlite:///{directory / 'data' / 'gitopsd.db'}")
        site = ServiceSite(cluster, registry, host, directory, environment, suffix, store)  # type: ignore[arg-type] # a sandbox does as well
        for namespace in namespaces:
            cluster.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        try:
            site.start()
            await site.ready()
            yield RollbackSite(site, images, where, suffix, metrics)
        finally:
            site.stop()
            await store.close()
            for name in names.values():
                definition = definition_of(name)
                if cluster.client.answers(definition):
                    cluster.client.delete(definition)
            for namespace in namespaces:
                cluster.client.delete(f"/api/v1/namespaces/{namespace}")
