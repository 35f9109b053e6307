"""The rollback scenarios on real servers: one service, one cluster, an application for each.

Nothing is faked: ``gitopsd serve`` runs as a child beside a registry, a Git host and a cluster,
which is a sandbox or a real control plane with a node. What is judged are the cluster's live
objects.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import Page
from gitopsd.store.sql_store import open_store
from tests.support.git_http import run_git_http
from tests.support.images import crashing_image, job_image, web_image
from tests.support.repositories import MAIN, Content
from tests.support.rollback_table import Outcome, Where
from tests.support.service_site import DEPLOYMENT, ROOT, SERVICE, ServiceSite, canonical, config_map

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess
    from tests.support.registry import RegistryServer

WITHIN = timedelta(seconds=120)
_HEAD = "apiVersion: gitopsd.io/v1\n"
_COLLECTIONS = (
    "/apis/apps/v1/namespaces/{}/deployments",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/configmaps",
)


class Images:
    """What the applications run.

    Attributes:
        good: Works.
        missing: Is not there.
        crashing: Crashes at its start.
        sick: Is never ready, and crashes after some seconds.
        fading: Answers well once.
        failing: Exits 1, for a Job.
    """

    def __init__(self, registry: RegistryServer, name: str) -> None:
        self.good = registry.push(web_image("1"), f"{name}/api:1").pinned
        self.missing = f"{registry.host}/{name}/api:not-there"
        self.crashing = registry.push(crashing_image("2"), f"{name}/api:crash").pinned
        sick = web_image("3", ready_statuses=(503,), exits=[{"code": 1, "afterSeconds": 3}])
        self.sick = registry.push(sick, f"{name}/api:sick").pinned
        fading = web_image("4", health_statuses=(200, 500))
        self.fading = registry.push(fading, f"{name}/api:fading").pinned
        self.failing = registry.push(job_image("5", code=1), f"{name}/tool:1").pinned


@dataclass
class Shop:
    """One application with one stage.

    Attributes:
        site: The installation.
        images: What it can run.
        name: Its name, which is its namespace's and its repository's, too.
        seen: Release commits by subject.
    """

    site: ServiceSite
    images: Images
    name: str
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> StageKey:
        """Its stage."""
        return StageKey(ApplicationName(self.name), StageName("production"))

    async def push(self, subject: str, image: str, *manifests: str) -> None:
        """Commit a release, and send the signed webhook."""
        repository = self.site.host.create(f"{self.name}.git")
        before = repository.refs().get(MAIN, "0" * 40)
        objects = (DEPLOYMENT.format(image=image), SERVICE, *manifests)
        names = [f"object-{number}.yaml" for number in range(len(objects))]
        listed = "".join(f"  - {name}\n" for name in names)
        files: dict[str, Content] = {
            "overlay/kustomization.yaml": f"namespace: {self.name}\nresources:\n{listed}",
            **{f"overlay/{name}": text for name, text in zip(names, objects, strict=True)},
        }
        sha = str(repository.commit(files, message=subject))
        self.seen[subject] = sha
        await self.site.host.send_push(f"{self.name}.git", MAIN, before, sha)

    async def runs(self) -> list[Run]:
        """Read its runs, oldest first."""
        found = await self.site.read(lambda tx: tx.runs.page(Page(50), stage=self.key))
        return list(reversed(found))

    async def until(
        self, kind: RunKind, phase: Phase, *, step: Step | None = None, count: int = 1
    ) -> Run:
        """Wait for runs of a kind in a phase (and step); the newest."""
        found: list[Run] = []

        async def there() -> bool:
            found[:] = [
                run
                for run in await self.runs()
                if (run.kind, run.phase) == (kind, phase) and step in (None, run.step)
            ]
            return len(found) >= count

        try:
            await self.site.until(there, f"{kind.value} {phase.value} in {self.name}", WITHIN)
        except AssertionError as error:
            told = [f"{run.id} {run.phase} {run.step} {run.failure}" for run in await self.runs()]
            raise AssertionError("\n".join([str(error), *told])) from error
        return found[-1]

    def live(self) -> dict[str, dict[str, Any]]:
        """Read its live objects, without what servers write; definitions of its group as well."""
        client, found = self.site.cluster.client, {}
        for path in _COLLECTIONS:
            for item in client.get(path.format(self.name))["items"]:
                if "gitopsd.io/stage" in item["metadata"].get("labels", {}):
                    found[f"{path} {item['metadata']['name']}"] = canonical(item)
        definition = definition_of(self.name)
        if client.answers(definition):
            found[definition] = {"versions": client.get(definition)["spec"]["versions"]}
        return found

    def uid_of(self, name: str) -> str:
        """Read which ConfigMap of a name is there."""
        path = f"/api/v1/namespaces/{self.name}/configmaps/{name}"
        return str(self.site.cluster.client.get(path)["metadata"]["uid"])

    def widgets(self, version: str) -> str:
        """Write a definition whose versions differ in a field."""
        schema = {"type": "object", "properties": {f"field{version}": {"type": "string"}}}
        served = {"name": "v1", "served": True, "storage": True}
        versions = [{**served, "schema": {"openAPIV3Schema": schema}}]
        names = {"kind": "Widget", "plural": "widgets", "singular": "widget"}
        group = f"{self.name}.example"
        spec = {"group": group, "names": names, "scope": "Namespaced", "versions": versions}
        return json.dumps(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"widgets.{group}"},
                "spec": spec,
            }
        )

    def smoke(self) -> str:
        """Write a Job that runs after each release, and fails."""
        container = {"name": "smoke", "image": self.images.failing}
        pod = {"restartPolicy": "Never", "containers": [container]}
        return json.dumps(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    "name": "smoke",
                    "annotations": {"argocd.argoproj.io/hook": "PostSync"},
                },
                "spec": {"backoffLimit": 0, "template": {"spec": pod}},
            }
        )

    async def release(self, *more: str) -> dict[str, dict[str, Any]]:
        """Bring what is good; tells what is live then."""
        await self.push("good", self.images.good, config_map("kept", value="1"), *more)
        await self.until(RunKind.ROLLOUT, Phase.SUCCEEDED)
        return self.live()

    async def tell(self, scenario: str, where: Where, before: object) -> Outcome:
        """Wait until a Rollback succeeded, and compare."""
        back = await self.until(RunKind.ROLLBACK, Phase.SUCCEEDED)
        failed = await self.until(RunKind.ROLLOUT, Phase.FAILED)
        assert failed.ended_at is not None
        assert back.ended_at is not None
        seconds = round((back.ended_at - failed.ended_at).total_seconds(), 3)
        release = await self.site.read(lambda tx: tx.releases.get(back.release))
        assert release is not None
        assert release.commit.sha == self.seen["good"]
        return Outcome(scenario, where.value, self.live() == before, str(release.id), seconds)


@dataclass
class RollbackSite:
    """One installation, and who plays on it.

    Attributes:
        site: The installation.
        images: What applications run.
        where: What it is.
        suffix: Makes its names its own.
    """

    site: ServiceSite
    images: Images
    where: Where
    suffix: str

    def shop(self, scenario: str) -> Shop:
        """Find a scenario's application."""
        return Shop(self.site, self.images, name_of(scenario, self.suffix))

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
        stage = await self.site.read(lambda tx: tx.stages.get(shop.key))
        assert stage is not None
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.MANUAL
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


def name_of(scenario: str, suffix: str) -> str:
    """Name a scenario's application, namespace and repository."""
    words = scenario.lower().replace(" at each boundary", "").split()
    return "-".join([*words, suffix])


def definition_of(name: str) -> str:
    """Tell where an application's definition is."""
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}.example"


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
    names = [name_of(scenario, suffix) for scenario in scenarios]
    async with run_git_http(directory / "git") as host:
        _write_surroundings(directory, cluster.gitopsd_kubeconfig())
        for name in names:
            host.create(f"{name}.git")
            _write_application(directory, name, host.address(f"{name}.git"))
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
        for name in names:
            cluster.client.create("/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            site.start()
            await site.ready()
            yield RollbackSite(site, Images(registry, f"back{suffix}"), where, suffix)
        finally:
            site.stop()
            await store.close()
            for name in names:
                definition = definition_of(name)
                if cluster.client.answers(definition):
                    cluster.client.delete(definition)
                cluster.client.delete(f"/api/v1/namespaces/{name}")


def _write_surroundings(directory: Path, kubeconfig: Path) -> None:
    config = directory / "config"
    (directory / "data").mkdir(parents=True)
    for kind in ("applications", "clusters", "receivers"):
        (config / kind).mkdir(parents=True)
    (config / "github.secret").write_text(secrets.token_hex(16))
    (config / "clusters" / "one.yaml").write_text(
        f"{_HEAD}kind: Cluster\nmetadata: {{name: one}}\nspec: {{kubeconfig: {kubeconfig}}}\n"
    )
    (config / "receivers" / "github.yaml").write_text(
        f"{_HEAD}kind: Receiver\nmetadata: {{name: github}}\n"
        f"spec: {{type: github, secretFiles: [{config / 'github.secret'}]}}\n"
    )


def _write_application(directory: Path, name: str, address: str) -> None:
    (directory / "config" / "applications" / f"{name}.yaml").write_text(
        f"{_HEAD}kind: Application\nmetadata: {{name: {name}}}\nspec:\n"
        f"  source: {{repoURL: {address}, branch: main}}\n"
        f"  stages:\n    - {{name: production, cluster: one, path: overlay, namespace: {name},\n"
        "       clusterScoped: [CustomResourceDefinition], health: {timeout: 60s}, certify: 1s,\n"
        "       verify: [{http: {service: api, port: http, path: /health, within: 3s}}]}\n"
    )
