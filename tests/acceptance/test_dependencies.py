"""A release waits until another application's stage runs something verified.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.engine.queries import load_gates
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    MAIN,
    REPO,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

API = StageKey(ApplicationName("api"), StageName("live"))
WEB = StageKey(ApplicationName("web"), StageName("live"))
ONE, TWO = "registry.example/api:1", "registry.example/api:2"
PAGE = "registry.example/web:1"
CRASHING = Workload(None, "CrashLoopBackOff", "x", restarts=4)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


@asynccontextmanager
async def both(*, same_commit: bool = False) -> AsyncIterator[World]:
    """Two applications of one repository; the second asks for the first."""
    spec = shop_spec()
    live = replace(spec.stages[0], name=StageName("live"), verify=())
    gate = DependencyGate(API, same_commit=same_commit)
    api = replace(live, path="api", namespace="api")
    web = replace(live, path="web", namespace="web", gates=(gate,))
    world = make_world(
        replace(spec, name=API.application, stages=(api,), digest="api"),
        replace(spec, name=WEB.application, stages=(web,), digest="web"),
    )
    async with started(world):
        yield world


async def push(world: World, subject: str, **overlays: tuple[JsonObject, ...]) -> None:
    """Push a commit that changes some folders."""
    sha = world.repositories.commit(REPO, subject, parent=world.head, overlays=overlays)
    world.repositories.push(REPO, MAIN, sha)
    before, world.head = world.head, sha
    await world.ring(before, sha)


async def waiting(world: World) -> tuple[Run, GateAnswer]:
    """The second application's run at its Gate, and what the gate answers."""
    run = await world.until_run(WEB, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(2 * SECOND)
    states = await world.store.read(lambda tx: load_gates(tx, run))
    return run, next(state.answer for state in states if state.name == "dependency")


async def test_the_second_application_follows_the_first() -> None:
    """It names the run that it waits for, and goes on within seconds of its success."""
    async with both() as world:
        world.cluster.workloads[ONE] = Workload(MINUTE)
        await push(world, "one", api=(deployment(ONE),), web=(deployment(PAGE, "web"),))
        run, said = await waiting(world)
        (first,) = await world.runs(API)
        assert said == Closed(f"{first.id} is under way in api/live", "wait until it ends")
        verified = await world.until_run(API, RunKind.ROLLOUT, Phase.SUCCEEDED)
        done = await world.until_run(WEB, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert verified.ended_at is not None
        assert world.clock.now() - verified.ended_at <= 10 * SECOND


async def test_a_first_application_that_falls_ill_holds_the_second() -> None:
    """It is looked at while the second waits; mended, it lets it go."""
    async with both() as world:
        await push(world, "one", api=(deployment(ONE),))
        await world.until_run(API, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(10 * MINUTE)
        world.cluster.workloads[ONE] = CRASHING
        web = (deployment(PAGE, "web"),)
        await push(world, "two", api=(deployment(ONE),), web=web)
        await waiting(world)
        await world.clock.sleep(2 * MINUTE)
        _, said = await waiting(world)
        assert isinstance(said, Closed)
        assert said.reason.startswith("api/live is not seen healthy: Deployment api/api")
        world.cluster.workloads[ONE] = Workload()
        mended = world.clock.now()
        await world.until_run(WEB, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert world.clock.now() - mended <= 2 * MINUTE


async def test_the_same_commit_goes_through_the_first_application_first() -> None:
    """What ran there before is not enough; when the commit fails there, it goes no further."""
    async with both(same_commit=True) as world:
        web = (deployment(PAGE, "web"),)
        await push(world, "one", api=(deployment(ONE),), web=web)
        await world.until_run(WEB, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[TWO] = CRASHING
        newer = (deployment("registry.example/web:2", "web"),)
        await push(world, "two", api=(deployment(TWO),), web=newer)
        await world.until_run(API, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.clock.sleep(2 * MINUTE)
        run, said = await waiting(world)
        assert isinstance(said, Closed)
        assert said.reason.endswith(f"which does not have {str(world.head)[:12]}")
        assert (await world.run(run.id)).step is Step.GATE


async def test_a_commit_that_does_not_concern_the_first_application_waits_for_nothing() -> None:
    """What runs there is what the commit makes of it."""
    async with both(same_commit=True) as world:
        api = (deployment(ONE),)
        await push(world, "one", api=api, web=(deployment(PAGE, "web"),))
        await world.until_run(WEB, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await push(world, "two", api=api, web=(deployment("registry.example/web:2", "web"),))
        done = await world.until_run(WEB, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        states = await world.store.read(lambda tx: load_gates(tx, done))
        said = next(state.answer for state in states if state.name == "dependency")
        assert isinstance(said, Open)
        assert len(await world.runs(API)) == 1
