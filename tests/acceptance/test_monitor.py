"""Checks that go on after success, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ApplicationSpec, MonitorSpec
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.testing.verifier import MemoryAnswer
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import STAGING, World, deployment, running_world, shop_spec

pytestmark = pytest.mark.looptime

GOOD, SECOND = "registry.example/api:1", "registry.example/api:2"
RULES = HttpCheck(name="api /rules", service="api", port="http", path="/rules")
EVERY = timedelta(minutes=5)


def monitored(watch: timedelta = timedelta(0)) -> ApplicationSpec:
    """The usual application, whose staging is monitored each five minutes."""
    spec = shop_spec()
    staging = replace(spec.stages[0], monitor=MonitorSpec(EVERY, (RULES,)), watch=watch)
    return replace(spec, stages=(staging, *spec.stages[1:]))


async def bring(world: World, image: str, count: int) -> None:
    """Push a release and wait until staging runs it."""
    await world.push(image, deployment(image))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


def degraded(world: World) -> list[str]:
    """What was told of a health that got worse."""
    return [
        note.message
        for notes in world.notifier.received.values()
        for note in notes
        if note.trigger == "on-health-degraded"
    ]


def answer(world: World, status: int) -> None:
    """Let the monitored page answer from now on."""
    world.verifier.serve("api", MemoryAnswer(status=status), path="/rules")


async def test_a_failure_long_after_success_is_told_once_until_it_is_over() -> None:
    """Nothing is rolled back, and a second failure is told anew."""
    async with running_world(monitored()) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        await world.clock.sleep(timedelta(minutes=30))
        assert degraded(world) == []
        answer(world, 500)
        await world.clock.sleep(timedelta(minutes=30))
        assert len(degraded(world)) == 1
        assert "Service shop-staging/api: check api /rules failed" in degraded(world)[0]
        answer(world, 200)
        await world.clock.sleep(timedelta(minutes=10))
        answer(world, 500)
        await world.clock.sleep(timedelta(minutes=10))

        assert len(degraded(world)) == 2
        assert [run.kind for run in await world.runs(STAGING)] == [RunKind.ROLLOUT]


async def test_within_the_watch_window_a_failure_restores_what_was_verified_before() -> None:
    """And what it restored is monitored in its turn."""
    async with running_world(monitored(watch=timedelta(hours=1))) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        await bring(world, SECOND, 2)
        answer(world, 500)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert GOOD in str(world.cluster.live()["Deployment shop-staging/api"])
        told = len(degraded(world))
        await world.clock.sleep(timedelta(hours=2))
        assert len(degraded(world)) == told + 1


async def test_there_is_a_round_each_five_minutes_and_none_between() -> None:
    """Six in half an hour, each of them one request of each check."""
    async with running_world(monitored()) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        begun = len(world.verifier.asked)
        await world.clock.sleep(timedelta(minutes=30, seconds=10))

        assert [name for name, _ in world.verifier.asked[begun:]] == [RULES.name] * 6


async def test_after_the_watch_window_a_failure_is_told_and_restores_nothing() -> None:
    """A minute after its end, with something there that could be restored."""
    async with running_world(monitored(watch=timedelta(hours=1))) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        await bring(world, SECOND, 2)
        await world.clock.sleep(timedelta(minutes=61))
        answer(world, 500)
        await world.clock.sleep(timedelta(hours=1))

        assert len(degraded(world)) == 1
        assert [run.kind for run in await world.runs(STAGING)] == [RunKind.ROLLOUT] * 2
        assert SECOND in str(world.cluster.live()["Deployment shop-staging/api"])
        assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))


async def test_one_round_that_fails_alone_calls_nobody() -> None:
    """Three in a row, five seconds apart, are a failure."""
    async with running_world(monitored()) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        begun = len(world.verifier.asked)
        answer(world, 500)
        await world.until(lambda: len(world.verifier.asked) > begun, "the first round")
        answer(world, 200)
        await world.clock.sleep(timedelta(minutes=30))

        assert degraded(world) == []


async def test_what_cannot_be_seen_is_no_failure() -> None:
    """An API server that is away says nothing about the application."""
    async with running_world(monitored()) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        world.verifier.serve("api", MemoryAnswer(visible=False), path="/rules")
        await world.clock.sleep(timedelta(minutes=30))

        assert degraded(world) == []


async def test_without_a_monitor_the_rounds_end() -> None:
    """A file that configures none any more is obeyed with the next release."""
    async with running_world(monitored()) as world:
        answer(world, 200)
        await bring(world, GOOD, 1)
        configuration = world.configuration[0]
        spec = replace(shop_spec(), digest="2")
        await world.configure(replace(configuration, applications={spec.name: spec}))
        await world.push("second", deployment(SECOND))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(timedelta(minutes=6))

        assert await world.store.read(lambda tx: tx.work.get(f"monitor:{STAGING}")) is None


async def test_a_rollback_holds_for_as_long_as_it_is_asked_to() -> None:
    """``rollback.certify`` is the rollback's own; a rollout has the stage's."""
    spec = shop_spec()
    staging = replace(spec.stages[0], rollback_certify=timedelta(seconds=30))
    async with running_world(replace(spec, stages=(staging, *spec.stages[1:]))) as world:
        world.cluster.workloads[SECOND] = Workload(None, "CrashLoopBackOff", "no", restarts=3)
        begun = world.clock.now()
        await bring(world, GOOD, 1)
        assert world.clock.now() - begun < timedelta(seconds=10)
        await world.push("bad", deployment(SECOND))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.ended_at is not None
        assert back.ended_at is not None
        held = back.ended_at - failed.ended_at
        assert timedelta(seconds=30) <= held < timedelta(seconds=40)


async def test_a_check_that_fails_while_a_rollback_holds_ends_it_for_a_person() -> None:
    """After 20 of its 30 seconds: Failed, the stage stalled, and nothing more is tried."""
    spec = shop_spec()
    staging = replace(spec.stages[0], rollback_certify=timedelta(seconds=30))
    async with running_world(replace(spec, stages=(staging, *spec.stages[1:]))) as world:
        world.cluster.workloads[SECOND] = Workload(None, "CrashLoopBackOff", "no", restarts=3)
        await bring(world, GOOD, 1)
        await world.push("bad", deployment(SECOND))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.CERTIFY)
        held = world.clock.now()
        await world.clock.sleep(timedelta(seconds=20))
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        failed = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.FAILED)
        await world.clock.sleep(timedelta(minutes=30))

        assert failed.step is Step.CERTIFY
        assert failed.ended_at is not None
        assert timedelta(seconds=20) <= failed.ended_at - held <= timedelta(seconds=30)
        assert failed.failure is not None
        assert "check api /health failed when repeated" in failed.failure.message
        stall = (await world.stage(STAGING)).stall
        assert stall is not None
        assert stall.reason is StallReason.ROLLBACK_FAILED
        assert len(await world.runs(STAGING)) == 3
