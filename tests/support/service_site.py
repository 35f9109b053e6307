"""The whole product against real servers.

``gitopsd serve`` runs as a child, beside a real control plane, a real registry and node, and a real
Git host over HTTP with signed webhooks. Nothing is faked. Judgements come from the cluster
(`live`), never from gitopsd's word; its database is read only to wait for a run and to compare what
it remembers.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Page
from gitopsd.store.sql_store import SqlStore, open_store
from gitopsd.store_ports import Transaction
from tests.support.git_http import GitHost, PushHook, run_git_http
from tests.support.left_namespaces import clear_namespaces
from tests.support.processes import ServerProcess
from tests.support.repositories import MAIN, Content, Files

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
STAGING, PRODUCTION = "staging", "production"
REPOSITORY = "shop-deploy.git"
LOOK = 0.1

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: api
          image: {image}
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 1}}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: http}]
"""


def config_map(name: str, **data: str) -> str:
    """Write a ConfigMap."""
    lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{lines}"


@dataclass
class ServiceSite:
    """One installation of gitopsd with one application, and everything around it.

    Attributes:
        cluster: The control plane.
        registry: Where images come from.
        host: The Git host.
        directory: Configuration, data and logs.
        environment: Settings of the child.
        suffix: Makes this site's namespaces its own.
        service: The running child; None while it is down.
        store: Its database, read only.
    """

    cluster: ControlPlane
    registry: RegistryServer
    host: GitHost
    directory: Path
    environment: dict[str, str]
    suffix: str
    store: SqlStore
    service: ServerProcess | None = None
    addresses: dict[str, Any] = field(default_factory=dict)

    @property
    def application(self) -> ApplicationName:
        """Its application; sites of one cluster must not share one, or its inventories meet."""
        return ApplicationName(f"shop-{self.suffix}")

    def key(self, stage: str) -> StageKey:
        """Name one of its stages."""
        return StageKey(self.application, StageName(stage))

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Stage name -> its namespace."""
        return {
            "staging": f"shop-staging-{self.suffix}",
            "production": f"shop-{self.suffix}",
        }

    # -- the service

    def start(self, module: tuple[str, ...] = ("gitopsd", "serve"), **extra: str) -> None:
        """Start the service and wait until it is ready."""
        info = self.directory / "info.json"
        info.unlink(missing_ok=True)
        command = [sys.executable, "-m", *module, "--info", str(info)]
        self.service = ServerProcess.start(
            "gitopsd",
            command,
            self.directory / "gitopsd.log",
            environment={**self.environment, **extra},
        )

    async def ready(self, within: timedelta = timedelta(seconds=30)) -> None:
        """Wait until the service has written where it listens."""
        info = self.directory / "info.json"
        await self.until(info.exists, "the service is ready", within)
        await self.refresh()

    async def refresh(self) -> None:
        """Read where the service listens now; nothing changes while it is down."""
        info = self.directory / "info.json"
        if info.exists():
            self.addresses = json.loads(info.read_text())
            self.host.push_hook = PushHook(f"{self.addresses['api']}/hooks/github", self.secret)

    @property
    def secret(self) -> str:
        """The receiver's secret."""
        return (self.directory / "config" / "github.secret").read_text()

    def stop(self) -> None:
        """End the service gracefully."""
        if self.service is not None:
            self.service.stop()
            self.service = None

    # -- the repository

    async def push(
        self, message: str, *manifests: str, ring: bool = True, beside: Files | None = None
    ) -> str:
        """Commit manifests for both stages, and other files, and send the signed webhook."""
        repository = self.host.create(REPOSITORY)
        before = repository.refs().get(MAIN, "0" * 40)
        files: dict[str, Content] = {**(beside or {})}
        for stage, namespace in self.namespaces.items():
            names = [f"object-{number}.yaml" for number in range(len(manifests))]
            listed = "".join(f"  - {name}\n" for name in names)
            files[f"overlays/{stage}/kustomization.yaml"] = (
                f"namespace: {namespace}\nresources:\n{listed}"
            )
            for name, manifest in zip(names, manifests, strict=True):
                files[f"overlays/{stage}/{name}"] = manifest
        sha = repository.commit(files, message=message)
        if ring:
            await self.host.send_push(REPOSITORY, MAIN, before, sha)
        return str(sha)

    # -- what people do

    async def approve(self) -> None:
        """Approve what waits at production's Gate, with an approver's token."""
        run = await self.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await self.call("POST", f"/api/v1/runs/{run.id}/approve", {"plan": run.plan})

    async def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send one API request with the admin's token."""
        token = (self.directory / "data" / "admin.token").read_text().strip()
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                self.addresses["api"] + path,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            ) as answer,
        ):
            content: dict[str, Any] = await answer.json()
            assert answer.status < 300, (answer.status, content)
            return content

    # -- what is seen

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read the service's database."""
        return await self.store.read(work)

    async def runs(self, stage: str) -> list[Run]:
        """Read a stage's runs, oldest first."""
        key = self.key(stage)
        return list(reversed(await self.read(lambda tx: tx.runs.page(Page(200), stage=key))))

    async def until(
        self, wanted: Callable[[], object], what: str, within: timedelta = timedelta(seconds=60)
    ) -> None:
        """Look at a condition again and again until it holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within.total_seconds()
        while True:
            found = wanted()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if loop.time() > end:
                raise AssertionError(f"{what}: not within {within}\n{await self.story()}")
            later: asyncio.Future[None] = loop.create_future()
            loop.call_later(LOOK, later.set_result, None)
            await later

    async def until_run(
        self,
        stage: str,
        kind: RunKind,
        phase: Phase,
        *,
        count: int = 1,
        step: Step | None = None,
        within: timedelta = timedelta(seconds=60),
    ) -> Run:
        """Wait until a stage has ``count`` runs of a kind in a phase (and step); the newest."""
        found: list[Run] = []

        async def there() -> bool:
            found[:] = [
                run
                for run in await self.runs(stage)
                if run.kind is kind and run.phase is phase and (step is None or run.step is step)
            ]
            return len(found) >= count

        await self.until(there, f"{count} {kind.value} {phase.value} in {stage}", within)
        return found[-1]

    def live(self, stage: str) -> dict[str, dict[str, Any]]:
        """Read a stage's own live objects from the cluster, without what servers write."""
        namespace = self.namespaces[stage]
        found = {}
        for path in (
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            f"/api/v1/namespaces/{namespace}/services",
            f"/api/v1/namespaces/{namespace}/configmaps",
        ):
            for item in self.cluster.client.get(path)["items"]:
                if "gitopsd.io/stage" in item["metadata"].get("labels", {}):
                    kind = path.rsplit("/", 1)[1]
                    found[f"{kind}/{item['metadata']['name']}"] = canonical(item)
        return found

    async def story(self) -> str:
        """Say what happened, for a failing test."""
        lines = []
        for name in (STAGING, PRODUCTION):
            key = self.key(name)
            lines.append(await self.read(partial(_stall_of, key)))
            for run in await self.runs(name):
                failure = run.failure.message if run.failure is not None else ""
                lines.append(f"{run.id} {run.kind.value} {run.phase.value} {run.step} {failure}")
        log = self.directory / "gitopsd.log"
        tail = log.read_text().splitlines()[-25:] if log.exists() else []
        return "\n".join([*lines, *tail])


def _stall_of(key: StageKey, tx: Transaction) -> str:
    stage = tx.stages.get(key)
    return f"{key}: {stage.stall if stage is not None else 'not stored'}"


def canonical(item: Mapping[str, Any]) -> dict[str, Any]:
    """Strip what servers and controllers write, so that equal wishes compare equal."""
    metadata = {
        key: value
        for key, value in item["metadata"].items()
        if key in ("name", "namespace", "labels")
    }
    kept = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    spec = kept.get("spec")
    if isinstance(spec, dict):
        kept["spec"] = {
            key: value for key, value in spec.items() if key not in ("clusterIP", "clusterIPs")
        }
    return {**kept, "metadata": metadata}


@asynccontextmanager
async def run_site(
    cluster: ControlPlane,
    registry: RegistryServer,
    directory: Path,
    *,
    gates: str = "approval: {from: [group:release-managers]}",
    verify: str = "- http: {service: api, port: http, path: /smoke, within: 10s}",
    health: str = "60s",
    start: bool = True,
) -> AsyncIterator[ServiceSite]:
    """Set up an installation, start its service, and take everything down at the end."""
    suffix = secrets.token_hex(3)
    config = directory / "config"
    async with run_git_http(directory / "git") as host:
        host.create(REPOSITORY)
        write_configuration(
            config, host, cluster.gitopsd_kubeconfig(), suffix, gates, verify, health
        )
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "GITOPSD_CONFIG_DIR": str(config),
            "GITOPSD_DATA_DIR": str(directory / "data"),
            "GITOPSD_LISTEN": "127.0.0.1:0",
            "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
        }
        store = open_store(f"sqlite:///{directory / 'data' / 'gitopsd.db'}")
        site = ServiceSite(cluster, registry, host, directory, environment, suffix, store)
        since = cluster.audit_length()
        for namespace in site.namespaces.values():
            cluster.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        try:
            if start:
                site.start()
                await site.ready()
            yield site
        finally:
            site.stop()
            await store.close()
            clear_namespaces(cluster, since, *site.namespaces.values())


def write_configuration(
    config: Path,
    host: GitHost,
    kubeconfig: Path,
    suffix: str,
    gates: str,
    verify: str,
    health: str,
) -> None:
    """Write an ordinary configuration folder, as a person would."""
    (config.parent / "data").mkdir(parents=True, exist_ok=True)
    for kind in ("applications", "clusters", "receivers"):
        (config / kind).mkdir(parents=True, exist_ok=True)
    secret = config / "github.secret"
    secret.write_text(secrets.token_hex(16))
    (config / "clusters" / "one.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Cluster\nmetadata: {name: one}\n"
        f"spec: {{kubeconfig: {kubeconfig}}}\n"
    )
    (config / "receivers" / "github.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Receiver\nmetadata: {name: github}\n"
        f"spec: {{type: github, secretFiles: [{secret}]}}\n"
    )
    (config / "people.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: People\nmetadata: {name: people}\nspec:\n  persons:\n"
        "    - {subject: admin, groups: [release-managers]}\n"
    )
    gate = f"\n      gates:\n        - {gates}" if gates else ""
    (config / "applications" / "shop.yaml").write_text(f"""\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {{name: shop-{suffix}}}
spec:
  source: {{repoURL: {host.address(REPOSITORY)}, branch: main}}
  stages:
    - name: staging
      cluster: one
      path: overlays/staging
      namespace: shop-staging-{suffix}
      health: {{timeout: {health}}}
      verify: [{{http: {{service: api, port: http, path: /health, within: 10s}}}}]
    - name: production
      cluster: one
      after: [staging]
      path: overlays/production
      namespace: shop-{suffix}
      health: {{timeout: {health}}}
      verify:
        {verify}{gate}
""")
