"""The database is restored from a backup while the cluster went on, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import AbortReason, Phase, RunKind, Step
from gitopsd.domain.stages import Naming, RestoredChoice, Stall
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actions import ActionDone, ActionRefused
from gitopsd.engine.fence_check import check_fences
from gitopsd.errors import TemporaryError
from gitopsd.store_ports import Transaction
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
BOTH = (STAGING, PRODUCTION)


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


def forget(world: World) -> None:
    """Restore the backup; what a process knows by heart ends with it."""
    world.memory.restore()
    world.services.newest_fences.clear()
    world.services.inventories.clear()


async def went_back() -> World:
    """Make a world whose database forgot its second release, which the cluster has."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        world.memory.back_up()
        await release(world, "two", 2)
    forget(world)
    return world


async def stall_of(world: World, key: StageKey) -> Stall:
    """Read the stall of a stage whose database was restored."""
    stall = (await world.stage(key)).stall
    assert stall is not None
    assert stall.reason is StallReason.RESTORED_DATABASE
    return stall


async def test_it_is_found_at_the_start_before_anything_is_written() -> None:
    """Every stage that the cluster knows more of is stalled at once, with what the cluster has."""
    world = await went_back()
    written = len(world.cluster.writes())
    async with started(world):
        for key in BOTH:
            stall = await stall_of(world, key)
            assert stall.run is None
            known = await world.stage(key)
            assert stall.fence > known.fence
            assert (known.applied is not None, bool(stall.release)) == (True, True)
            assert known.applied is None or known.applied.rendered != stall.rendered
        assert len(world.cluster.writes()) == written


async def test_a_start_over_a_database_of_the_present_stalls_nothing() -> None:
    """Fences that agree say nothing, also when they are compared again."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
    async with started(world):
        await check_fences(world.services)
        for key in BOTH:
            assert (await world.stage(key)).stall is None


async def test_a_cluster_that_does_not_answer_is_passed_over() -> None:
    """The start goes on without it, and the next write finds out."""
    world = await went_back()
    world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
    async with started(world):
        for key in BOTH:
            assert (await world.stage(key)).stall is None
        world.cluster.fault = None
        await world.push("three", config_map("settings", mode="three"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await world.clock.sleep(MINUTE)
        await stall_of(world, STAGING)
        assert modes(world) == ["two", "two"]


async def test_what_the_cluster_and_git_agree_on_is_known_again_without_a_write() -> None:
    """Refs are read again at once; the forgotten release is live already and needs no write."""
    world = await went_back()
    written = len(world.cluster.writes())
    async with started(world):
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(10 * MINUTE)

        assert len(world.cluster.writes()) == written
        assert modes(world) == ["two", "two"]
        for key in BOTH:
            await stall_of(world, key)


async def test_approvals_of_the_past_are_void_when_it_is_found() -> None:
    """Nothing that was said of what waits at its Gate counts any more, before anybody resumed."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        await world.actions.suspend(APPROVER, PRODUCTION, "audit")
        await world.actions.resume(APPROVER, PRODUCTION)
        await world.push("two", config_map("settings", mode="two"))
        waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.suspend(APPROVER, PRODUCTION, "audit")
        await world.actions.skip(APPROVER, waiting.id, "approval", plan="", reason="urgent")
        await world.approve()
        await world.store.transact(lambda tx: _name(tx, waiting.release))
        world.memory.back_up()
        await world.actions.resume(APPROVER, PRODUCTION)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
    forget(world)
    async with started(world):
        await stall_of(world, PRODUCTION)
        votes = await world.store.read(lambda tx: tx.votes.of_run(waiting.id))
        skips = await world.store.read(lambda tx: tx.skips.of_run(waiting.id))
        assert [vote.void_at is None for vote in votes] == [False]
        assert [skip.void_at is None for skip in skips] == [False]
        assert (await world.stage(PRODUCTION)).naming is None


def _name(tx: Transaction, release: ReleaseId) -> None:
    """Somebody named a release for production."""
    stage = tx.stages.get(PRODUCTION)
    assert stage is not None
    naming = Naming(release, APPROVER.subject, APPROVER.groups, known=False, token="", at=tx.now)
    tx.stages.save(replace(stage, naming=naming))


@pytest.mark.parametrize("key", BOTH)
async def test_resume_asks_whom_to_believe(key: StageKey) -> None:
    """Without a choice it is refused in one sentence that names both, and nothing goes on."""
    world = await went_back()
    async with started(world):
        refused = await world.actions.resume(APPROVER, key)
        assert isinstance(refused, ActionRefused)
        assert refused.status == 409
        assert "--keep-cluster" in refused.message
        assert "--redeploy" in refused.message
        await stall_of(world, key)


async def test_a_choice_is_refused_where_nothing_was_restored() -> None:
    """Nobody throws away what a healthy stage knows by a slip."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        for choice in RestoredChoice:
            refused = await world.actions.resume(APPROVER, STAGING, choice)
            assert isinstance(refused, ActionRefused)
            assert "not stalled by a restored database" in refused.message


async def test_keep_cluster_believes_the_inventory_until_something_newer_comes() -> None:
    """What the cluster has is the applied set; the head that is known is not brought, a push is."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        await release(world, "two", 2)
        world.memory.back_up()
        await world.actions.rollback(APPROVER, STAGING, None)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
    forget(world)
    assert modes(world) == ["one", "two"]
    async with started(world):
        stall = await stall_of(world, STAGING)
        await world.clock.sleep(MINUTE)
        written = len(world.cluster.writes())
        kept = await world.actions.resume(APPROVER, STAGING, RestoredChoice.KEEP_CLUSTER)
        assert isinstance(kept, ActionDone)
        assert "until something newer comes" in kept.message
        stage = await world.stage(STAGING)
        assert stage.stall is None
        assert stage.fence > stall.fence
        assert stage.applied is not None
        assert (stage.applied.release, stage.applied.rendered) == (stall.release, stall.rendered)
        assert stage.verified is not None, "the restored database knows that it was verified"
        await world.clock.sleep(30 * MINUTE)
        assert len(world.cluster.writes()) == written
        assert modes(world) == ["one", "two"]

        await world.push("three", config_map("settings", mode="three"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert modes(world) == ["three", "two"]


async def test_keep_cluster_ends_what_waits_at_its_gate() -> None:
    """A release that was pushed before the choice waits for a promote; it can be had so."""
    world = await went_back()
    async with started(world):
        await world.push("three", config_map("settings", mode="three"))
        waiting = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.resume(APPROVER, STAGING, RestoredChoice.KEEP_CLUSTER)
        ended = await world.run(waiting.id)
        assert ended.phase is Phase.ABORTED
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.REQUESTED.value
        await world.clock.sleep(10 * MINUTE)
        assert modes(world) == ["two", "two"]

        await world.actions.promote(APPROVER, STAGING, waiting.release)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert modes(world) == ["three", "two"]


async def test_keep_cluster_is_refused_while_a_run_would_write() -> None:
    """The run is ended first, without a write; then what the cluster has is kept."""
    world = await went_back()
    world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
    async with started(world):
        await world.push("three", config_map("settings", mode="three"))
        world.cluster.fault = None
        front = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await world.clock.sleep(MINUTE)
        await stall_of(world, STAGING)
        keep = RestoredChoice.KEEP_CLUSTER
        refused = await world.actions.resume(APPROVER, STAGING, keep)
        assert isinstance(refused, ActionRefused)
        assert f"gitopsd abort {front.id}" in refused.message
        await world.actions.abort(APPROVER, front.id, restore=False)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert isinstance(await world.actions.resume(APPROVER, STAGING, keep), ActionDone)
        await world.clock.sleep(10 * MINUTE)
        assert modes(world) == ["two", "two"]


async def test_redeploy_brings_the_newest_release_as_always() -> None:
    """What waited goes on in each stage, and approvals are asked for anew."""
    world = await went_back()
    async with started(world):
        await world.push("three", config_map("settings", mode="three"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.resume(APPROVER, STAGING, RestoredChoice.REDEPLOY)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert modes(world) == ["three", "two"]
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.resume(APPROVER, PRODUCTION, RestoredChoice.REDEPLOY)
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert modes(world) == ["three", "three"]


async def test_redeploy_applies_the_set_again_when_nothing_newer_is_there() -> None:
    """Git never moved: what the database believes is applied over what the cluster has."""
    world = make_world(shop_spec())
    async with started(world):
        await release(world, "one", 1)
        await release(world, "two", 2)
        world.memory.back_up()
        await world.actions.rollback(APPROVER, STAGING, None)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
    forget(world)
    async with started(world):
        done = await world.actions.resume(APPROVER, STAGING, RestoredChoice.REDEPLOY)
        assert isinstance(done, ActionDone)
        assert done.run is not None
        await world.until_run(STAGING, RunKind.SYNC, Phase.SUCCEEDED)
        assert modes(world) == ["two", "two"]
