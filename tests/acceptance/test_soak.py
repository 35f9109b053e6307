"""A release goes on when another stage was seen healthy with it for long enough.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gate_specs import ApprovalGate, GateSpec, SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.stages import Soak
from gitopsd.engine.actions import ActionDone
from gitopsd.engine.queries import load_gates
from gitopsd.errors import TemporaryError
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO = "registry.example/api:1", "registry.example/api:2"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SOAK = SoakGate(STAGING.stage, 10 * MINUTE)
CRASHING = Workload(None, "CrashLoopBackOff", "x", restarts=4)
APPROVAL = ApprovalGate(("group:release-managers",), deadline=timedelta(days=2))


def soaking(*more: GateSpec) -> ApplicationSpec:
    """The shop, whose production waits until staging was healthy for ten minutes."""
    return shop_spec(lambda stage: replace(stage, gates=(SOAK, *more)))


def away(_method: str, _ref: ObjectRef | None) -> TemporaryError:
    """The API server answers nobody."""
    return TemporaryError("the API server does not answer")


async def gate(world: World, run: Run) -> GateAnswer:
    """What the soak gate answered last."""
    states = await world.store.read(lambda tx: load_gates(tx, run))
    return next(state.answer for state in states if state.name == "soak")


async def at_gate(world: World) -> tuple[Run, datetime]:
    """Production's run, and when staging verified its release."""
    await world.push("one", deployment(ONE))
    verified = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    assert verified.ended_at is not None
    return run, verified.ended_at


async def soak_of(world: World) -> Soak:
    """How long staging was seen healthy with what it runs."""
    return (await world.stage(STAGING)).soaks[0]


async def left_gate(world: World) -> datetime:
    """When production's run was let in."""
    done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    events = await world.store.read(lambda tx: tx.runs.events(done.id))
    return next(
        event.at for event in events if event.step is Step.GATE and event.name == "StepSucceeded"
    )


async def test_production_follows_when_staging_was_healthy_for_long_enough() -> None:
    """As soon as the looks add up, and the gate says the moment beforehand."""
    async with running_world(soaking()) as world:
        run, verified = await at_gate(world)
        await world.clock.sleep(2 * MINUTE)
        said = await gate(world, run)
        assert isinstance(said, Closed)
        assert said.until is not None
        assert verified + 10 * MINUTE <= said.until <= verified + 10 * MINUTE + 5 * SECOND
        assert "seen healthy in staging for " in said.reason
        passed = await left_gate(world)
        assert said.until <= passed <= said.until + 2 * SECOND


async def test_nobody_looks_when_nobody_waits() -> None:
    """Before a run waits at its Gate and after it has gone, staging's objects are not read."""
    async with running_world(soaking()) as world:
        await at_gate(world)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(MINUTE)
        asked = len(world.cluster.requests)
        await world.clock.sleep(20 * MINUTE)
        assert len(world.cluster.requests) == asked


async def test_a_crash_in_staging_begins_the_soak_anew() -> None:
    """Nine good minutes are worth nothing after it; ten more open the gate."""
    async with running_world(soaking()) as world:
        run, _ = await at_gate(world)
        await world.clock.sleep(9 * MINUTE)
        world.cluster.workloads[ONE] = CRASHING
        await world.clock.sleep(5 * MINUTE)
        said = await gate(world, run)
        assert isinstance(said, Closed)
        assert said.reason.startswith("seen healthy in staging for 0s of 10m; staging is not seen")
        world.cluster.workloads[ONE] = Workload()
        mended = world.clock.now()
        passed = await left_gate(world)
        assert mended + 10 * MINUTE <= passed <= mended + 11 * MINUTE


async def test_an_api_server_that_is_away_only_pauses_it() -> None:
    """The time before counts, the time without sight does not."""
    async with running_world(soaking()) as world:
        run, verified = await at_gate(world)
        await world.clock.sleep(5 * MINUTE)
        world.cluster.fault = away
        await world.clock.sleep(20 * MINUTE)
        said = await gate(world, run)
        assert isinstance(said, Closed)
        assert said.reason == (
            "seen healthy in staging for 5m of 10m; staging is not seen healthy now: "
            "the API server does not answer"
        )
        assert said.until is None
        world.cluster.fault = None
        passed = await left_gate(world)
        assert verified + 30 * MINUTE <= passed <= verified + 31 * MINUTE


async def test_a_time_without_any_process_does_not_count() -> None:
    """Gitopsd was down for hours: nobody looked."""
    world = make_world(soaking())
    async with started(world):
        await at_gate(world)
        await world.clock.sleep(5 * MINUTE)
    await world.clock.sleep(timedelta(hours=5))
    async with started(world):
        await world.clock.sleep(MINUTE)
        reached = (await soak_of(world)).accumulated
        assert 4.5 * MINUTE <= reached <= 6.5 * MINUTE
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_newer_release_in_staging_soaks_from_zero() -> None:
    """Production takes the newer one, ten minutes after staging verified that."""
    async with running_world(soaking()) as world:
        await at_gate(world)
        await world.clock.sleep(9 * MINUTE)
        await world.push("two", deployment(TWO))
        second = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        passed = await left_gate(world)
        assert second.ended_at is not None
        assert second.ended_at + 10 * MINUTE <= passed <= second.ended_at + 11 * MINUTE
        runs = await world.runs(PRODUCTION)
        assert [run.phase for run in runs] == [Phase.ABORTED, Phase.SUCCEEDED]
        assert runs[-1].release == second.release


async def test_what_soaked_in_full_and_has_a_vote_is_not_shut_out_by_the_next_release() -> None:
    """It waits for its second vote while staging already runs something newer."""
    twice = replace(APPROVAL, count=2)
    async with running_world(soaking(twice)) as world:
        run, _ = await at_gate(world)
        await world.clock.sleep(MINUTE)
        assert isinstance(await world.actions.approve(APPROVER, run.id, "", ""), ActionDone)
        await world.clock.sleep(12 * MINUTE)
        assert await gate(world, run) == Open("seen healthy in staging for 10m")
        await world.push("two", deployment(ONE), config_map("settings"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(2 * MINUTE)
        second = replace(APPROVER, subject="maria")
        assert isinstance(await world.actions.approve(second, run.id, "", ""), ActionDone)
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id


async def test_a_failure_after_it_soaked_in_full_still_counts() -> None:
    """While the run waits for people, staging is looked at, less often."""
    async with running_world(soaking(APPROVAL)) as world:
        run, _ = await at_gate(world)
        await world.clock.sleep(12 * MINUTE)
        assert await gate(world, run) == Open("seen healthy in staging for 10m")
        world.cluster.workloads[ONE] = CRASHING
        await world.clock.sleep(5 * MINUTE)
        assert isinstance(await gate(world, run), Closed)
        await world.approve()
        await world.clock.sleep(MINUTE)
        assert (await world.run(run.id)).step is Step.GATE


async def test_a_short_soak_takes_no_longer_than_it_says() -> None:
    """The look that completes it is made when it is due, not with the next interval."""
    short = SoakGate(STAGING.stage, 2 * SECOND)
    async with running_world(shop_spec(lambda stage: replace(stage, gates=(short,)))) as world:
        await world.push("one", deployment(ONE))
        verified = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert verified.ended_at is not None
        assert await left_gate(world) <= verified.ended_at + 4 * SECOND
