"""What is old and nothing needs goes by itself, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.work import Page
from gitopsd.engine.actions import ActionDone
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.engine.retention import run_retention
from gitopsd.pipeline.commit_status import CommitState
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


async def release(world: World, mode: str, count: int) -> None:
    """Bring a release into production."""
    await world.push(mode, config_map("settings", mode=mode))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


async def test_old_runs_go_and_what_the_stage_runs_stays() -> None:
    """A stage that rested for long still has what it runs, and can be rolled back at once."""
    world = make_world(shop_spec())
    async with started(world):
        for count, mode in enumerate(("one", "two", "three"), 1):
            await release(world, mode, count)
    first = (await world.runs(STAGING))[0]
    applied = (await world.stage(STAGING)).applied
    world.services = replace(
        world.services, pace=replace(world.services.pace, retention=timedelta(minutes=1))
    )
    await world.clock.sleep(timedelta(minutes=2))
    gone = await run_retention(world.services)
    assert gone
    assert await run_retention(world.services) == 0
    assert applied is not None
    for key in (STAGING, PRODUCTION):
        await only_the_last_is_left(world, key)
    assert await world.store.read(lambda tx: tx.rendered.get(applied.rendered)) is not None
    assert first.rendered is not None
    assert await world.store.read(lambda tx: tx.deliveries.page(Page(10))) == []

    async with started(world):
        done = await world.actions.rollback(APPROVER, STAGING, first.release)
        assert isinstance(done, ActionDone)
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert back.rendered == first.rendered
        live = await fetch_commit_statuses(world.services, world.commits[0], stage="staging")
        old = await fetch_commit_statuses(world.services, world.commits[1], stage="staging")
        assert [one.state for one in live] == [CommitState.LIVE]
        assert [one.state for one in old] != [CommitState.NOT_SEEN]


async def only_the_last_is_left(world: World, key: StageKey) -> list[Run]:
    """Read a stage's runs: the one whose set it runs, with its log."""
    left = await world.runs(key)
    applied = (await world.stage(key)).applied
    assert applied is not None
    assert [run.id for run in left] == [applied.run]
    assert await world.store.read(lambda tx: tx.runs.events(left[0].id))
    return left


async def test_the_daemon_tidies_by_itself_and_a_rejected_release_stays_rejected() -> None:
    """Each hour; what a person ended is not taken again because its run grew old."""
    world = make_world(shop_spec())
    pace = replace(world.services.pace, retention=timedelta(minutes=10), tidy=timedelta(minutes=5))
    world.services = replace(world.services, pace=pace)
    async with started(world):
        await release(world, "one", 1)
        await world.push("two", config_map("settings", mode="two"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        waiting = (await world.stage(PRODUCTION)).next
        await world.until(lambda: _at_gate(world), "production stands at its Gate")
        waiting = (await world.stage(PRODUCTION)).next
        assert waiting is not None
        rejected = await world.actions.reject(APPROVER, waiting, "", "not this one")
        assert isinstance(rejected, ActionDone)
        await world.clock.sleep(timedelta(minutes=30))
        assert len(await world.runs(STAGING)) == 1
        left = await world.runs(PRODUCTION)
        assert [run.id for run in left][-1] == waiting
        assert (await world.stage(PRODUCTION)).next is None
        assert not world.telemetry.reports


async def _at_gate(world: World) -> bool:
    stage = await world.stage(PRODUCTION)
    run = await world.run(stage.next) if stage.next is not None else None
    return (
        run is not None
        and run.plan is not None
        and run.step is not None
        and run.step.value == "Gate"
    )
