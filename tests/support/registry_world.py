"""The engine and its HTTP surface beside a real registry that reports its pushes to it.

Real: the registry, its notifications, the receiver, the registry client, the clock. In memory:
store, Git, renderer, clusters, checks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from gitopsd.adapters.registry.client import HttpRegistry
from gitopsd.domain.images import ImageSource, RegistrySpec
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.sources import Delivery
from gitopsd.domain.work import Page
from gitopsd.engine.actions import Actions
from gitopsd.engine.services import Pace
from gitopsd.entrypoints.http.app import build_app
from gitopsd.entrypoints.http.server import Bounds, listen
from gitopsd.errors import TemporaryError
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import SECRET, SHOP, STAGING, World, shop_spec, started
from tests.support.http_world import make_http_world
from tests.support.images import Image
from tests.support.registry import Notifications, PushedImage, RegistryServer

T = TypeVar("T")

POLL = timedelta(seconds=3)


class DoorStore:
    """The database as the receiver sees it.

    Attributes:
        down: Set it to let every transaction of the receiver fail.
        refused: How many did.
    """

    def __init__(self, inner: Store) -> None:
        self.down = False
        self.refused = 0
        self._inner = inner

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction, or fail."""
        if self.down:
            self.refused += 1
            raise TemporaryError("The database does not answer.")
        return await self._inner.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


@dataclass
class RegistryWorld:
    """A world with a registry.

    Attributes:
        world: The engine and what is in memory around it.
        server: The registry.
        door: Lets the database fail, as seen by the receiver.
    """

    world: World
    server: RegistryServer
    door: DoorStore

    def name(self, path: str) -> str:
        """Name an image of the registry in full."""
        return f"{self.server.host}/{path}"

    async def push(self, image: Image, name: str) -> PushedImage:
        """Push an image under ``path:tag``, or by digest."""
        return await asyncio.to_thread(self.server.push, image, name)

    async def until_staged(self, count: int) -> None:
        """Wait until so many releases succeeded in staging."""
        await self.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)

    async def deliveries(self) -> list[Delivery]:
        """Read what the registry's receiver stored, oldest first."""
        rows = await self.world.store.read(lambda tx: tx.deliveries.page(Page(100)))
        return [row for row in reversed(rows) if row.receiver == "registry"]

    async def until_told(self, tag: str, *, count: int = 1) -> None:
        """Wait until the registry's report of a tag was stored."""

        async def there() -> bool:
            bodies = [json.loads(row.body) for row in await self.deliveries()]
            tags = [event["target"]["tag"] for body in bodies for event in body["events"]]
            return tags.count(tag) >= count

        await self.world.until(there, f"{count} reports of {tag}", timedelta(seconds=30))

    async def look_twice(self) -> None:
        """Wait until every followed image was looked at by two polls from now on."""
        begin = self.world.clock.now()
        for _ in range(2):
            begin = await self.until_looked(begin)

    async def until_looked(self, after: datetime) -> datetime:
        """Wait until every followed image was looked at after a moment; returns when."""
        seen: list[datetime] = []

        async def looked() -> bool:
            states = await self.world.store.read(lambda tx: tx.images.page())
            seen[:] = [state.looked_at for state in states if state.looked_at is not None]
            return bool(seen) and all(time > after for time in seen)

        await self.world.until(looked, "a look at every image", timedelta(seconds=30))
        return max(seen)


@asynccontextmanager
async def run_registry_world(
    directory: Path,
    follow: Callable[[str], tuple[ImageSource, ...]],
    poll: timedelta = POLL,
) -> AsyncIterator[RegistryWorld]:
    """Run it until the block ends.

    Args:
        directory: Where the registry keeps its content.
        follow: From the registry's host to the image sources of the application.
        poll: How often images are looked at without any report.
    """
    world, service, *_ = make_http_world()
    client = HttpRegistry(lambda: world.configuration[0].registries)
    pace = Pace(poll=poll, sweep=timedelta(milliseconds=100))
    world.services = replace(world.services, registry=client, pace=pace)
    world.actions = Actions(world.services)
    door = DoorStore(world.services.store)
    service = replace(service, services=replace(world.services, store=door))
    listener = await listen(
        build_app(service), "127.0.0.1:0", Bounds(linger_seconds=0.2, shutdown_seconds=1.0)
    )
    headers = {"Authorization": f"Bearer {SECRET.decode()}"}
    reports = Notifications(f"{listener.url}/hooks/registry", headers, everything=True)
    try:
        with RegistryServer(directory, notifications=reports) as server:
            spec = replace(shop_spec(), images=follow(server.host))
            world.configuration[0] = replace(
                world.configuration[0],
                applications={SHOP: spec},
                registries=(RegistrySpec("it", server.host, server.url),),
            )
            async with started(world):
                yield RegistryWorld(world, server, door)
    finally:
        service.changes.close()
        await listener.close()
        await client.close()
