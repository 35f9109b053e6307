"""The product with a real Redis as its doorbell: losing it loses nothing."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from gitopsd.adapters.queue.arq_doorbell import LISTENERS
from gitopsd.domain.runs import Phase, RunKind
from tests.support.images import web_image
from tests.support.nursery import Nursery, Nursling, run_nursery
from tests.support.redis import RedisServer, run_redis
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

MIDDLE = "Rollout Apply cluster.apply after"
SLOWER_BY_AT_MOST = timedelta(seconds=30)


@dataclass(frozen=True)
class Place:
    """Where it happens.

    Attributes:
        cluster: The control plane.
        registry: Where the image is.
        nursery: Starts the service.
        redis: The doorbell.
        directory: For files.
        image: One that works.
    """

    cluster: ControlPlane
    registry: RegistryServer
    nursery: Nursery
    redis: RedisServer
    directory: Path
    image: str


@pytest.fixture
def place(
    control_plane: ControlPlane, cluster_registry: RegistryServer, node: Node, tmp_path: Path
) -> Iterator[Place]:
    """A control plane with a node, and a Redis of this test's own."""
    image = cluster_registry.push(web_image("1"), "redis/api:1").pinned
    directory = tmp_path / node.name
    with run_nursery() as nursery, run_redis() as redis:
        yield Place(control_plane, cluster_registry, nursery, redis, directory, image)


@asynccontextmanager
async def running(place: Place, **variables: str) -> AsyncIterator[tuple[ServiceSite, Nursling]]:
    """Run the product with the Redis."""
    async with run_site(
        place.cluster, place.registry, place.directory, gates="", start=False
    ) as site:
        environment = {**site.environment, "GITOPSD_REDIS_URL": place.redis.url, **variables}
        log, info = place.directory / "gitopsd.log", place.directory / "info.json"
        service = place.nursery.start(environment, info, log)
        try:
            await site.ready()
            yield site, service
            assert not service.has_ended()
        finally:
            service.stop()


async def push(place: Place, site: ServiceSite, mode: str) -> None:
    """Push a release."""
    manifests = (DEPLOYMENT.format(image=place.image), SERVICE, config_map("settings", mode=mode))
    await site.push(mode, *manifests)


async def released(site: ServiceSite, mode: str, count: int) -> None:
    """Wait until so many releases are out, the last of them live."""
    await site.until_run(
        PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count, within=SLOWER_BY_AT_MOST
    )
    assert site.live(PRODUCTION)["configmaps/settings"]["data"] == {"mode": mode}


async def rung(place: Place, site: ServiceSite) -> None:
    """Wait until the service listens to the Redis."""
    async with Redis.from_url(place.redis.url) as client:

        async def listens() -> bool:
            listeners: int = await client.zcard(LISTENERS)
            return listeners == 1

        await site.until(listens, "the service listens to Redis", SLOWER_BY_AT_MOST)


@pytest.mark.parametrize(
    "lose, find",
    [(RedisServer.stop, RedisServer.start), (RedisServer.pause, RedisServer.resume)],
    ids=["killed", "hanging"],
)
async def test_a_redis_lost_in_the_middle_changes_nothing(
    place: Place,
    lose: Callable[[RedisServer], None],
    find: Callable[[RedisServer], None],
) -> None:
    """Releases go through with it, while it goes, without it, and when it is back, empty."""
    armed = place.directory.with_suffix(".armed")
    armed.write_text(MIDDLE)
    async with running(place, CRASH_AT=str(armed), CRASH_SIGNAL="SIGSTOP") as (site, service):
        await rung(place, site)
        await push(place, site, "with")
        await site.until(armed.with_suffix(".fired").exists, "an object is applied")
        lose(place.redis)
        service.send(signal.SIGCONT)
        await released(site, "with", 1)
        await push(place, site, "without")
        await released(site, "without", 2)
        find(place.redis)
        await rung(place, site)
        await push(place, site, "again")
        await released(site, "again", 3)

        runs = await site.runs(PRODUCTION)
        assert [run.phase for run in runs] == [Phase.SUCCEEDED] * 3
        assert [run.attempt for run in runs] == [1] * 3
