"""What a stage does when the bytes it should go back to cannot be read any more.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Digest, JsonObject
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.stages import Stall
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actions import ActionDone
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    STAGING,
    World,
    deployment,
    running_world,
)

pytestmark = pytest.mark.looptime

GOOD, BAD, FIX = (f"registry.example/api:{number}" for number in (1, 2, 3))
SECRET: JsonObject = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "token"},
    "stringData": {"token": "made for this test"},
}


async def run_good(world: World) -> Digest:
    """Bring a first release with a Secret to staging; returns its bytes' digest."""
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
    await world.push("good", deployment(GOOD), SECRET)
    good = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    assert good.rendered is not None
    return good.rendered


async def until_stalled(world: World) -> tuple[Run, Stall]:
    """Wait for the Rollback to fail; returns it and why a person is called."""
    failed = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.FAILED)
    stage = await world.stage(STAGING)
    assert stage.front is None
    assert stage.stall is not None
    return failed, stage.stall


async def assert_a_fix_flows_after_resume(world: World) -> None:
    """The fix waits at its Gate for a person, and is verified once that person says so."""
    await world.push("fix", deployment(FIX), SECRET)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(timedelta(minutes=20))
    assert (await world.stage(STAGING)).front is None
    assert isinstance(await world.actions.resume(APPROVER, STAGING), ActionDone)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
    assert FIX in str(world.cluster.live()["Deployment shop-staging/api"])
    rollbacks = [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]
    assert len(rollbacks) == 1


async def test_a_rollback_whose_bytes_are_gone_ends_failed_and_a_fix_flows() -> None:
    """One sentence says which set is missing and what to do; the stage is not held for ever."""
    async with running_world() as world:
        lost = await run_good(world)
        world.memory.rendered.gone.add(lost)
        await world.push("bad", deployment(BAD), SECRET)
        failed, stall = await until_stalled(world)

        assert failed.failure is not None
        assert failed.failure.reason == "RenderedSetMissing"
        assert stall.reason is StallReason.ROLLBACK_FAILED
        assert f"rendered set {lost} of run {failed.id} is not in the database" in stall.message
        assert "push a fix" in stall.message
        assert "gitopsd resume shop staging" in stall.message
        await assert_a_fix_flows_after_resume(world)


async def test_a_rollback_whose_key_is_lost_ends_failed_and_a_fix_flows() -> None:
    """A key that is not among those configured is a definite fact; the sentence asks for it."""
    async with running_world() as world:
        lost = await run_good(world)
        world.memory.rendered.locked.add(lost)
        await world.push("bad", deployment(BAD), SECRET)
        failed, stall = await until_stalled(world)

        assert failed.failure is not None
        assert failed.failure.reason == "UnknownEncryptionKey"
        assert stall.reason is StallReason.ROLLBACK_FAILED
        assert "add that key as its second line" in stall.message
        await assert_a_fix_flows_after_resume(world)


async def test_bytes_lost_in_the_middle_of_a_rollback_end_it_as_well() -> None:
    """What was applied cannot be judged without its bytes: a person is called at once."""
    async with running_world() as world:
        lost = await run_good(world)
        world.cluster.workloads[GOOD] = Workload(timedelta(minutes=2))
        await world.push("bad", deployment(BAD), SECRET)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        world.memory.rendered.gone.add(lost)
        failed, stall = await until_stalled(world)

        assert failed.failure is not None
        assert failed.failure.step in (Step.WAIT_HEALTHY, Step.VERIFY)
        assert stall.reason is StallReason.ROLLBACK_FAILED


async def test_a_store_that_is_down_fails_no_rollback() -> None:
    """Not being able to read now is no fact about the bytes: the rollback goes on afterwards."""
    async with running_world() as world:
        await run_good(world)
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=30))
        await world.push("bad", deployment(BAD), SECRET)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        world.memory.unavailable = True
        await world.clock.sleep(timedelta(minutes=3))
        world.memory.unavailable = False
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert (await world.stage(STAGING)).stall is None


async def test_a_rollout_whose_bytes_are_lost_renders_them_anew() -> None:
    """What is rendered anew is not lost: no verdict, and the next attempt succeeds."""
    async with running_world() as world:
        lost = await run_good(world)
        world.cluster.workloads[FIX] = Workload(timedelta(minutes=2))
        await world.push("fix", deployment(FIX), SECRET)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        assert run.rendered is not None
        assert run.rendered != lost
        world.memory.rendered.locked.add(run.rendered)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
