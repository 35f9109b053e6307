"""The whole engine in virtual time: real decisions and steps, everything outside in memory.

Faked: store, clusters, Git, renderer, checks, channels, clock. Untouched: intake, looks, admission,
the machine, steps, the worker and its sweep.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, Configuration, GitSource, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, Release, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.sources import (
    CommitSha,
    ReceiverName,
    ReceiverSpec,
    ReceiverType,
    RefName,
    RepoURL,
)
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Page
from gitopsd.engine.actions import Actions, Actor
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.engine.intake import accept_delivery
from gitopsd.engine.measuring import MeasuringStore
from gitopsd.engine.services import Services
from gitopsd.errors import PermanentError
from gitopsd.store_ports import Store, Transaction
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from gitopsd.testing.doorbell import MemoryDoorbell
from gitopsd.testing.gate_prober import MemoryGateProber
from gitopsd.testing.memory_store import MemoryStore
from gitopsd.testing.notifier import MemoryNotifier
from gitopsd.testing.registry import MemoryRegistry
from gitopsd.testing.renderer import MemoryRenderer
from gitopsd.testing.source_repository import MemoryRepositories
from gitopsd.testing.telemetry import MemoryTelemetry
from gitopsd.testing.verifier import MemoryAnswer, MemoryVerifier
from tests.support.deliveries import sign

T = TypeVar("T")

REPO = RepoURL("https://git.example/shop-deploy.git")
MAIN = RefName("refs/heads/main")
SHOP = ApplicationName("shop")
STAGING = StageKey(SHOP, StageName("staging"))
PRODUCTION = StageKey(SHOP, StageName("production"))
APPROVER = Actor("alex", ("release-managers",))
SECRET = b"a secret made for this test"


def deployment(image: str, name: str = "api") -> JsonObject:
    """Make a Deployment that runs one image."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": image}]},
            },
        },
    }


def config_map(name: str, **data: str) -> JsonObject:
    """Make a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def shop_spec(change: Callable[[StageSpec], StageSpec] | None = None) -> ApplicationSpec:
    """Make the usual application: staging, then production behind an approval.

    Args:
        change: Changes production, e.g. its rollback policy.
    """
    check = HttpCheck(name="api /health", service="api", port="http", path="/health")
    staging = StageSpec(
        name=StageName("staging"),
        cluster="one",
        path="overlays/staging",
        namespace="shop-staging",
        health_timeout=timedelta(minutes=5),
        verify=(check,),
    )
    production = StageSpec(
        name=StageName("production"),
        cluster="one",
        path="overlays/production",
        namespace="shop",
        after=(StageName("staging"),),
        verify=(check,),
        gates=(ApprovalGate(("group:release-managers",)),),
    )
    stages = (staging, change(production) if change is not None else production)
    return ApplicationSpec(SHOP, {"team": "shop"}, GitSource(REPO, MAIN), stages, digest="1")


def job(image: str, name: str = "migrate", **annotations: str) -> JsonObject:
    """Make a Job that runs one image; annotation names are ``hook``, ``wave``, ``policy`` ..."""
    keys = {
        "hook": "argocd.argoproj.io/hook",
        "wave": "argocd.argoproj.io/sync-wave",
        "policy": "argocd.argoproj.io/hook-delete-policy",
        "idempotent": "gitopsd.io/hook-idempotent",
        "on_rollback": "gitopsd.io/hook-on-rollback",
    }
    marks = {keys[key]: value for key, value in annotations.items()}
    containers = [{"name": "job", "image": image}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": marks},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}},
    }


class ObservedStore:
    """A store that shows each committed state to whoever wants to see it.

    Attributes:
        observe: Called after every transaction with a reading one; None for nobody.
    """

    def __init__(self, inner: Store) -> None:
        self.observe: Callable[[Transaction], None] | None = None
        self._inner = inner

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction, then show what it left."""
        result = await self._inner.transact(work)
        if self.observe is not None:
            await self._inner.read(self.observe)
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


@dataclass
class World:
    """Everything outside of the engine, and the engine.

    Secret files hold `SECRET`, but for those in ``secrets``: None there is one that is gone.
    """

    clock: LoopClock
    store: ObservedStore
    cluster: MemoryCluster
    repositories: MemoryRepositories
    renderer: MemoryRenderer
    registry: MemoryRegistry
    verifier: MemoryVerifier
    notifier: MemoryNotifier
    telemetry: MemoryTelemetry
    services: Services
    actions: Actions
    configuration: list[Configuration]
    changed: asyncio.Queue[ConfigurationChange]
    memory: MemoryStore
    secrets: dict[str, bytes | None]
    prober: MemoryGateProber
    head: CommitSha | None = None
    commits: list[CommitSha] = field(default_factory=list)

    async def push(
        self,
        subject: str,
        *objects: JsonObject,
        hint: bool = True,
        author: str = "developer@example.test",
        pusher: str = "",
    ) -> CommitSha:
        """Push a commit whose overlays both render to ``objects``; ring the webhook.

        ``author`` is an e-mail, ``pusher`` the login that the webhook names.
        """
        overlays = {"overlays/staging": objects, "overlays/production": objects}
        sha = self.repositories.commit(
            REPO, subject, parent=self.head, overlays=overlays, author=("A developer", author)
        )
        self.repositories.push(REPO, MAIN, sha)
        before, self.head = self.head, sha
        self.commits.append(sha)
        if hint:
            await self.ring(before, sha, pusher=pusher)
        return sha

    async def ring(
        self,
        before: CommitSha | None,
        after: CommitSha | None,
        *,
        ref: RefName = MAIN,
        pusher: str = "",
    ) -> int:
        """Send the signed webhook of a push; returns the status of the answer."""
        body = json.dumps(
            {
                "ref": ref,
                "before": before or "0" * 40,
                "after": after or "0" * 40,
                "repository": {"clone_url": REPO, "full_name": "example/shop-deploy"},
                **({"pusher": {"name": pusher}} if pusher else {}),
            }
        ).encode()
        headers = {
            "content-type": "application/json",
            "x-github-event": "push",
            "x-github-delivery": f"{before}-{after}-{self.clock.monotonic()}",
            "x-hub-signature-256": sign(SECRET, body),
        }
        answer = await accept_delivery(self.services, ReceiverName("github"), headers, body)
        return answer.status

    async def notify(self, image: str, tag: str, digest: str = "") -> int:
        """Send the registry's notification of a pushed tag; returns the status of the answer."""
        host, _, path = image.partition("/")
        target = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "repository": path,
            "tag": tag,
            "digest": digest,
        }
        event = {
            "id": f"{image}:{tag} {self.clock.monotonic()}",
            "action": "push",
            "target": target,
            "request": {"host": host},
        }
        headers = {"authorization": f"Bearer {SECRET.decode()}"}
        body = json.dumps({"events": [event]}).encode()
        answer = await accept_delivery(self.services, ReceiverName("registry"), headers, body)
        return answer.status

    async def releases(self) -> list[Release]:
        """Read the releases of the shop, oldest first."""
        found = await self.store.read(lambda tx: tx.releases.page(SHOP, Page(100)))
        return list(reversed(found))

    async def configure(self, configuration: Configuration) -> None:
        """Put another configuration in force."""
        self.configuration[0] = configuration
        await self.changed.put(ConfigurationChange())

    async def stage(self, key: StageKey) -> Stage:
        """Read a stage."""
        found = await self.store.read(lambda tx: tx.stages.get(key))
        assert found is not None
        return found

    async def runs(self, key: StageKey) -> list[Run]:
        """Read a stage's runs, oldest first."""
        found = await self.store.read(lambda tx: tx.runs.page(Page(100), stage=key))
        return list(reversed(found))

    async def run(self, run: RunId) -> Run:
        """Read one run."""
        found = await self.store.read(lambda tx: tx.runs.get(run))
        assert found is not None
        return found

    async def until(
        self, wanted: Callable[[], object], what: str, within: timedelta = timedelta(hours=1)
    ) -> None:
        """Wait, in virtual time, until a condition over the store holds."""
        end = self.clock.now() + within
        while True:
            found = wanted()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if self.clock.now() >= end:
                raise AssertionError(f"{what} did not happen within {within}: {await self.story()}")
            await self.clock.sleep(timedelta(milliseconds=200))

    async def until_run(
        self,
        key: StageKey,
        kind: RunKind,
        phase: Phase,
        *,
        count: int = 1,
        step: Step | None = None,
    ) -> Run:
        """Wait until a stage has ``count`` runs of a kind in a phase (and step); the newest."""
        found: list[Run] = []

        async def there() -> bool:
            found[:] = [
                run
                for run in await self.runs(key)
                if run.kind is kind and run.phase is phase and (step is None or run.step is step)
            ]
            return len(found) >= count

        await self.until(there, f"{count} {kind.value} {phase.value} in {key}")
        return found[-1]

    async def approve(self) -> None:
        """Approve what waits at production's Gate."""
        run = await self.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        done = await self.actions.approve(APPROVER, run.id, "", "")
        assert type(done).__name__ == "ActionDone", done

    async def story(self) -> str:
        """Say what happened, for a failing test."""
        lines = [await self.store.read(_story_of(key)) for key in (STAGING, PRODUCTION)]
        return "\n".join([*lines, f"reports: {self.telemetry.reports}"])


def _story_of(key: StageKey) -> Callable[[Transaction], str]:
    def tell(tx: Transaction) -> str:
        lines = [f"{key}: {tx.stages.get(key)}"]
        for run in reversed(tx.runs.page(Page(100), stage=key)):
            failure = run.failure.message if run.failure else ""
            lines.append(f"  {run.id} {run.kind.value} {run.phase.value} {run.step} {failure}")
            lines += [
                f"    {event.at:%H:%M:%S} {event.step} {event.name} {event.message}"
                for event in tx.runs.events(run.id)
            ]
        return "\n".join(lines)

    return tell


@asynccontextmanager
async def running_world(
    spec: ApplicationSpec | None = None, *, start: bool = True
) -> AsyncIterator[World]:
    """Run the engine over a fresh world until the block ends."""
    world = make_world(spec or shop_spec())
    if not start:
        yield world
        return
    async with started(world):
        yield world


def make_world(*specs: ApplicationSpec) -> World:
    """Build a world without starting its engine."""
    clock = LoopClock()
    cluster = MemoryCluster(clock)
    repositories = MemoryRepositories(clock)
    renderer = MemoryRenderer(repositories.overlay, clock, repositories.file)
    registry = MemoryRegistry(clock)
    verifier = MemoryVerifier()
    verifier.serve("api", MemoryAnswer(), path="/health")
    prober = MemoryGateProber()
    notifier = MemoryNotifier()
    telemetry = MemoryTelemetry()
    memory = MemoryStore(clock)
    secrets: dict[str, bytes | None] = {}
    store = ObservedStore(MeasuringStore(memory, telemetry))
    configuration = [
        Configuration(
            applications={spec.name: spec for spec in specs},
            clusters={"one": ClusterSpec("one")},
            receivers={
                ReceiverName("github"): ReceiverSpec(
                    ReceiverName("github"), ReceiverType.GITHUB, ("secret",)
                ),
                ReceiverName("registry"): ReceiverSpec(
                    ReceiverName("registry"), ReceiverType.DISTRIBUTION, ("secret",)
                ),
            },
            channels={"ops": ChannelSpec("ops", ChannelType.WEBHOOK, "http://ops.example")},
        )
    ]
    services = Services(
        store=store,
        clusters=MemoryClusters({"one": cluster}),
        repositories=repositories,
        renderer=renderer,
        registry=registry,
        verifier=verifier,
        prober=prober,
        notifier=notifier,
        doorbell=MemoryDoorbell(clock),
        clock=clock,
        telemetry=telemetry,
        configuration=lambda: configuration[0],
        read_secret=lambda path: _read_secret(secrets, path),
    )
    return World(
        clock,
        store,
        cluster,
        repositories,
        renderer,
        registry,
        verifier,
        notifier,
        telemetry,
        services,
        Actions(services),
        configuration,
        asyncio.Queue(),
        memory,
        secrets,
        prober,
    )


def _read_secret(secrets: dict[str, bytes | None], path: str) -> bytes:
    found = secrets.get(path, SECRET)
    if found is None:
        message = f"secret file {path} cannot be read: No such file or directory"
        raise PermanentError(message)
    return found


@asynccontextmanager
async def started(world: World) -> AsyncIterator[Daemon]:
    """Run a world's engine until the block ends."""

    async def changes() -> AsyncIterator[ConfigurationChange]:
        while True:
            yield await world.changed.get()

    daemon = Daemon(world.services, changes(), sole=True)
    task = asyncio.create_task(daemon.run(), name="daemon")
    ready = asyncio.create_task(daemon.ready.wait())
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await task
    try:
        yield daemon
    finally:
        daemon.worker.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
