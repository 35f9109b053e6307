"""Refs and repositories that no application follows any more cost nothing.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.sources import RefName
from gitopsd.domain.work import WorkKind
from tests.support.engine_world import (
    MAIN,
    REPO,
    SHOP,
    STAGING,
    World,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO = "registry.example/api:1", "registry.example/api:2"
NEXT = RefName("refs/heads/next")


async def last_look(world: World, ref: RefName = MAIN) -> datetime | None:
    """Tell when a ref was looked at last."""
    state = await world.store.read(lambda tx: tx.refs.get(REPO, ref))
    return state.looked_at if state is not None else None


async def looks_due(world: World) -> int:
    """Count the looks that the outbox holds."""
    return (await world.store.read(lambda tx: tx.work.backlog())).get(WorkKind.LOOK, 0)


async def configure(world: World, *specs: ApplicationSpec) -> None:
    """Put these applications in force."""
    applications = {spec.name: spec for spec in specs}
    await world.configure(replace(world.configuration[0], applications=applications))


def with_staging_ref(ref: RefName | None, digest: str) -> ApplicationSpec:
    """The usual application, staging fed by a ref of its own."""
    spec = shop_spec()
    staging: StageSpec = replace(spec.stages[0], ref=ref)
    return replace(spec, stages=(staging, spec.stages[1]), digest=digest)


async def test_a_removed_application_is_polled_no_more_until_it_is_back() -> None:
    """Its file gone, the remote is left alone; its file back, a push arrives as ever."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await configure(world)
        await world.clock.sleep(timedelta(minutes=3))
        before = await last_look(world)
        await world.clock.sleep(timedelta(hours=1))
        assert await last_look(world) == before
        assert await looks_due(world) == 0
        assert await world.ring(None, world.head) == 202
        await world.clock.sleep(timedelta(minutes=5))
        assert await last_look(world) == before

        await configure(world, shop_spec())
        await world.push("two", deployment(TWO), hint=False)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(timedelta(minutes=5))
        assert await looks_due(world) == 1


async def test_a_ref_that_a_stage_has_left_is_polled_no_more() -> None:
    """A stage that follows another ref leaves the old one alone; coming back, it looks again."""
    async with running_world(with_staging_ref(NEXT, "1")) as world:
        first = await world.push("one", deployment(ONE), hint=False)
        world.repositories.push(REPO, NEXT, first)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert await looks_due(world) == 2
        await configure(world, with_staging_ref(None, "2"))
        await world.clock.sleep(timedelta(minutes=3))
        before = await last_look(world, NEXT)
        await world.clock.sleep(timedelta(hours=1))
        assert await last_look(world, NEXT) == before
        assert await looks_due(world) == 1

        await configure(world, with_staging_ref(NEXT, "1"))
        await world.clock.sleep(timedelta(minutes=3))
        assert await last_look(world, NEXT) != before
        assert await looks_due(world) == 2


async def test_a_ref_that_another_application_follows_is_still_polled() -> None:
    """Only the last application that leaves a ref ends its polls."""
    other = replace(shop_spec(), name=ApplicationName("other"), digest="other")
    world = make_world(shop_spec(), other)
    async with started(world):
        await world.clock.sleep(timedelta(seconds=1))
        await configure(world, other)
        await world.clock.sleep(timedelta(minutes=3))
        before = await last_look(world)
        await world.clock.sleep(timedelta(minutes=3))
        assert await last_look(world) != before


async def test_what_another_replica_follows_is_looked_at_here_too() -> None:
    """A replica whose folder is behind keeps the polls of an application that it does not know."""
    async with running_world() as world:
        await world.clock.sleep(timedelta(seconds=1))
        world.configuration[0] = replace(world.configuration[0], applications={})
        await world.clock.sleep(timedelta(minutes=3))

        assert await world.store.read(lambda tx: tx.specs.current(SHOP)) is not None
        before = await last_look(world)
        await world.clock.sleep(timedelta(minutes=3))
        assert await last_look(world) != before
