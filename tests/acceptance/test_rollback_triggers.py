"""Everything that takes a release back leads to the same objects, and to no more than one restore.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import MonitorSpec
from gitopsd.domain.gates import Closed
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actions import ActionDone
from gitopsd.engine.queries import load_gates
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.verifier import MemoryAnswer
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    STAGING,
    World,
    config_map,
    deployment,
    job,
    make_world,
    started,
)
from tests.support.rollback_stories import BAD, CRASHING, GOOD, TOOL, live_in, one_stage

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(30)]

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RULES = HttpCheck("api /rules", service="api", port="http", path="/rules")
SPEC = one_stage(certify=30 * SECOND, monitor=MonitorSpec(MINUTE, (RULES,)))
Trigger = Callable[[World], Awaitable[Run | None]]


@asynccontextmanager
async def watched_world() -> AsyncIterator[World]:
    """A world whose staging is watched and monitored; it sweeps rarely, for hours are long."""
    world = make_world(SPEC)
    pace = replace(world.services.pace, sweep=20 * SECOND, watch=MINUTE)
    world.services = replace(world.services, pace=pace)
    answer(world, 200, "/rules")
    async with started(world):
        yield world


def answer(world: World, status: int, path: str = "/health") -> None:
    """Let the application answer so from now on."""
    world.verifier.serve("api", MemoryAnswer(status=status), path=path)


async def push_bad(world: World, *more: JsonObject) -> None:
    """Push what changes one object, adds one and leaves one out."""
    objects = (deployment(BAD), config_map("kept", value="2"), config_map("added"))
    await world.push("bad", *objects, *more)


async def failed_in(world: World, step: Step) -> Run:
    """Wait for the verdict, which a step gives."""
    failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
    assert failed.step is step
    return failed


async def live(world: World) -> Run:
    """Bring the bad release, which nobody finds fault with."""
    await push_bad(world)
    run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
    assert "ConfigMap shop-staging/gone" not in live_in(world)
    return run


async def by_hook(world: World) -> Run:
    """A migration before anything is applied exits 1."""
    world.cluster.workloads[TOOL] = Workload(exit_code=1)
    await push_bad(world, job(TOOL, hook="PreSync", policy="HookFailed"))
    return await failed_in(world, Step.PREPARE)


async def by_apply(world: World) -> Run:
    """The server refuses the last object, when the others are written."""
    world.cluster.refuse = lambda method, ref, obj: (
        forbidden(ref, method, "deployer")
        if BAD in str(obj) and "ConfigMap shop-staging/added" in world.cluster.live()
        else None
    )
    await push_bad(world)
    return await failed_in(world, Step.APPLY)


async def by_health(world: World) -> Run:
    """Its pods crash."""
    world.cluster.workloads[BAD] = CRASHING
    await push_bad(world)
    return await failed_in(world, Step.WAIT_HEALTHY)


async def by_verification(world: World) -> Run:
    """It is healthy, and answers otherwise than it must."""
    answer(world, 500)
    await push_bad(world)
    failed = await failed_in(world, Step.VERIFY)
    answer(world, 200)
    return failed


async def by_certify(world: World) -> Run:
    """It was verified and pruned, and does not last."""
    await push_bad(world)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.CERTIFY)
    assert "ConfigMap shop-staging/gone" not in live_in(world)
    answer(world, 500)
    failed = await failed_in(world, Step.CERTIFY)
    answer(world, 200)
    return failed


async def in_watch_window(world: World) -> Run:
    """Its pods crash minutes later."""
    run = await live(world)
    await world.clock.sleep(5 * MINUTE)
    world.cluster.workloads[BAD] = CRASHING
    return run


async def by_monitor(world: World) -> Run:
    """It stays healthy, and what only the monitor asks is wrong after a while."""
    run = await live(world)
    await world.clock.sleep(5 * MINUTE)
    answer(world, 500, "/rules")
    await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING)
    answer(world, 200, "/rules")
    return run


async def by_a_person(world: World) -> None:
    """Nothing is wrong with it that gitopsd knows."""
    await live(world)
    assert isinstance(await world.actions.rollback(APPROVER, STAGING, None), ActionDone)


TRIGGERS: dict[str, Trigger] = {
    "hook": by_hook,
    "apply": by_apply,
    "health": by_health,
    "verification": by_verification,
    "certify": by_certify,
    "watch window": in_watch_window,
    "monitor": by_monitor,
    "a person": by_a_person,
}


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_whatever_takes_a_release_back_leaves_what_was_there(trigger: str) -> None:
    """Changed objects are as before, added ones gone, deleted ones back; verified, and told once.

    The bad bytes are held, but not where a person went back: what runs well is held by the hold.
    """
    async with watched_world() as world:
        await world.push(
            "good", deployment(GOOD), config_map("kept", value="1"), config_map("gone")
        )
        first = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = live_in(world)
        failed = await TRIGGERS[trigger](world)
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert live_in(world) == before
        await world.clock.sleep(5 * MINUTE)

        assert live_in(world) == before
        written = ("delete", "ConfigMap shop-staging/added") in world.cluster.writes()
        assert written is (trigger != "hook")
        stage = await world.stage(STAGING)
        assert stage.stall is None
        assert stage.applied is not None
        assert (back.release, stage.applied.release) == (first.release, first.release)
        runs = [run for run in await world.runs(STAGING) if run.step is not Step.GATE]
        kinds = [run.kind for run in runs]
        assert kinds == [RunKind.ROLLOUT, RunKind.ROLLOUT, RunKind.ROLLBACK]
        events = await world.store.read(lambda tx: tx.runs.events(back.id))
        done = [event.step for event in events if event.name == "StepSucceeded"]
        assert done[-4:] == [Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE, Step.CERTIFY]
        held = await world.store.read(lambda tx: list(tx.quarantines.in_force(STAGING)))
        assert [one.release for one in held] == ([failed.release] if failed is not None else [])
        assert back.requested_by == ("" if failed is not None else APPROVER.subject)
        told = [note.trigger for note in world.notifier.received["ops"]]
        assert told.count("on-rollback-started") == 1
        assert told.count("on-rollback-succeeded") == 1


async def test_going_back_twice_within_an_hour_calls_a_person() -> None:
    """What was good is back both times; what is newer waits until somebody has looked."""
    async with watched_world() as world:
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = live_in(world)
        for number in (1, 2):
            image = f"registry.example/bad:{number}"
            world.cluster.workloads[image] = CRASHING
            await world.push(f"bad {number}", deployment(image))
            await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED, count=number)
            await world.clock.sleep(5 * MINUTE)
            assert live_in(world) == before
        await world.push("fix", deployment("registry.example/api:3"))
        waiting = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(5 * MINUTE)
        gates = await world.store.read(lambda tx: load_gates(tx, waiting))
        closed = {one.name: one.answer for one in gates if isinstance(one.answer, Closed)}
        assert set(closed) == {"stall"}
        stall = (await world.stage(STAGING)).stall
        assert stall is not None
        assert stall.reason is StallReason.ROLLBACK_LOOP
        assert "was rolled back 2 times within an hour" in stall.message
        assert "gitopsd resume shop staging" in closed["stall"].opener

        assert isinstance(await world.actions.resume(APPROVER, STAGING), ActionDone)
        done = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert done.id == waiting.id
