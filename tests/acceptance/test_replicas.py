"""What becomes of the work of a replica that is gone or was stopped, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.work import Replica, WorkItem, WorkKind
from gitopsd.engine.execution import execute_step
from gitopsd.engine.replicas import SILENCE, beat
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.crash_world import Schedule, living
from tests.support.engine_world import (
    STAGING,
    config_map,
    deployment,
    make_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

GOOD = "registry.example/api:1"


async def test_the_work_of_a_dead_replica_goes_on_within_its_silence() -> None:
    """Without any lock that proves it dead, its claims are given back when it was silent."""
    world = make_world(shop_spec())
    async with living(world, Schedule((20,), sole=False)) as process:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        began = world.clock.now()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert len(process.lives) > 1
        assert world.clock.now() - began < SILENCE + timedelta(seconds=15)


async def test_a_silent_replica_is_forgotten_and_a_living_one_is_not() -> None:
    """Whoever shows life keeps its row and its claims."""
    world = make_world(shop_spec())
    start = world.clock.now()
    dead, mine = Replica("dead", start, start), Replica("mine", start, start)
    await world.store.transact(lambda tx: beat(tx, dead))
    await world.clock.sleep(SILENCE + timedelta(seconds=1))
    await world.store.transact(lambda tx: beat(tx, mine))
    await world.store.transact(lambda tx: beat(tx, mine))

    assert [one.id for one in await world.store.read(lambda tx: tx.records.replicas())] == ["mine"]


async def test_an_outcome_counts_only_under_its_claim() -> None:
    """A replica whose work was given to another reports into the void, even a success."""
    world = make_world(shop_spec())
    world.cluster.workloads[GOOD] = Workload(None)
    async with living(world, Schedule()):
        await world.push("good", deployment(GOOD))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
    world.cluster.workloads[GOOD] = Workload()

    def claim(tx: Transaction, owner: str) -> WorkItem:
        tx.work.release_claims()
        found = tx.work.claim(owner, 10, timedelta(minutes=2))
        return next(item for item in found if item.kind is WorkKind.EXECUTE_STEP)

    await world.clock.sleep(timedelta(minutes=1))
    first = await world.store.transact(lambda tx: claim(tx, "first"))
    second = await world.store.transact(lambda tx: claim(tx, "second"))
    await execute_step(world.services, first)
    assert (await world.run(run.id)).step is Step.WAIT_HEALTHY
    await execute_step(world.services, second)

    assert (await world.run(run.id)).step is Step.VERIFY
