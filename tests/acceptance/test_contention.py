"""Two services at one stage of a real control plane: one writes, the other keeps its hands off.

`gitopsd serve --no-worker` and two `gitopsd worker` share a PostgreSQL and a Redis. Each worker is
a user of its own to the API server, whose audit log says who wrote what and when.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.kube.inventory import decode_inventory, inventory_name
from gitopsd.store.sql_store import open_store
from tests.support.images import web_image
from tests.support.nursery import Nursery, Nursling, run_nursery
from tests.support.redis import run_redis
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

QUICK = '{"lease": 3, "lease_renewal": 1, "lease_budget": 2, "claim": 10}'
"""Seconds, about a tenth of those in force."""
CLAIMED = "Rollout Apply transaction writing._claim.<locals>.<lambda> after"
FIRST_OBJECT = "Rollout Apply cluster.apply after"
REPORTED = "Rollout Apply transaction execution._report.<locals>.work after"
WRITES = frozenset({"create", "update", "patch", "delete"})
FEWEST_RELEASES, MOST_RELEASES = 4, 20
PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class Write:
    """A write that the API server was asked for.

    Attributes:
        user: Who asked.
        what: ``resource namespace/name``.
        began: When it was asked.
        ended: When it was answered.
        code: The answer.
    """

    user: str
    what: str
    began: datetime
    ended: datetime
    code: int

    @property
    def accepted(self) -> bool:
        """Whether it was done."""
        return self.code < 300


@dataclass
class Replicas:
    """A site whose parts are processes of their own.

    Attributes:
        site: The installation.
        nursery: Starts them.
        running: What runs, by name; a worker's name is its user's.
    """

    site: ServiceSite
    nursery: Nursery
    running: dict[str, Nursling] = field(default_factory=dict)
    start: int = field(init=False)

    def __post_init__(self) -> None:
        """Note where the audit log was when the parts were not there yet."""
        self.start = self.site.cluster.audit_length()

    def serve(self) -> None:
        """Start the part that takes requests."""
        self._start("serve", self.site.directory / "info.json", CRASH_PART="serve")

    async def work(self, name: str, **variables: str) -> None:
        """Start a worker and wait until it is ready."""
        info = self._directory(name) / "info.json"
        self._start(name, info, CRASH_PART="work", CRASH_PACE=QUICK, **variables)
        await self.site.until(info.exists, f"{name} is ready", PATIENCE)

    def _start(self, name: str, info: Path, **variables: str) -> None:
        directory = self._directory(name)
        environment = {
            **self.site.environment,
            "GITOPSD_CONFIG_DIR": str(self._configure(name)),
            "GITOPSD_DATA_DIR": str(self.site.directory / "data" if name == "serve" else directory),
            **variables,
        }
        self.running[name] = self.nursery.start(environment, info, directory / "gitopsd.log")

    def _directory(self, name: str) -> Path:
        directory = self.site.directory / name
        directory.mkdir(exist_ok=True)
        return directory

    def _configure(self, name: str) -> Path:
        """Copy the configuration, with a user of its own for the cluster."""
        config = self._directory(name) / "config"
        shutil.copytree(self.site.directory / "config", config, dirs_exist_ok=True)
        (config / "clusters" / "one.yaml").write_text(
            "apiVersion: gitopsd.io/v1\nkind: Cluster\nmetadata: {name: one}\n"
            f"spec: {{kubeconfig: {self._user(name)}}}\n"
        )
        return config

    def _user(self, name: str) -> Path:
        group = "rbac.authorization.k8s.io"
        user = f"{name}-{self.site.suffix}"
        self.site.cluster.client.apply(
            f"/apis/{group}/v1/clusterrolebindings/{user}",
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": user},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "gitopsd"},
                "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
            },
        )
        return self.site.cluster.kubeconfig_for(user)

    def kill(self, name: str) -> None:
        """Kill one part."""
        self.running.pop(name).stop()

    def stop(self) -> None:
        """Kill what runs."""
        for child in self.running.values():
            child.send(signal.SIGCONT)
            child.stop()

    # -- what is seen

    def writes(self, *, since: datetime | None = None) -> list[Write]:
        """List the workers' writes to this site's stages and inventories, in order."""
        found = []
        for event in self.site.cluster.audit_events(self.start):
            write = _parse(event, self.site)
            if write is not None and (since is None or write.began >= since):
                found.append(write)
        return sorted(found, key=lambda write: write.ended)

    def breaches(self) -> list[Write]:
        """List the objects that somebody wrote under whose fence the stage no longer was."""
        found = []
        writes = [write for write in self.writes() if write.accepted]
        for stage, namespace in self.site.namespaces.items():
            inventory = f"configmaps gitopsd/{self._inventory(stage)}"
            swaps = [write for write in writes if write.what == inventory]
            for write in writes:
                if f" {namespace}/" not in write.what:
                    continue
                before = [swap.user for swap in swaps if swap.ended <= write.began]
                if not before or before[-1] != write.user:
                    found.append(write)
        return found

    def _inventory(self, stage: str) -> str:
        return inventory_name(self.site.application, self.site.key(stage).stage)

    async def fences(self, stage: str) -> tuple[int, int]:
        """Read a stage's fence in the cluster and in the database."""
        path = f"/api/v1/namespaces/gitopsd/configmaps/{self._inventory(stage)}"
        stored = await self.site.read(lambda tx: tx.stages.get(self.site.key(stage)))
        assert stored is not None
        return decode_inventory(self.site.cluster.client.get(path)).fence, stored.fence

    def mode(self, stage: str) -> str:
        """Tell which release a stage has, by its last object."""
        found: dict[str, Any] = self.site.live(stage).get("configmaps/last", {})
        return str(found.get("data", {}).get("mode", ""))


def _parse(event: Mapping[str, Any], site: ServiceSite) -> Write | None:
    about, user = event.get("objectRef", {}), str(event["user"].get("username", ""))
    ours = about.get("namespace") in (*site.namespaces.values(), "gitopsd")
    dry = "dryRun=" in event["requestURI"]
    if event["verb"] not in WRITES or dry or not ours or not user.endswith(site.suffix):
        return None
    return Write(
        user.removesuffix(f"-{site.suffix}"),
        f"{about['resource']} {about['namespace']}/{about.get('name', '')}",
        datetime.fromisoformat(event["requestReceivedTimestamp"]),
        datetime.fromisoformat(event["stageTimestamp"]),
        int(event["responseStatus"]["code"]),
    )


@dataclass(frozen=True)
class Place:
    """Where the replicas run.

    Attributes:
        cluster: The control plane.
        registry: Where the image is.
        nursery: Starts them.
        directory: For their files.
        image: One that works.
        database: Address of an empty PostgreSQL database.
        doorbell: Address of a Redis.
    """

    cluster: ControlPlane
    registry: RegistryServer
    nursery: Nursery
    directory: Path
    image: str
    database: str
    doorbell: str


@pytest.fixture
def place(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    tmp_path: Path,
    postgres_url: str,
) -> Iterator[Place]:
    """A control plane with a node, a nursery for the services, a database and a Redis."""
    image = cluster_registry.push(web_image("1"), "contention/api:1").pinned
    directory = tmp_path / node.name
    with run_nursery() as nursery, run_redis() as redis:
        yield Place(
            control_plane, cluster_registry, nursery, directory, image, postgres_url, redis.url
        )


@asynccontextmanager
async def replicas(place: Place) -> AsyncIterator[Replicas]:
    """Set up an installation on PostgreSQL and run the part that takes requests."""
    async with run_site(
        place.cluster, place.registry, place.directory, gates="", start=False
    ) as site:
        await site.store.close()
        site.store = open_store(place.database)
        site.environment |= {
            "GITOPSD_DATABASE_URL": place.database,
            "GITOPSD_REDIS_URL": place.doorbell,
            "GITOPSD_POLL_INTERVAL": "2s",
        }
        found = Replicas(site, place.nursery)
        try:
            found.serve()
            await site.ready()
            yield found
        finally:
            found.stop()
            await site.store.close()


async def push(place: Place, site: ServiceSite, mode: str) -> None:
    """Push a release of several waves, so that its objects are written one after the other."""
    wave = "metadata: {{annotations: {{argocd.argoproj.io/sync-wave: '{}'}}, "
    maps = [
        config_map(name, mode=mode).replace("metadata: {", wave.format(number))
        for number, name in ((1, "first"), (2, "second"), (3, "last"))
    ]
    await site.push(mode, DEPLOYMENT.format(image=place.image), SERVICE, *maps)


async def released(found: Replicas, mode: str) -> None:
    """Wait until a release is in production, verified."""

    async def there() -> bool:
        runs = await found.site.runs(PRODUCTION)
        done = bool(runs) and runs[-1].phase is Phase.SUCCEEDED
        return done and found.mode(PRODUCTION) == mode

    await found.site.until(there, f"{mode} is in production", PATIENCE)


async def test_two_workers_never_write_behind_each_others_back(place: Place) -> None:
    """Many releases in a row: each object was written by whoever had swapped its fence in last."""
    async with replicas(place) as found:
        await asyncio.gather(found.work("first"), found.work("second"))
        users: set[str] = set()
        for number in range(MOST_RELEASES):
            await push(place, found.site, f"release {number}")
            await found.site.until_run(
                STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number + 1, within=PATIENCE
            )
            users = {write.user for write in found.writes()}
            if number + 1 >= FEWEST_RELEASES and len(users) > 1:
                break
        await released(found, f"release {number}")

        assert found.breaches() == []
        assert users == {"first", "second"}
        for stage in (STAGING, PRODUCTION):
            in_cluster, in_database = await found.fences(stage)
            assert in_cluster == in_database


@dataclass
class Stopped:
    """A worker that stopped itself at a point.

    Attributes:
        found: The replicas.
        record: Points that it reached, each once.
    """

    found: Replicas
    record: Path

    async def go_on(self) -> datetime:
        """Let it go on and wait until it has reported what it was at; returns when it went on."""
        since = SystemClock().now()
        self.found.running["first"].send(signal.SIGCONT)
        await self.found.site.until(self._has_reported, "the stopped worker has reported", PATIENCE)
        return since

    def _has_reported(self) -> bool:
        return REPORTED in self.record.read_text().splitlines()


async def stop_first_at(place: Place, found: Replicas, point: str) -> Stopped:
    """Let the first worker begin a release alone and stop at a point."""
    armed = place.directory / "armed.txt"
    record = place.directory / "points.txt"
    armed.write_text(point)
    await found.work("first", CRASH_AT=str(armed), CRASH_SIGNAL="SIGSTOP", CRASH_RECORD=str(record))
    await push(place, found.site, "old")
    await found.site.until(
        armed.with_suffix(".fired").exists, f"the worker stops at: {point}", PATIENCE
    )
    return Stopped(found, record)


async def test_the_loser_of_the_fence_swap_writes_nothing_after_it(place: Place) -> None:
    """Stopped between lease and swap until another owner has applied: refused, and silent."""
    async with replicas(place) as found:
        await found.work("second")
        await push(place, found.site, "oldest")
        await released(found, "oldest")
        found.kill("second")
        stopped = await stop_first_at(place, found, CLAIMED)
        await found.work("second")
        await released(found, "old")
        since = await stopped.go_on()

        late = [write for write in found.writes(since=since) if write.user == "first"]
        assert [(write.what.split("/")[0], write.code) for write in late] == [
            ("configmaps gitopsd", 409)
        ]
        await push(place, found.site, "new")
        await released(found, "new")
        assert found.breaches() == []


async def test_an_owner_that_was_stopped_between_two_objects_writes_no_other(place: Place) -> None:
    """While it stood still another owner applied a newer release: nothing of the old comes back."""
    async with replicas(place) as found:
        stopped = await stop_first_at(place, found, FIRST_OBJECT)
        await found.work("second")
        await released(found, "old")
        await push(place, found.site, "new")
        await released(found, "new")
        before = found.site.live(STAGING)
        since = await stopped.go_on()

        late = [write for write in found.writes(since=since) if write.user == "first"]
        assert [write for write in late if write.accepted] == []
        assert found.site.live(STAGING) == before
        in_cluster, in_database = await found.fences(STAGING)
        assert in_cluster == in_database
        await push(place, found.site, "newest")
        await released(found, "newest")
        assert found.breaches() == []
