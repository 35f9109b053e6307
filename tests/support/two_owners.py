"""Two replicas of gitopsd at one stage, in virtual time: one database, one cluster, two clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.work import WorkItem
from gitopsd.engine.following import load_context
from gitopsd.engine.services import Services
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import TemporaryError
from gitopsd.store_ports import Store, Transaction
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from tests.support.engine_world import STAGING, World, make_world, shop_spec, started

T = TypeVar("T")


class StoppableClock(LoopClock):
    """A process's clock: while the process is stopped its time runs and none of its sleeps end."""

    def __init__(self) -> None:
        super().__init__()
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def stop(self) -> None:
        """Stop the process."""
        self._goes_on.clear()

    def go_on(self) -> None:
        """Let it go on."""
        self._goes_on.set()

    async def sleep(self, duration: timedelta) -> None:
        """Sleep, and be stopped when that is over if the process is."""
        await super().sleep(duration)
        await self._goes_on.wait()

    async def until_going(self) -> None:
        """Wait while the process is stopped."""
        await self._goes_on.wait()


class SwitchedStore:
    """A database that one process can reach or not.

    Attributes:
        unavailable: Set it to let every transaction fail.
    """

    def __init__(self, inner: Store) -> None:
        self.unavailable = False
        self._inner = inner

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction."""
        self._check()
        return await self._inner.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        self._check()
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()

    def _check(self) -> None:
        if self.unavailable:
            raise TemporaryError("the database does not answer")


@dataclass(frozen=True, slots=True)
class Owner:
    """One replica that is about to do a step.

    Attributes:
        clock: Its time.
        cluster: Its client, with its own requests.
        store: Its way to the database.
        services: What it works with.
        context: The step.
    """

    clock: StoppableClock
    cluster: MemoryCluster
    store: SwitchedStore
    services: Services
    context: StepContext

    async def stop_after(self, name: str) -> None:
        """Stop this process when the object of that name was written, before it hears of it."""

        async def stop(_method: str, ref: ObjectRef | None) -> None:
            if ref is not None and ref.key.name == name:
                self.clock.stop()
            await self.clock.until_going()

        self.cluster.after = stop


@dataclass(frozen=True, slots=True)
class Rivals:
    """Two owners of one step of one run."""

    world: World
    first: Owner
    second: Owner

    def versions(self) -> dict[str, str]:
        """Read the version of every object, inventories too."""
        return {str(key): str(stored.version) for key, stored in self.world.cluster.objects}

    def fence(self) -> int:
        """Read the fence in the cluster."""
        name = "gitopsd-shop-staging"
        for key, stored in self.world.cluster.objects:
            if key.name == name:
                annotations: dict[str, str] = stored.body["metadata"]["annotations"]  # type: ignore[index,call-overload,assignment] # our own ConfigMap
                return int(annotations["gitopsd.io/fence"])
        return 0


def in_wave(obj: JsonObject, wave: int) -> JsonObject:
    """Copy an object into a wave: waves are sent one after the other."""
    metadata: dict[str, object] = dict(obj["metadata"])  # type: ignore[arg-type] # JSON
    annotations = {"gitopsd.io/sync-wave": str(wave)}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}  # type: ignore[dict-item] # JSON


@asynccontextmanager
async def rivals(*objects: JsonObject) -> AsyncIterator[Rivals]:
    """Bring a release up to its Apply, and give that step to two replicas."""
    world = make_world(shop_spec())
    item = await _bring_to_apply(world, *objects)
    yield Rivals(world, await _owner(world, item, "first"), await _owner(world, item, "second"))


async def _bring_to_apply(world: World, *objects: JsonObject) -> WorkItem:
    never = asyncio.Event()

    async def hold(_method: str, _ref: ObjectRef | None) -> None:
        live = await world.store.read(lambda tx: tx.runs.live())
        if any(run.step is Step.APPLY for run in live):
            await never.wait()

    world.cluster.before = hold
    async with started(world):
        await world.push("release", *objects)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
    world.cluster.before = None
    command = run.command
    assert command is not None
    item = await world.store.read(lambda tx: tx.work.get(command))
    assert item is not None
    return item


async def _owner(world: World, item: WorkItem, name: str) -> Owner:
    clock = StoppableClock()
    cluster = MemoryCluster(clock, world.cluster.objects)
    store = SwitchedStore(world.store)
    services = replace(
        world.services,
        store=store,
        clusters=MemoryClusters({"one": cluster}),
        clock=clock,
        replica=name,
        newest_fences={},
        inventories={},
        pace=replace(world.services.pace, slice=timedelta(hours=1)),
    )
    context = await world.store.read(lambda tx: load_context(tx, services, item))
    assert context is not None
    return Owner(clock, cluster, store, services, context)
