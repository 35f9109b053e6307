"""Without any ring the sweep alone runs the product, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.runs import Phase, RunKind
from gitopsd.testing.doorbell import MemoryDoorbell
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"


async def tell(world: World) -> timedelta:
    """Bring a release into production, have a bad one rolled back, and say how long it took."""
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
    began = world.clock.now()
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("bad", deployment(BAD))
    await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
    assert "ConfigMap shop-staging/settings" in world.cluster.live()
    return world.clock.now() - began


async def test_the_sweep_alone_runs_the_product() -> None:
    """Losing every ring costs a sweep for each of a run's turns, and loses nothing."""
    world = make_world(shop_spec())
    bell = MemoryDoorbell(world.clock)
    bell.lost = True
    world.services = replace(world.services, doorbell=bell)
    async with started(world):
        without = await tell(world)
    other = make_world(shop_spec())
    async with started(other):
        usual = await tell(other)

    assert usual <= without < usual + timedelta(seconds=10)
