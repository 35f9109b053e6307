"""How long a release waits at its Gate, for whom, and what becomes of it then.

Real: the engine. In memory: everything outside, in virtual time. Days pass while no process runs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.stages import Freeze, Stall
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actions import ActionDone
from gitopsd.store_ports import Transaction
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO = "registry.example/api:1", "registry.example/api:2"
DAY = timedelta(days=1)


async def freeze(world: World) -> None:
    """Press the stop button."""
    frozen = Freeze("f-1", "*", "alex", "an incident", world.clock.now())
    await world.store.transact(lambda tx: tx.records.add_freeze(frozen))


async def thaw(world: World) -> None:
    """Let go of it."""
    await world.store.transact(lambda tx: tx.records.thaw("f-1", tx.now))


async def stop(world: World, key: StageKey) -> None:
    """Close a stage's gates for a reason that only a person ends."""

    def work(tx: Transaction) -> None:
        stage = tx.stages.get(key)
        assert stage is not None
        stall = Stall(StallReason.ROLLBACK_LOOP, "it goes back and forth", tx.now)
        tx.stages.save(replace(stage, stall=stall))

    await world.store.transact(work)


async def go_on(world: World, key: StageKey) -> None:
    """Open them again."""

    def work(tx: Transaction) -> None:
        stage = tx.stages.get(key)
        assert stage is not None
        tx.stages.save(replace(stage, stall=None))

    await world.store.transact(work)


async def at_gate(world: World, key: StageKey = PRODUCTION) -> Run:
    """Wait until a run stands at its Gate and the gates were read."""
    run = await world.until_run(key, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(timedelta(seconds=5))
    return await world.run(run.id)


def ended(run: Run) -> str:
    """Tell why a run was aborted."""
    assert run.phase is Phase.ABORTED
    assert run.failure is not None
    return run.failure.reason


async def test_nobody_approves_in_time() -> None:
    """The run expires with the approval's deadline, and its release is not asked for again."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        waiting = await at_gate(world)
    await world.clock.sleep(DAY)
    async with started(world):
        await world.clock.sleep(timedelta(minutes=10))
        assert ended(await world.run(waiting.id)) == AbortReason.EXPIRED.value
        assert len(await world.runs(PRODUCTION)) == 1


async def test_what_was_approved_waits_for_the_end_of_a_freeze() -> None:
    """Days after the deadline for approving, the release goes on without being asked for again."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await freeze(world)
        await world.approve()
        waiting = await at_gate(world)
        assert waiting.step_deadline is not None
        assert waiting.step_deadline > world.clock.now() + 6 * DAY
    await world.clock.sleep(3 * DAY)
    async with started(world):
        await world.clock.sleep(timedelta(minutes=10))
        await thaw(world)
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

    assert done.id == waiting.id


async def test_some_of_the_approvals_are_not_enough() -> None:
    """As long as one is missing, the deadline for approving counts."""
    gate = ApprovalGate(("group:release-managers",), count=2)
    world = make_world(shop_spec(lambda stage: replace(stage, gates=(gate,))))
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.approve()
        waiting = await at_gate(world)
    await world.clock.sleep(DAY)
    async with started(world):
        await world.clock.sleep(timedelta(minutes=10))
        assert ended(await world.run(waiting.id)) == AbortReason.EXPIRED.value


async def test_nobody_expires_while_everything_is_frozen() -> None:
    """The deadline for approving stands still; after the thaw the rest of it is left."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        before = await at_gate(world)
        await freeze(world)
        await world.clock.sleep(timedelta(minutes=2))
        frozen_at = (await world.run(before.id)).clock_stopped_at
        assert frozen_at is not None
    await world.clock.sleep(8 * DAY)
    async with started(world):
        await world.clock.sleep(timedelta(minutes=2))
        assert (await world.run(before.id)).step is Step.GATE
        await thaw(world)
        await world.clock.sleep(timedelta(minutes=2))
        after = await world.run(before.id)
        assert after.clock_stopped_at is None
        assert before.step_deadline is not None
        assert after.step_deadline is not None
        assert after.step_deadline - before.step_deadline >= 8 * DAY
        assert after.step_deadline - world.clock.now() <= DAY
    await world.clock.sleep(DAY)
    async with started(world):
        await world.clock.sleep(timedelta(minutes=10))
        assert ended(await world.run(before.id)) == AbortReason.EXPIRED.value


async def test_what_was_approved_and_waited_for_too_long_is_asked_for_again() -> None:
    """After a week at a closed gate the run is overdue; the same release waits anew."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await stop(world, PRODUCTION)
        await world.approve()
        waiting = await at_gate(world)
    await world.clock.sleep(8 * DAY)
    async with started(world):
        overdue = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        again = await at_gate(world, PRODUCTION)
        assert (overdue.id, ended(overdue)) == (waiting.id, AbortReason.OVERDUE.value)
        assert again.release == waiting.release
        await go_on(world, PRODUCTION)
        await world.clock.sleep(timedelta(minutes=10))
        assert (await world.run(again.id)).step is Step.GATE
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_stage_that_asks_nobody_takes_its_release_after_any_stall() -> None:
    """Without an approval nothing that people forgot holds the release back."""
    world = make_world(shop_spec())
    async with started(world):
        await world.until(lambda: world.store.read(lambda tx: tx.stages.get(STAGING)), "a stage")
        await stop(world, STAGING)
        await world.push("one", deployment(ONE))
        waiting = await at_gate(world, STAGING)
    await world.clock.sleep(8 * DAY)
    async with started(world):
        overdue = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        again = await at_gate(world, STAGING)
        assert (overdue.id, ended(overdue)) == (waiting.id, AbortReason.OVERDUE.value)
        await go_on(world, STAGING)
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == again.id


async def test_an_older_release_that_a_person_asked_for_stays_asked_for() -> None:
    """A wish that a stall outlasted is still the wish: the newer release does not come instead."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        first = ReleaseId((await world.runs(STAGING))[0].release)
        await stop(world, STAGING)
        done = await world.actions.promote(APPROVER, STAGING, first)
        assert isinstance(done, ActionDone), done
        waiting = await at_gate(world, STAGING)
    await world.clock.sleep(8 * DAY)
    async with started(world):
        overdue = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        again = await at_gate(world, STAGING)
        assert (overdue.id, ended(overdue)) == (waiting.id, AbortReason.OVERDUE.value)
        await go_on(world, STAGING)
        brought = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)

    assert (brought.id, brought.release) == (again.id, first)
    assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])
