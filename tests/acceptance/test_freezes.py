"""The stop button: nothing begins to write in its scope, and what has begun to apply goes on.

Real: the engine. In memory: everything outside, in virtual time that begins on a Monday at 09:00.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ProjectSpec
from gitopsd.domain.gates import Closed, Open
from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.windows import Overrun, WeeklyWindow, WindowGate
from gitopsd.engine.actions import ActionDone, ActionRefused
from gitopsd.engine.explaining import load_run_facts
from gitopsd.engine.freezing import freeze, thaw
from gitopsd.engine.queries import fetch_commit_statuses, load_gates
from gitopsd.pipeline.apply_hold import is_held_before_apply
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.explained_run import explain_run
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.workloads import Workload
from tests.support.ailing import CREDENTIAL_REFUSED
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    job,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO, BAD = (f"registry.example/api:{number}" for number in (1, 2, 3))
TOOL = "registry.example/tool:1"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def press(world: World, scope: str = "*", lasts: timedelta | None = None) -> str:
    """Press the stop button; returns the freeze's id."""
    until = world.clock.now() + lasts if lasts is not None else None
    done = await freeze(world.services, APPROVER, scope, "an incident", until)
    assert isinstance(done, ActionDone), done
    return done.made


async def end(world: World, frozen: str) -> None:
    """Let go of it."""
    assert isinstance(await thaw(world.services, APPROVER, frozen), ActionDone)


async def waiting_in(world: World, step: Step) -> Run:
    """Staging's run, when it has come to a step."""
    run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=step)
    await world.clock.sleep(5 * SECOND)
    return await world.run(run.id)


def applied(world: World) -> bool:
    """Whether staging's Deployment was written."""
    return "Deployment shop-staging/api" in world.cluster.live()


@asynccontextmanager
async def preparing(seconds: int = 90) -> AsyncIterator[tuple[World, Run]]:
    """A world whose staging runs a migration of so many seconds before it applies."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(seconds * SECOND)
        await world.push("one", deployment(ONE), job(TOOL, hook="PreSync"))
        yield world, await waiting_in(world, Step.PREPARE)


async def held(world: World, run: Run) -> Run:
    """Wait until a run's Prepare is done and it is held before Apply."""

    async def there() -> bool:
        return is_held_before_apply(await world.run(run.id))

    await world.until(there, "the hold before Apply")
    return await world.run(run.id)


def projected() -> World:
    """A world with two projects, one of which is the shop's."""
    world = make_world(shop_spec())
    projects = (ProjectSpec("web", {"team": "shop"}), ProjectSpec("ovens", {"team": "bakery"}))
    world.configuration[0] = replace(world.configuration[0], projects=projects)
    return world


@pytest.mark.parametrize(
    "scope", ["*", "project:web", "application:shop", "stage:shop/staging", "cluster:one"]
)
async def test_a_run_at_its_gate_waits_for_the_thaw(scope: str) -> None:
    """Whatever the scope; it goes on within seconds after it."""
    world = projected()
    frozen = await press(world, scope)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await waiting_in(world, Step.GATE)
        await world.clock.sleep(5 * MINUTE)
        gates = await world.store.read(lambda tx: load_gates(tx, run))
        said = {state.name: state.answer for state in gates}["freeze"]
        assert said == Closed(f"{scope} frozen by alex: an incident", f"gitopsd thaw {frozen}")
        assert not applied(world)
        await end(world, frozen)
        thawed = world.clock.now()
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert world.clock.now() - thawed <= 30 * SECOND


@pytest.mark.parametrize(
    "scope,pressed,holds",
    [
        ("application:bakery", False, False),
        ("project:bakery", False, False),
        ("project:ovens", True, False),
        ("stage:shop/production", True, True),
        ("cluster:two", False, False),
    ],
)
async def test_what_is_out_of_scope_goes_on(scope: str, pressed: bool, holds: bool) -> None:
    """A frozen production lets staging through, and waits itself; others' freezes stop nothing."""
    world = projected()
    result = await freeze(world.services, APPROVER, scope, "", None)
    assert isinstance(result, ActionDone if pressed else ActionRefused)
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(5 * SECOND)
        gates = await world.store.read(lambda tx: load_gates(tx, run))
        answers = {state.name: state.answer for state in gates}
        assert isinstance(answers["freeze"], Open) is not holds


async def test_a_scope_that_is_nothing_is_refused() -> None:
    """With what there is."""
    world = make_world(shop_spec())
    refused = await freeze(world.services, APPROVER, "stage:shop/live", "", None)
    assert refused == ActionRefused(
        422, "there is no stage shop/live to freeze; configured: shop/production, shop/staging"
    )


async def test_a_freeze_ends_at_the_time_that_was_stored_with_it() -> None:
    """Nobody presses anything; the gate named the time."""
    world = make_world(shop_spec())
    await press(world, lasts=10 * MINUTE)
    async with started(world):
        begun = world.clock.now()
        await world.push("one", deployment(ONE))
        await waiting_in(world, Step.GATE)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert 9 * MINUTE <= world.clock.now() - begun <= 11 * MINUTE


async def test_a_freeze_during_prepare_holds_the_run_before_apply() -> None:
    """Its migration ends, nothing is applied, and after the thaw the run goes on."""
    async with preparing() as (world, run):
        frozen = await press(world)
        waiting = await held(world, run)
        assert waiting.clock_stopped_at is not None
        await world.clock.sleep(10 * MINUTE)
        still = await world.run(run.id)
        assert (still.step, still.version) == (Step.PREPARE, waiting.version)
        assert not applied(world)
        (status,) = await fetch_commit_statuses(world.services, world.commits[0], stage="staging")
        assert status.state is CommitState.HELD
        assert status.reason == "freeze: * frozen by alex: an incident"
        assert status.waiting_for == f"gitopsd thaw {frozen}"
        await end(world, frozen)
        thawed = world.clock.now()
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert world.clock.now() - thawed <= 30 * SECOND
        assert world.cluster.writes().count(("create", "Job shop-staging/migrate")) == 1


async def test_a_held_run_says_what_holds_it() -> None:
    """In its story and in what comes next; two freezes are both named."""
    async with preparing() as (world, run):
        frozen = [await press(world), await press(world, "stage:shop/staging")]
        await held(world, run)
        await world.clock.sleep(2 * MINUTE)
        now = await world.run(run.id)
        told = await world.store.read(
            lambda tx: explain_run(load_run_facts(tx, now, world.services.configuration()))
        )
        assert told.state == "Frozen"
        assert "stands before Apply, its Prepare is done" in told.because[0]
        (wait,) = told.waiting_for
        assert "an incident" in wait.what
        assert all(f"gitopsd thaw {one}" in wait.who for one in frozen)
        assert told.next.endswith("until then its deadline stands still")


async def test_a_run_that_applies_when_the_freeze_comes_goes_on_to_its_end() -> None:
    """An Apply under way finishes, and so do the steps after it."""
    go_on = asyncio.Event()

    async def hold_up(_method: str, _ref: ObjectRef | None) -> None:
        if applied(world):
            await go_on.wait()

    async with running_world() as world:
        world.cluster.after = hold_up
        await world.push("one", deployment(ONE), config_map("more"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await press(world)
        go_on.set()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert applied(world)


async def test_a_rollback_runs_while_everything_is_frozen() -> None:
    """A freeze must not keep what is broken."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[BAD] = Workload(None)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await press(world)
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=4)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_held_run_can_be_aborted() -> None:
    """At once, though its outstanding command is only asked for each minute."""
    async with preparing() as (world, run):
        await press(world)
        await held(world, run)
        assert isinstance(await world.actions.abort(APPROVER, run.id, restore=False), ActionDone)
        asked = world.clock.now()
        ended = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.REQUESTED.value
        assert world.clock.now() - asked <= 3 * SECOND
        assert not applied(world)


async def test_a_held_run_outlives_a_restart_and_its_deadline() -> None:
    """Hours without a process, more than Prepare may take: it is still held, then goes on."""
    world = make_world(shop_spec())
    async with started(world):
        world.cluster.workloads[TOOL] = Workload(30 * SECOND)
        await world.push("one", deployment(ONE), job(TOOL, hook="PreSync"))
        run = await waiting_in(world, Step.PREPARE)
        frozen = await press(world)
        await held(world, run)
    await world.clock.sleep(30 * HOUR)
    async with started(world):
        await world.clock.sleep(5 * MINUTE)
        assert is_held_before_apply(await world.run(run.id))
        await end(world, frozen)
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id


async def test_what_is_denied_since_a_run_was_held_is_denied_before_it_is_written() -> None:
    """Its set was tried when the freeze had not come yet, and is tried again after the thaw."""
    async with preparing() as (world, run):
        frozen = await press(world)
        await held(world, run)
        await world.clock.sleep(10 * MINUTE)
        world.cluster.refuse = lambda method, ref, _: (
            forbidden(ref, method, "deployer") if ref.key.kind == "Deployment" else None
        )
        await end(world, frozen)
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        assert (failed.id, failed.step) == (run.id, Step.APPLY)
        assert failed.failure is not None
        assert "Deployment shop-staging/api" in failed.failure.message
        assert not [what for _, what in world.cluster.writes() if "Deployment" in what]


async def test_a_held_run_whose_credential_ends_waits_for_a_person_after_the_thaw() -> None:
    """While it is held nobody asks the cluster; after it the time stands still for the other."""
    async with preparing() as (world, run):
        frozen = await press(world)
        await held(world, run)
        world.cluster.fault = lambda _method, _ref: CREDENTIAL_REFUSED.make_error()
        await world.clock.sleep(10 * MINUTE)
        assert (await world.run(run.id)).lockouts == 0
        await end(world, frozen)
        await world.clock.sleep(30 * MINUTE)
        waiting = await world.run(run.id)
        assert (waiting.step, waiting.clock_stopped_at) == (Step.APPLY, None)
        assert waiting.lockouts > 20
        world.cluster.fault = None
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id


async def test_what_was_frozen_in_prepare_and_thawed_before_its_end_is_not_held() -> None:
    """Only the moment counts at which Apply would be commanded."""
    async with preparing() as (world, run):
        await end(world, await press(world))
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        assert done.id == run.id
        assert "ClockStopped" not in [event.name for event in events]


async def test_a_window_that_says_wait_holds_what_it_let_in() -> None:
    """It closes during Prepare; the run applies when it opens again."""
    hours = tuple(
        WeeklyWindow(f"{at}", tuple(range(7)), minute, minute + 5)
        for at, minute in (("09:00", 540), ("09:12", 552))
    )
    gate = WindowGate(hours, overrun=Overrun.WAIT)
    spec = shop_spec()
    waits = replace(spec, stages=(replace(spec.stages[0], gates=(gate,)), *spec.stages[1:]))
    async with running_world(waits) as world:
        world.cluster.workloads[TOOL] = Workload(6 * MINUTE)
        begun = world.clock.now()
        await world.push("one", deployment(ONE), job(TOOL, hook="PreSync"))
        run = await waiting_in(world, Step.PREPARE)
        waiting = await held(world, run)
        assert waiting.waiting_for.startswith("window: outside of its hours; opens Mon 2026-01-05 ")
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert world.clock.now() - begun >= 12 * MINUTE


async def test_a_window_that_holds_a_run_can_be_skipped() -> None:
    """For that run: it applies at once, with the window still closed."""
    gate = WindowGate((WeeklyWindow("09:00", tuple(range(7)), 540, 545),), overrun=Overrun.WAIT)
    spec = shop_spec()
    waits = replace(spec, stages=(replace(spec.stages[0], gates=(gate,)), *spec.stages[1:]))
    async with running_world(waits) as world:
        world.cluster.workloads[TOOL] = Workload(6 * MINUTE)
        await world.push("one", deployment(ONE), job(TOOL, hook="PreSync"))
        run = await held(world, await waiting_in(world, Step.PREPARE))
        done = await world.actions.skip(APPROVER, run.id, "window", plan="", reason="it is urgent")
        assert isinstance(done, ActionDone), done
        skipped = world.clock.now()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert world.clock.now() - skipped <= 30 * SECOND


async def test_what_runs_is_watched_while_its_successor_is_held() -> None:
    """It fails within its watch window: the held run gives way, what was before comes back."""
    spec = shop_spec()
    watched = replace(spec.stages[0], watch=2 * HOUR)
    async with running_world(replace(spec, stages=(watched, *spec.stages[1:]))) as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.cluster.workloads[TOOL] = Workload(30 * SECOND)
        await world.push("three", deployment(BAD), job(TOOL, hook="PreSync"))
        run = await waiting_in(world, Step.PREPARE)
        frozen = await press(world)
        await held(world, run)
        world.cluster.workloads[TWO] = Workload(None, "CrashLoopBackOff", "x", restarts=4)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])
        ended = await world.run(run.id)
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.SUPERSEDED.value
        await end(world, frozen)
        again = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert again.release == run.release
