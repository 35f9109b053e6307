"""The database is restored from a backup while the cluster went on, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.verifications import StallReason
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    World,
    config_map,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

MINUTE = timedelta(minutes=1)


async def release(world: World, mode: str, count: int) -> None:
    """Bring a release into production."""
    await world.push(mode, config_map("settings", mode=mode))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


def modes(world: World) -> list[str]:
    """Read what staging and production have."""
    live = world.cluster.live()
    names = ("ConfigMap shop-staging/settings", "ConfigMap shop/settings")
    return [str(dict(live[name]["data"])["mode"]) for name in names]  # type: ignore[arg-type] # our own ConfigMap


async def went_back() -> World:
    """Make a world whose database forgot its second release, which the cluster has."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        world.memory.back_up()
        await release(world, "two", 2)
    world.memory.restore()
    # What a process knows by heart ends with it.
    world.services.newest_fences.clear()
    world.services.inventories.clear()
    return world


async def test_what_the_cluster_and_git_agree_on_is_found_again() -> None:
    """The forgotten release is live already: it is known again without a write or a person."""
    world = await went_back()
    written = len(world.cluster.writes())
    async with started(world):
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(10 * MINUTE)

        assert len(world.cluster.writes()) == written
        assert modes(world) == ["two", "two"]
        for key in (STAGING, PRODUCTION):
            assert (await world.stage(key)).stall is None


async def test_nothing_is_written_under_a_fence_of_the_past() -> None:
    """The next release stops before its first write, in each stage, until a person resumes it."""
    world = await went_back()
    written = len(world.cluster.writes())
    async with started(world):
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.push("three", config_map("settings", mode="three"))
        for count, key in enumerate((STAGING, PRODUCTION)):
            if key == PRODUCTION:
                await world.approve()
            await world.until_run(key, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
            await world.clock.sleep(10 * MINUTE)
            stall = (await world.stage(key)).stall
            assert stall is not None
            assert stall.reason is StallReason.RESTORED_DATABASE
            assert modes(world) == [["two", "two"], ["three", "two"]][count]
            assert len(world.cluster.writes()) == written
            await world.actions.resume(APPROVER, key)
            await world.until_run(key, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
            written = len(world.cluster.writes())

        assert modes(world) == ["three", "three"]
