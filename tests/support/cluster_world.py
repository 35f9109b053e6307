"""The engine over a real control plane: real API server, controllers, node agent and images.

In memory: Git, the renderer, the store, channels. Real: everything of the cluster, checks through
the API server, the clock. What the engine did is read from the audit log and by the harness's own
client, not taken from gitopsd's word.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.cluster_ports import (
    Cluster,
)
from gitopsd.domain.checks import Check, HttpCheck
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, Configuration, GitSource, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.sources import CommitSha, RefName, RepoURL
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Evidence, EvidenceKind, Page
from gitopsd.engine.actions import Actions
from gitopsd.engine.actors import Actor
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.engine.looks import look_key
from gitopsd.engine.services import Pace, Services
from gitopsd.kube.inventory import inventory_name
from gitopsd.store_ports import Transaction
from gitopsd.testing.doorbell import MemoryDoorbell
from gitopsd.testing.gate_prober import MemoryGateProber
from gitopsd.testing.memory_store import MemoryStore
from gitopsd.testing.notifier import MemoryNotifier
from gitopsd.testing.registry import MemoryRegistry
from gitopsd.testing.renderer import MemoryRenderer
from gitopsd.testing.source_repository import MemoryRepositories
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.engine_world import ObservedStore, _story_of
from tests.support.left_namespaces import clear_namespaces
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.cluster_site import Site
    from tests.support.images import Image

REPO = RepoURL("https://git.example/shop-deploy.git")
MAIN = RefName("refs/heads/main")
SHOP = ApplicationName("shop")
STAGING = StageKey(SHOP, StageName("staging"))
APPROVER = Actor("alex", ("release-managers",))
OVERLAY = "overlays/staging"
WITHIN = timedelta(seconds=90)

KINDS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
}
"""Collections that a snapshot reads."""

_OTHERS = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_MOVING = ("resourceVersion", "managedFields", "generation")
_COUNTED = ("deployment.kubernetes.io/revision",)


def deployment(image: str, *, name: str = "web", replicas: int = 1, **pod: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of a pod
    """Make a Deployment of a web image with a readiness probe.

    Args:
        image: Its image.
        name: Its name, and the value of its label ``app``.
        replicas: How many pods.
        pod: Fields of the container, e.g. ``env``.
    """
    container = {
        "name": name,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
        **pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def service(name: str = "web") -> dict[str, Any]:
    """Make the Service of a Deployment."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def settings(name: str = "settings", **data: str) -> dict[str, Any]:
    """Make a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def smoke_check(within: timedelta = timedelta(seconds=3)) -> Check:
    """Ask the service whether its smoke test passes."""
    return HttpCheck(
        name="smoke", service="web", port="http", path="/smoke", within=within, successes=1
    )


@dataclass(frozen=True, slots=True)
class Write:
    """One request of gitopsd that could change something, as the API server recorded it.

    Attributes:
        verb: ``patch``, ``create``, ``update`` or ``delete``.
        object: ``resource/name``.
        dry: Whether it was a dry run.
        code: HTTP status of the answer.
        user: As whom it was made.
        subresource: Subresource; empty for the object itself.
    """

    verb: str
    object: str
    dry: bool
    code: int
    user: str
    subresource: str = ""


@dataclass
class ClusterWorld:
    """The engine, its memory, and the cluster it writes to."""

    site: Site
    services: Services
    clusters: ConfiguredClusters
    store: ObservedStore
    repositories: MemoryRepositories
    renderer: MemoryRenderer
    notifier: MemoryNotifier
    telemetry: MemoryTelemetry
    actions: Actions
    configuration: list[Configuration]
    spec: ApplicationSpec
    inventories: str
    head: CommitSha | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def namespace(self) -> str:
        """The stage's namespace."""
        return self.site.namespace

    @property
    def cluster(self) -> Cluster:
        """The cluster as gitopsd sees it."""
        return self.clusters.get("one")

    async def image(self, image: Image, tag: str) -> str:
        """Push an image and pin it."""
        pushed = await asyncio.to_thread(self.site.push, image, tag)
        return pushed.pinned

    async def push(self, subject: str, *objects: JsonObject) -> CommitSha:
        """Push a commit whose overlay renders to ``objects``; it is seen by the next poll."""
        sha = self.repositories.commit(REPO, subject, parent=self.head, overlays={OVERLAY: objects})
        self.repositories.push(REPO, MAIN, sha)
        self.head = sha
        await self.store.transact(lambda tx: tx.work.hasten(look_key(REPO, MAIN), tx.now))
        await self.services.doorbell.ring()
        return sha

    async def stage(self) -> Stage:
        """Read the stage."""
        found = await self.store.read(lambda tx: tx.stages.get(STAGING))
        assert found is not None
        return found

    async def runs(self) -> list[Run]:
        """Read the runs, oldest first."""
        found = await self.store.read(lambda tx: tx.runs.page(Page(100), stage=STAGING))
        return list(reversed(found))

    async def until(self, wanted: Callable[[], Any], what: str, within: timedelta = WITHIN) -> None:
        """Wait until a condition over the store holds; looked at after each transaction."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not await wanted():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: not within {within}\n{await self.story()}") from None

    async def until_run(
        self, kind: RunKind, phase: Phase, *, count: int = 1, step: Step | None = None
    ) -> Run:
        """Wait until there are ``count`` runs of a kind in a phase (and step); the newest."""
        found: list[Run] = []

        async def there() -> bool:
            found[:] = [
                run
                for run in await self.runs()
                if run.kind is kind and run.phase is phase and (step is None or run.step is step)
            ]
            return len(found) >= count

        await self.until(there, f"{count} {kind.value} {phase.value}")
        return found[-1]

    async def succeeded(self, count: int = 1) -> Run:
        """Wait until so many Rollouts succeeded; the newest."""
        return await self.until_run(RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)

    async def failed(self, count: int = 1) -> Run:
        """Wait until so many Rollouts failed; the newest, with its failure."""
        run = await self.until_run(RunKind.ROLLOUT, Phase.FAILED, count=count)
        assert run.failure is not None
        return run

    async def restored(self, count: int = 1) -> Run:
        """Wait until so many Rollbacks succeeded; the newest."""
        return await self.until_run(RunKind.ROLLBACK, Phase.SUCCEEDED, count=count)

    async def evidence(self, run: Run, kind: EvidenceKind) -> list[Evidence]:
        """Read what was kept of a run."""
        found = await self.store.read(lambda tx: tx.runs.evidence(run.id))
        return [piece for piece in found if piece.kind is kind]

    async def change_set(self, run: Run) -> dict[str, dict[str, Any]]:
        """Read what Validate said of each object of a run: ``Kind/name`` -> its line."""
        for piece in await self.evidence(run, EvidenceKind.CHANGE_SET):
            content: Any = piece.content
            if piece.key == "assessed":
                return {f"{item['kind']}/{item['name']}": item for item in content["objects"]}
        return {}

    async def story(self) -> str:
        """Say what happened, for a failing test."""
        told = await self.store.read(_story_of(STAGING))
        return f"{told}\nreports: {self.telemetry.reports}"

    async def until_run_in(self, step: Step) -> Run:
        """Wait until a Rollout is in a step."""
        return await self.until_run(RunKind.ROLLOUT, Phase.RUNNING, step=step)

    async def waiting(self) -> Run:
        """Wait until a Rollout waits at its Gate."""
        return await self.until_run_in(Step.GATE)

    async def age_assessment(self) -> None:
        """Let what Validate saw be an hour old, as after a long wait for a person."""
        run = await self.waiting()

        def age(tx: Transaction) -> None:
            for piece in tx.runs.evidence(run.id):
                content: Any = piece.content
                if piece.key == "assessed":
                    at = datetime.fromisoformat(content["at"]) - timedelta(hours=1)
                    old = {**content, "at": at.isoformat()}
                    tx.runs.put_evidence(replace(piece, content=old))

        await self.store.transact(age)

    async def approve(self) -> None:
        """Approve what waits at the Gate."""
        run = await self.waiting()
        done = await self.actions.approve(APPROVER, run.id, "", "")
        assert type(done).__name__ == "ActionDone", done

    # -- what the cluster says

    async def live(self, path: str) -> dict[str, Any]:
        """Read an object with the harness's client."""
        return await asyncio.to_thread(self.site.cluster.client.get, path)

    async def object(self, kind: str, name: str) -> dict[str, Any]:
        """Read one object of the namespace."""
        return await self.live(f"{KINDS[kind].format(self.namespace)}/{name}")

    async def snapshot(self) -> dict[str, Any]:
        """Read every object of the namespace that a release may hold, in canonical form.

        Left out is what moves without anybody's doing, and what controllers made.
        """
        return await asyncio.to_thread(self._snapshot)

    def _snapshot(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind, path in KINDS.items():
            for item in self.site.cluster.client.get(path.format(self.namespace))["items"]:
                metadata = item["metadata"]
                if (kind, metadata["name"]) in _OTHERS or "ownerReferences" in metadata:
                    continue
                found[f"{kind}/{metadata['name']}"] = _canonical(item)
        return found

    async def inventory(self) -> list[str]:
        """List the objects on the stage's inventory, as ``Kind namespace/name``."""
        name = inventory_name(SHOP, STAGING.stage)
        held = await self.live(f"/api/v1/namespaces/{self.inventories}/configmaps/{name}")
        lines = [json.loads(line) for line in held["data"]["objects"].splitlines()]
        return sorted(f"{line[2]} {line[4]}" for line in lines)

    async def mark(self) -> int:
        """Note how far the audit log is; requests from here on are told by `writes`."""
        return await asyncio.to_thread(self._settled_audit)

    async def writes(self, since: int = 0) -> list[Write]:
        """List gitopsd's requests to the namespace that could change something."""
        return await asyncio.to_thread(self._writes, since)

    def _writes(self, since: int) -> list[Write]:
        self._settled_audit()
        found = []
        for event in self.site.cluster.audit_events(since):
            ref = event.get("objectRef", {})
            ours = event.get("userAgent", "").startswith("gitopsd/")
            quiet = event["verb"] in ("get", "list", "watch")
            if not ours or quiet or ref.get("namespace") != self.namespace:
                continue
            user = event.get("impersonatedUser", event["user"]).get("username", "")
            found.append(
                Write(
                    event["verb"],
                    f"{ref.get('resource')}/{ref.get('name')}",
                    "dryRun=All" in event["requestURI"],
                    event["responseStatus"]["code"],
                    user,
                    ref.get("subresource", ""),
                )
            )
        return found

    async def requests(self, since: int) -> list[str]:
        """List every request of gitopsd to the API server: ``verb uri``."""

        def read() -> list[str]:
            self._settled_audit()
            return [
                f"{event['verb']} {event['requestURI']}"
                for event in self.site.cluster.audit_events(since)
                if event.get("userAgent", "").startswith("gitopsd/")
            ]

        return await asyncio.to_thread(read)

    def _settled_audit(self) -> int:
        """Wait until the log has everything that was answered before now; its length then."""
        before = self.site.cluster.audit_length()
        mark = f"/api/v1/namespaces/{self.namespace}?mark={secrets.token_hex(8)}"
        cluster = self.site.cluster
        cluster.client.get(mark)

        def there() -> bool:
            return any(event["requestURI"] == mark for event in cluster.audit_events(before))

        wait_until(there, what="the audit log", within=timedelta(seconds=10))
        return cluster.audit_length()

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace, as an administrator; it must succeed."""
        done = await asyncio.to_thread(
            self.site.cluster.run_kubectl, "-n", self.namespace, *arguments, stdin=stdin
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _canonical(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _MOVING}
    annotations = {
        key: value for key, value in metadata.get("annotations", {}).items() if key not in _COUNTED
    }
    metadata["annotations"] = annotations
    return {**item, "metadata": metadata, "status": None}


def without_identity(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a snapshot without what an object that was made anew has new."""
    return {
        name: {
            **item,
            "metadata": {
                key: value
                for key, value in item["metadata"].items()
                if key not in ("uid", "creationTimestamp")
            },
        }
        for name, item in snapshot.items()
    }


def make_cluster_world(site: Site, change: Callable[[StageSpec], StageSpec]) -> ClusterWorld:
    """Build a world without starting its engine.

    Args:
        site: Namespace, node and registry.
        change: Changes the stage.
    """
    clock = SystemClock()
    inventories = f"inv-{site.namespace}"
    spec = ApplicationSpec(
        SHOP,
        {},
        GitSource(REPO, MAIN),
        (
            change(
                StageSpec(
                    name=STAGING.stage,
                    cluster="one",
                    path=OVERLAY,
                    namespace=site.namespace,
                    health_timeout=timedelta(seconds=60),
                    rollback_deadline=timedelta(seconds=60),
                )
            ),
        ),
        digest="1",
    )
    cluster = ClusterSpec(
        "one", kubeconfig=str(site.cluster.gitopsd_kubeconfig()), inventory_namespace=inventories
    )
    configuration = [Configuration(applications={SHOP: spec}, clusters={"one": cluster})]
    repositories = MemoryRepositories(clock)
    renderer = MemoryRenderer(repositories.overlay, clock, repositories.file)
    notifier, telemetry = MemoryNotifier(), MemoryTelemetry()
    store = ObservedStore(MemoryStore(clock, installation=secrets.token_hex(4)))
    clusters = ConfiguredClusters(lambda: configuration[0].clusters, telemetry)
    services = Services(
        store=store,
        clusters=clusters,
        repositories=repositories,
        renderer=renderer,
        registry=MemoryRegistry(),
        verifier=VerifierByKind(clusters),
        prober=MemoryGateProber(),
        notifier=notifier,
        doorbell=MemoryDoorbell(clock),
        clock=clock,
        telemetry=telemetry,
        configuration=lambda: configuration[0],
        read_secret=lambda _: b"",
        pace=Pace(poll=timedelta(milliseconds=200), sweep=timedelta(milliseconds=200)),
    )
    world = ClusterWorld(
        site,
        services,
        clusters,
        store,
        repositories,
        renderer,
        notifier,
        telemetry,
        Actions(services),
        configuration,
        spec,
        inventories,
    )
    store.observe = lambda _: world.changed.set()
    return world


def unchanged(stage: StageSpec) -> StageSpec:
    """Leave the stage as it is."""
    return stage


def with_approval(stage: StageSpec) -> StageSpec:
    """Let every release wait for a person between Diff and Apply."""
    return replace(stage, gates=(ApprovalGate(("group:release-managers",)),))


def with_smoke_check(stage: StageSpec) -> StageSpec:
    """Let the stage be verified by the release's own smoke test."""
    return replace(stage, verify=(smoke_check(),))


@asynccontextmanager
async def run_cluster_world(
    site: Site, change: Callable[[StageSpec], StageSpec] = unchanged
) -> AsyncIterator[ClusterWorld]:
    """Run the engine over a site until the block ends; its inventories go then."""
    since = site.cluster.audit_length()
    world = make_cluster_world(site, change)
    try:
        async with _engine(world):
            yield world
    finally:
        await world.clusters.close()
        await asyncio.to_thread(clear_namespaces, site.cluster, since, world.inventories)


@asynccontextmanager
async def _engine(world: ClusterWorld) -> AsyncIterator[None]:
    never = asyncio.Event()

    async def changes() -> AsyncIterator[ConfigurationChange]:
        await never.wait()
        yield ConfigurationChange()

    daemon = Daemon(world.services, changes(), sole=True)
    task = asyncio.create_task(daemon.run(), name="daemon")
    ready = asyncio.create_task(daemon.ready.wait())
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await task
    try:
        yield
    finally:
        daemon.worker.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
