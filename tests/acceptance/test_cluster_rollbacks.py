"""When several verified stages of one cluster fail within a few minutes.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, GitSource, StageSpec
from gitopsd.domain.releases import StageKey, StageName
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actions import ActionDone
from gitopsd.pipeline.commands import Trigger
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    REPO,
    SHOP,
    World,
    deployment,
    make_world,
    started,
)

pytestmark = pytest.mark.looptime

MINUTE = timedelta(minutes=1)
NAMES = ("a", "b", "c", "d", "e")


def key_of(name: str) -> StageKey:
    """The stage of that name."""
    return StageKey(SHOP, StageName(name))


def make_spec(names: Sequence[str]) -> ApplicationSpec:
    """Stages that are fed by the branch, each with an overlay of its own, all on one cluster."""
    stages = tuple(
        StageSpec(
            name=StageName(name),
            cluster="one",
            path=f"overlays/{name}",
            namespace=f"shop-{name}",
            watch=timedelta(hours=1),
        )
        for name in names
    )
    return ApplicationSpec(SHOP, {}, GitSource(REPO, MAIN), stages, digest="1")


def image_of(name: str, number: int) -> str:
    """The image that a stage runs in a commit."""
    return f"registry.example/{name}:{number}"


async def bring(world: World, number: int, names: Sequence[str]) -> None:
    """Push a commit that changes these stages, and wait until it is verified in each."""
    overlays = {
        f"overlays/{name}": (deployment(image_of(name, number if name in names else 1)),)
        for name in NAMES
    }
    sha = world.repositories.commit(REPO, f"commit {number}", parent=world.head, overlays=overlays)
    world.repositories.push(REPO, MAIN, sha)
    await world.ring(world.head, sha)
    world.head = sha
    for name in names:
        await world.until_run(key_of(name), RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)


def crash(world: World, *names: str) -> None:
    """Let the second image of these stages crash from now on."""
    for name in names:
        failing = Workload(None, "CrashLoopBackOff", "x", restarts=4)
        world.cluster.workloads[image_of(name, 2)] = failing


async def rolled_back(world: World) -> list[str]:
    """Name the stages that were rolled back."""
    return [
        name
        for name in NAMES
        if any(run.kind is RunKind.ROLLBACK for run in await world.runs(key_of(name)))
    ]


async def held_back(world: World) -> list[str]:
    """Name the stages that are stalled for their cluster."""
    stalls = {name: (await world.stage(key_of(name))).stall for name in NAMES}
    reason = StallReason.CLUSTER_TROUBLE
    return [name for name, stall in stalls.items() if stall is not None and stall.reason is reason]


async def quarantined(world: World, name: str) -> bool:
    """Tell whether anything is in quarantine in a stage."""
    return bool(await world.store.read(lambda tx: tx.quarantines.in_force(key_of(name))))


def pages(world: World) -> list[str]:
    """What people were called for."""
    told = world.notifier.received["ops"]
    return [one.message for one in told if one.trigger == Trigger.STALLED.value]


async def test_from_the_third_stage_on_none_is_rolled_back() -> None:
    """Two go back, the others are held and keep what they run; one message tells of all three."""
    world = make_world(make_spec(NAMES))
    async with started(world):
        await bring(world, 1, NAMES)
        await bring(world, 2, NAMES)
        crash(world, *NAMES)
        await world.clock.sleep(5 * MINUTE)

        back, held = await rolled_back(world), await held_back(world)
        assert len(back) == 2
        assert sorted([*back, *held]) == list(NAMES)
        live = world.cluster.live()
        for name in NAMES:
            number = 1 if name in back else 2
            assert image_of(name, number) in str(live[f"Deployment shop-{name}/api"])
        for name in back:
            await world.until_run(key_of(name), RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert len(pages(world)) == 1
        assert "3 stages on this cluster fail at the same time" in pages(world)[0]
        assert "gitopsd resume shop" in pages(world)[0]
        assert not [name for name in held if await quarantined(world, name)]


async def test_a_stage_that_was_held_back_counts_for_the_next() -> None:
    """Two rollbacks are long ago, but two that were held back are not: the fifth is held, too."""
    world = make_world(make_spec(NAMES))
    async with started(world):
        await bring(world, 1, NAMES)
        await bring(world, 2, NAMES)
        crash(world, "a", "b")
        await world.clock.sleep(8 * MINUTE)
        crash(world, "c", "d")
        await world.clock.sleep(4 * MINUTE)
        crash(world, "e")
        await world.clock.sleep(MINUTE)

        assert await rolled_back(world) == ["a", "b"]
        assert await held_back(world) == ["c", "d", "e"]


async def test_a_person_who_resumed_a_stage_has_looked() -> None:
    """Ten minutes after the first two, with the third resumed, a further failure goes back."""
    world = make_world(make_spec(NAMES))
    async with started(world):
        await bring(world, 1, NAMES)
        await bring(world, 2, NAMES)
        crash(world, "a", "b")
        await world.clock.sleep(8 * MINUTE)
        crash(world, "c")
        await world.clock.sleep(MINUTE)
        assert await held_back(world) == ["c"]
        assert isinstance(await world.actions.resume(APPROVER, key_of("c")), ActionDone)
        await world.clock.sleep(3 * MINUTE)
        crash(world, "d")
        await world.clock.sleep(MINUTE)

        assert await rolled_back(world) == ["a", "b", "d"]
        assert await held_back(world) == []


async def test_releases_that_fail_on_their_way_are_not_the_clusters_trouble() -> None:
    """Only what had been verified counts: rollbacks of failed releases say nothing of a cluster."""
    world = make_world(make_spec(NAMES))
    async with started(world):
        await bring(world, 1, NAMES)
        crash(world, "a", "b", "c")
        await bring(world, 2, ("d",))
        overlays = {f"overlays/{name}": (deployment(image_of(name, 2)),) for name in NAMES}
        sha = world.repositories.commit(REPO, "all", parent=world.head, overlays=overlays)
        world.repositories.push(REPO, MAIN, sha)
        await world.ring(world.head, sha)
        for name in ("a", "b", "c"):
            await world.until_run(key_of(name), RunKind.ROLLBACK, Phase.SUCCEEDED)
        crash(world, "d")
        await world.until_run(key_of("d"), RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert await held_back(world) == []
