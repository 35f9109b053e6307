"""What becomes of votes when the applied set changes under the run that waits, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.engine.actions import ActionDone
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    World,
    config_map,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

OTHER = replace(APPROVER, subject="sam")


@asynccontextmanager
async def half_approved() -> AsyncIterator[tuple[World, Run]]:
    """Two releases are out; a third waits in production with one of the two votes it needs."""
    gate = ApprovalGate(("group:release-managers",), count=2)
    async with running_world(shop_spec(lambda stage: replace(stage, gates=(gate,)))) as world:
        for number in (1, 2):
            await world.push(f"{number}", config_map("settings", mode=str(number)))
            run = await at_gate(world)
            await vote(world, run)
            await vote(world, run, by_other=True)
            await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        await world.push("3", config_map("settings", mode="3"))
        run = await at_gate(world)
        await vote(world, run)
        yield world, run


async def at_gate(world: World) -> Run:
    """Wait until a run stands at production's Gate."""
    return await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)


async def vote(world: World, run: Run, *, by_other: bool = False) -> None:
    """Approve a run's plan as it is now."""
    plan = (await world.run(run.id)).plan
    assert plan is not None
    done = await world.actions.approve(OTHER if by_other else APPROVER, run.id, plan, "")
    assert isinstance(done, ActionDone), done


async def was_validated_again(world: World, run: Run) -> bool:
    """Tell whether the applied set changed under a run."""
    events = await world.store.read(lambda tx: tx.runs.events(run.id))
    return "AppliedChanged" in [event.name for event in events]


async def test_a_vote_is_kept_when_the_plan_comes_out_equal() -> None:
    """The applied set is applied again: the waiting run is diffed anew and needs one vote still."""
    async with half_approved() as (world, waiting):
        done = await world.actions.sync(APPROVER, PRODUCTION)
        assert isinstance(done, ActionDone), done
        await world.until_run(PRODUCTION, RunKind.SYNC, Phase.SUCCEEDED)
        again = await at_gate(world)
        assert (again.id, again.plan) == (waiting.id, waiting.plan)
        assert await was_validated_again(world, waiting)
        await vote(world, waiting, by_other=True)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)

        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "3"}


async def test_a_vote_does_not_count_for_another_plan() -> None:
    """A person goes back meanwhile: the waiting run comes out with another plan, voted on anew."""
    async with half_approved() as (world, waiting):
        done = await world.actions.rollback(APPROVER, PRODUCTION, None)
        assert isinstance(done, ActionDone), done
        await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.actions.resume(APPROVER, PRODUCTION)
        again = await at_gate(world)
        assert again.id == waiting.id
        assert again.plan != waiting.plan
        await vote(world, waiting, by_other=True)
        await world.clock.sleep(timedelta(minutes=10))
        assert (await world.run(waiting.id)).step is Step.GATE
        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "1"}

        await vote(world, waiting)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
