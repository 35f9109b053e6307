"""Groups of stages on clusters of their own: the whole service beside four simulated clusters.

Nothing is faked: ``gitopsd serve`` runs as a child beside a registry, a Git host with signed
webhooks and four processes of ``gitopsd sandbox``. The application is the one of
``config/examples``, so what people copy is what is played.

What one region has, another may lack: an image that needs the setting ``CURRENCY`` crashes in the
regions without it, though it is the same overlay with the same bytes everywhere.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Page
from gitopsd.store.sql_store import open_store
from tests.support.command_line import CommandLine, Ran
from tests.support.git_http import GitHost, run_git_http
from tests.support.images import web_image
from tests.support.repositories import MAIN
from tests.support.sandbox_server import SandboxServer
from tests.support.service_site import DEPLOYMENT, ROOT, SERVICE, ServiceSite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry import RegistryServer

EXAMPLE = ROOT / "config" / "examples" / "applications" / "storefront.yaml"
GROUP = "production"
CLUSTERS = {"canary": "eu-1", "eu": "eu-2", "us": "us-1", "asia": "asia-1"}
"""Stage of the group -> its cluster, as in the example."""

LACKING = ("eu", "us")
"""Stages in whose region the new setting is missing."""

QUICKER = {"certify: 30s": "certify: 1s"}
"""What the example is given, so that nobody waits for minutes."""

WITHIN = timedelta(seconds=120)
_HEAD = "apiVersion: gitopsd.io/v1\n"
_ENVIRONMENT = """\
          env:
            - name: CURRENCY
              valueFrom: {configMapKeyRef: {name: region, key: currency, optional: true}}
"""
_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


@dataclass
class Shop:
    """One application with a group of stages.

    Attributes:
        site: The installation.
        name: Its name, which is its namespaces' and its repository's, too.
        servers: Stage of the group -> the cluster that it is on.
    """

    site: ServiceSite
    name: str
    servers: Mapping[str, SandboxServer]

    async def push(self, subject: str, image: str) -> None:
        """Commit a release for all stages, and send the signed webhook."""
        repository = self.site.host.create(f"{self.name}.git")
        before = repository.refs().get(MAIN, "0" * 40)
        resources = "resources: [api.yaml, service.yaml]\n"
        sha = repository.commit(
            {
                f"overlays/{stage}/{file}": text
                for stage in ("staging", "production")
                for file, text in {
                    "kustomization.yaml": resources,
                    "api.yaml": DEPLOYMENT.format(image=image) + _ENVIRONMENT,
                    "service.yaml": SERVICE,
                }.items()
            },
            message=subject,
        )
        await self.site.host.send_push(f"{self.name}.git", MAIN, before, str(sha))

    async def until_plans_wait(self, *stages: str) -> dict[str, Any]:
        """Wait until the group waits with a plan for each of some stages; returns the group."""
        found: dict[str, Any] = {}

        async def waits() -> bool:
            found.update(await self.group())
            return [one["stage"] for one in found["waiting"]] == list(stages)

        await self._until(waits, f"{self.name}: plans of {', '.join(stages)} wait")
        return found

    async def group(self) -> dict[str, Any]:
        """Read the group from the API."""
        document = await self.site.call("GET", f"/api/v1/applications/{self.name}")
        found: dict[str, Any] = document["groups"][0]
        return found

    async def type(self, *words: str) -> Ran:
        """Type a command at a terminal, as the admin."""
        data = self.site.directory / "data"
        token = (data / "admin.token").read_text().strip()
        return await CommandLine(self.site.addresses["api"], token, data).run(*words)

    async def runs(self, stage: str) -> list[Run]:
        """Read a stage's runs, oldest first."""
        key = StageKey(ApplicationName(self.name), StageName(stage))
        return list(reversed(await self.site.read(lambda tx: tx.runs.page(Page(50), stage=key))))

    async def endings(self, stage: str) -> list[str]:
        """Say what kind each run of a stage was, and how it ended."""
        return [f"{run.kind.value} {run.phase.value}" for run in await self.runs(stage)]

    async def until_ended(self, stage: str, kind: RunKind, phase: Phase, count: int = 1) -> None:
        """Wait until a stage has had so many such runs."""

        async def there() -> bool:
            runs = await self.runs(stage)
            return sum((run.kind, run.phase) == (kind, phase) for run in runs) >= count

        await self._until(there, f"{self.name}: {stage}: {count} {kind.value} {phase.value}")

    async def until_at(self, stage: str, step: Step, count: int) -> None:
        """Wait until a stage's run of a number, or a later one, is in a step."""

        async def there() -> bool:
            runs = await self.runs(stage)
            return len(runs) >= count and runs[-1].step is step

        await self._until(there, f"{self.name}: {stage}: run {count} in {step.value}")

    async def _until(self, wanted: Any, what: str) -> None:  # noqa: ANN401 - an async function
        try:
            await self.site.until(wanted, what, WITHIN)
        except AssertionError as error:
            told = [
                f"{run.id} {run.kind.value} {run.phase.value} {run.step} {run.failure}"
                for stage in ("staging", *CLUSTERS)
                for run in await self.runs(stage)
            ]
            raise AssertionError("\n".join([*told, str(error)])) from error

    def images(self) -> dict[str, str]:
        """Read which image each stage of the group runs: what its cluster has, and pods of it."""
        found = {}
        for stage, server in self.servers.items():
            client = server.client
            path = f"/apis/apps/v1/namespaces/{self.name}/deployments/api"
            deployment = client.get(path)
            ready = deployment["status"].get("readyReplicas", 0)
            image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            found[stage] = image if ready else f"{image}, not ready"
        return found

    def versions(self, stage: str) -> dict[str, str]:
        """Read the version of every object that a stage has on its cluster."""
        client = self.servers[stage].client
        return {
            f"{path}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for path in (
                f"/apis/apps/v1/namespaces/{self.name}/deployments",
                f"/apis/apps/v1/namespaces/{self.name}/replicasets",
                f"/api/v1/namespaces/{self.name}/pods",
                f"/api/v1/namespaces/{self.name}/services",
            )
            for item in client.get(path)["items"]
        }


@dataclass
class GroupSite:
    """One installation with several applications, each with a group on the same clusters.

    Attributes:
        site: The installation.
        shops: Its applications by name.
        servers: Stage -> the cluster that it is on.
        good: An image that works everywhere.
        choosy: An image that works where the new setting is.
    """

    site: ServiceSite
    shops: Mapping[str, Shop]
    servers: Mapping[str, SandboxServer]
    good: str
    choosy: str

    async def die(self) -> None:
        """End the service without giving it a chance, and start it again."""
        service = self.site.service
        assert service is not None
        service.popen.kill()
        service.stop()
        self.site.start()
        await self.site.ready()


def list_writes(server: SandboxServer, since: int) -> list[tuple[str, str]]:
    """List what changed, or could have changed, something on a cluster: (verb, path).

    Only gitopsd's own account counts: what controllers do follows from it. A rehearsal
    (``dryRun=All``) and a question about one's own rights change nothing.
    """
    return [
        (event["verb"], event["requestURI"])
        for event in server.audit_events(since)
        if "gitopsd" in event["user"]["username"]
        and event["verb"] not in ("get", "list", "watch")
        and "dryRun=All" not in event["requestURI"]
        and not any(word in event["requestURI"] for word in _REVIEWS)
    ]


@asynccontextmanager
async def run_group_site(
    servers: Mapping[str, SandboxServer],
    registry: RegistryServer,
    directory: Path,
    changes: Mapping[str, Sequence[tuple[str, str]]],
) -> AsyncIterator[GroupSite]:
    """Set up one installation with an application for each entry, and take it down.

    Args:
        servers: Stage of the group -> the cluster that it is on; staging is on the first one.
        registry: Where images are pushed to.
        directory: Where everything is kept.
        changes: Name -> what its file has otherwise than the example: (text, instead).
    """
    async with run_git_http(directory / "git") as host:
        _write_surroundings(directory, servers)
        for name, own in changes.items():
            host.create(f"{name}.git")
            _write_application(directory, host, name, own)
            _prepare(servers, name)
        store = open_store(f"sqlite:///{directory / 'data' / 'gitopsd.db'}")
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "GITOPSD_CONFIG_DIR": str(directory / "config"),
            "GITOPSD_DATA_DIR": str(directory / "data"),
            "GITOPSD_LISTEN": "127.0.0.1:0",
            "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
        }
        cluster: Any = servers["canary"]
        site = ServiceSite(cluster, registry, host, directory, environment, "", store)
        shops = {name: Shop(site, name, servers) for name in changes}
        try:
            site.start()
            good = registry.push(web_image("1"), "group/api:1").pinned
            needing = web_image("2", requireEnv=["CURRENCY"])
            choosy = registry.push(needing, "group/api:2").pinned
            await site.ready()
            yield GroupSite(site, shops, servers, good, choosy)
        finally:
            site.stop()
            await store.close()


def _prepare(servers: Mapping[str, SandboxServer], name: str) -> None:
    """Make an application's namespaces, and the setting where the region has it."""
    places = [(stage, name) for stage in CLUSTERS] + [("canary", f"{name}-staging")]
    for stage, namespace in places:
        client = servers[stage].client
        client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        if stage not in LACKING:
            setting = {"metadata": {"name": "region"}, "data": {"currency": "EUR"}}
            client.create(f"/api/v1/namespaces/{namespace}/configmaps", setting)


def _write_surroundings(directory: Path, servers: Mapping[str, SandboxServer]) -> None:
    config = directory / "config"
    (directory / "data").mkdir(parents=True)
    for kind in ("applications", "clusters", "receivers"):
        (config / kind).mkdir(parents=True)
    kubeconfigs = {CLUSTERS[stage]: one.gitopsd_kubeconfig() for stage, one in servers.items()}
    kubeconfigs["staging"] = kubeconfigs[CLUSTERS["canary"]]
    for name, kubeconfig in kubeconfigs.items():
        (config / "clusters" / f"{name}.yaml").write_text(
            f"{_HEAD}kind: Cluster\nmetadata: {{name: {name}}}\n"
            f"spec: {{kubeconfig: {kubeconfig}}}\n"
        )
    secret = config / "github.secret"
    secret.write_text(secrets.token_hex(16))
    (config / "receivers" / "github.yaml").write_text(
        f"{_HEAD}kind: Receiver\nmetadata: {{name: github}}\n"
        f"spec: {{type: github, secretFiles: [{secret}]}}\n"
    )
    (config / "people.yaml").write_text(
        f"{_HEAD}kind: People\nspec:\n  persons:\n"
        "    - {subject: admin, groups: [release-managers]}\n"
    )


def _write_application(
    directory: Path, host: GitHost, name: str, own: Sequence[tuple[str, str]]
) -> None:
    text = EXAMPLE.read_text()
    address = host.address("storefront.git")
    for old, new in (
        *QUICKER.items(),
        ("https://git.example/storefront-deploy.git", address),
        *own,
        ("storefront", name),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (directory / "config" / "applications" / f"{name}.yaml").write_text(text)
