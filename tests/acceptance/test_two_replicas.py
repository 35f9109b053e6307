"""Two whole replicas at one stage, stopped and let go on at odd moments, in virtual time.

Every write that the cluster takes must be by the replica whose fence is the newest there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.runs import Phase, RunKind
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from gitopsd.testing.doorbell import MemoryDoorbell
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    shop_spec,
)
from tests.support.two_owners import StoppableClock, in_wave

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject, ObjectRef

pytestmark = pytest.mark.looptime

RELEASES = 6
CLAIM = timedelta(seconds=40)
STOPPED = timedelta(seconds=70)
"""Longer than a lease and a claim, and shorter than what a step may take in one go: nothing but the
permit is left to hold a replica back that goes on then."""
SLICE = timedelta(minutes=5)
BAD = "registry.example/api:3"


@dataclass
class Replica:
    """One replica: its clock can be stopped.

    Attributes:
        name: Its name.
        clock: Its time.
        written: Objects it wrote, in order.
    """

    name: str
    clock: StoppableClock
    written: list[str] = field(default_factory=list)


@dataclass
class Guard:
    """Watches who writes, and stops the one that writes at a bad moment.

    Attributes:
        newest: Replica whose fence is the newest in the cluster.
        breaches: Writes by another one.
        until: Writes until the next writer is stopped; 0 for none.
        stopped: The replica that is stopped.
    """

    newest: str = ""
    breaches: list[str] = field(default_factory=list)
    until: int = 0
    stopped: Replica | None = None

    def stop_after(self, writes: int) -> None:
        """Stop whoever makes the last of so many writes from now on."""
        self.until, self.stopped = writes, None

    def note(self, replica: Replica, method: str, ref: ObjectRef | None) -> None:
        """Note one write that the cluster took."""
        name = ref.key.name if ref is not None else ""
        if name.startswith("gitopsd-"):
            self.newest = replica.name
            return
        if replica.name != self.newest:
            self.breaches.append(f"{replica.name} {method} {name} under {self.newest}'s fence")
        replica.written.append(name)
        if self.until:
            self.until -= 1
            if not self.until:
                self.stopped = replica
                replica.clock.stop()


def numbers(seed: int, *parts: object) -> int:
    """Draw a number that is always the same for the same arguments."""
    return int.from_bytes(sha256(repr((seed, *parts)).encode()).digest()[:4])


def release(number: int) -> tuple[JsonObject, ...]:
    """Make a release of several waves; the third one crashes."""
    maps = [in_wave(config_map(f"settings-{wave}", mode=str(number)), wave) for wave in range(4)]
    return (*maps, in_wave(deployment(f"registry.example/api:{number}"), 4))


@asynccontextmanager
async def running(world: World, replica: Replica, guard: Guard) -> AsyncIterator[None]:
    """Run a replica until the block ends."""
    cluster = MemoryCluster(replica.clock, world.cluster.objects)

    async def after(method: str, ref: ObjectRef | None) -> None:
        guard.note(replica, method, ref)
        await replica.clock.until_going()

    cluster.after = after
    services = replace(
        world.services,
        clusters=MemoryClusters({"one": cluster}),
        clock=replica.clock,
        doorbell=MemoryDoorbell(replica.clock),
        replica=replica.name,
        newest_fences={},
        inventories={},
        pace=replace(world.services.pace, claim=CLAIM, slice=SLICE),
    )
    never = asyncio.Event()

    async def changes() -> AsyncIterator[ConfigurationChange]:
        await never.wait()
        yield ConfigurationChange()

    daemon = Daemon(services, changes(), sole=False)
    task = asyncio.create_task(daemon.run(), name=replica.name)
    await daemon.ready.wait()
    try:
        yield
    finally:
        replica.clock.go_on()
        daemon.worker.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("seed", range(6))
async def test_no_write_is_taken_under_an_older_fence(seed: int) -> None:
    """Whatever is stopped when, the last release is out, and nobody wrote behind another's back."""
    world, guard = make_world(shop_spec()), Guard()
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
    replicas = [Replica(name, StoppableClock()) for name in ("first", "second")]
    stops = 0
    async with AsyncExitStack() as stack:
        for replica in replicas:
            await stack.enter_async_context(running(world, replica, guard))
        for number in range(RELEASES):
            guard.stop_after(1 + numbers(seed, number) % 5)
            await world.push(f"release {number}", *release(number))
            await world.clock.sleep(STOPPED)
            if guard.stopped is not None:
                guard.stopped.clock.go_on()
                stops += 1

        async def last_is_out() -> bool:
            runs = await world.runs(STAGING)
            done = [run for run in runs if run.phase is Phase.SUCCEEDED]
            live = str(world.cluster.live().get("Deployment shop-staging/api"))
            over = all(run.phase.terminal for run in runs)
            return over and bool(done) and f"api:{RELEASES - 1}" in live

        await world.until(last_is_out, "the last release is out")

        assert guard.breaches == []
        live = world.cluster.live()
        for wave in range(4):
            found = live[f"ConfigMap shop-staging/settings-{wave}"]
            assert found["data"] == {"mode": str(RELEASES - 1)}
        rollbacks = [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]
        assert all(run.phase is Phase.SUCCEEDED for run in rollbacks)
        assert stops >= RELEASES // 2
        assert all(replica.written for replica in replicas)
