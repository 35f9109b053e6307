"""What spreads no faster than it can be watched, and what a stage takes by itself.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitopsd.domain.config import ApplicationSpec, ClusterSpec, Promotion, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, GateAnswer
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.engine.actors import ActionDone
from gitopsd.engine.queries import load_gates
from gitopsd.engine.queueing import load_queue
from gitopsd.pipeline.stage_queue import Place, QueueEntry
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    World,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO, THREE = (f"registry.example/api:{number}" for number in (1, 2, 3))
CRASHING = Workload(None, "CrashLoopBackOff", "back-off restarting", restarts=3)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
LIVE = StageName("live")
NAMES = ("a", "b", "c", "d")


def keys() -> list[StageKey]:
    """The stages of four applications."""
    return [StageKey(ApplicationName(name), LIVE) for name in NAMES]


@asynccontextmanager
async def four(*, asked: str = "") -> AsyncIterator[World]:
    """Four applications of one repository on one cluster; one of them may have an approval."""
    spec = shop_spec()
    staging = spec.stages[0]
    specs = []
    for name in NAMES:
        gates = (ApprovalGate(("group:release-managers",)),) if name == asked else ()
        live = replace(staging, name=LIVE, path=name, namespace=name, verify=(), gates=gates)
        specs.append(replace(spec, name=ApplicationName(name), stages=(live,), digest=name))
    world = make_world(*specs)
    yield world


async def push(world: World, image: str) -> None:
    """Push a commit that concerns all four."""
    overlays = {name: (deployment(image, name),) for name in NAMES}
    sha = world.repositories.commit(REPO, image, parent=world.head, overlays=overlays)
    world.repositories.push(REPO, MAIN, sha)
    before, world.head = world.head, sha
    await world.ring(before, sha)


async def says(world: World, key: StageKey, gate: str) -> GateAnswer | None:
    """Read what a gate answered last to a stage's waiting run."""

    def read(tx: Transaction) -> GateAnswer | None:
        stage = tx.stages.get(key)
        run = tx.runs.get(stage.next) if stage is not None and stage.next else None
        states = load_gates(tx, run) if run is not None else ()
        return next((state.answer for state in states if state.name == gate), None)

    return await world.store.read(read)


async def test_a_clusters_budget_bounds_what_is_written_at_once() -> None:
    """Two at a time; the others say so, and follow within a moment of one that ends."""
    async with four() as world:
        world.configuration[0] = replace(
            world.configuration[0], clusters={"one": ClusterSpec("one", rollout_budget=2)}
        )
        world.cluster.workloads[ONE] = Workload(MINUTE)
        most: list[int] = []

        def count(tx: Transaction) -> None:
            most.append(sum(run.mutated for run in tx.runs.live()))

        world.store.observe = count
        async with started(world):
            begun = world.clock.now()
            await push(world, ONE)

            async def waiting() -> bool:
                answers = [await says(world, key, "budget") for key in keys()]
                return sum(isinstance(answer, Closed) for answer in answers) == 2

            await world.until(waiting, "two wait for room")
            told = [await says(world, key, "budget") for key in keys()]
            assert (
                Closed("2 rollouts are under way on one, its budget is 2", "wait until one ends")
                in told
            )
            for key in keys():
                await world.until_run(key, RunKind.ROLLOUT, Phase.SUCCEEDED)
            assert max(most) == 2
            assert world.clock.now() - begun < 2 * MINUTE + 30 * SECOND


async def test_a_commit_that_failed_three_times_goes_no_further() -> None:
    """In stages of one name, in whichever applications; a person may insist."""
    async with four(asked="d") as world, started(world):
        world.cluster.workloads[ONE] = CRASHING
        await push(world, ONE)
        for key in keys()[:3]:
            await world.until_run(key, RunKind.ROLLOUT, Phase.FAILED)
        last = keys()[3]
        run = await world.until_run(last, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        done = await world.actions.approve(APPROVER, run.id, "", "")
        assert isinstance(done, ActionDone)
        sha = str(world.head)[:12]
        promote = f"gitopsd promote d live {run.release}"
        assert await says(world, last, "brake") == Closed(
            f"{sha} failed 3 times in stages named live", f"push a fix, or: {promote}"
        )
        del world.cluster.workloads[ONE]
        await world.actions.promote(APPROVER, last, run.release)
        await world.until_run(last, RunKind.ROLLOUT, Phase.SUCCEEDED)


def free(promotion: Promotion) -> ApplicationSpec:
    """The usual shop, whose production asks nobody."""

    def change(stage: StageSpec) -> StageSpec:
        return replace(stage, gates=(), promotion=promotion)

    return shop_spec(change)


async def queue_of(world: World, key: StageKey) -> tuple[QueueEntry, ...]:
    """Read what stands in line for a stage."""

    def read(tx: Transaction) -> tuple[QueueEntry, ...]:
        stage, spec = tx.stages.get(key), tx.specs.current(SHOP)
        assert stage is not None
        assert spec is not None
        return load_queue(tx, stage, spec)

    return await world.store.read(read)


async def test_a_stage_that_people_feed_takes_what_they_name() -> None:
    """Nothing comes by itself; the queue shows what could, and how."""
    async with running_world(free(Promotion.MANUAL)) as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(5 * MINUTE)
        assert await world.runs(PRODUCTION) == []
        one, two = await world.releases()
        queue = await queue_of(world, PRODUCTION)
        assert [(entry.position, entry.release) for entry in queue] == [
            (None, two.id),
            (None, one.id),
        ]
        promote = f"gitopsd promote shop production {two.id}"
        assert queue[0].reason == f"a person names each: {promote}"
        done = await world.actions.promote(APPROVER, PRODUCTION, one.id)
        assert isinstance(done, ActionDone)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(5 * MINUTE)
        assert len(await world.runs(PRODUCTION)) == 1


async def test_a_stage_that_follows_another_waits_until_that_has_made_up_its_mind() -> None:
    """While a bad release is being brought there, and goes back, what was good does not move."""
    async with running_world(free(Promotion.UPSTREAM)) as world:
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[TWO] = CRASHING
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert len(await world.runs(PRODUCTION)) == 1
        await world.push("three", deployment(THREE))
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert done.release == (await world.releases())[-1].id


@pytest.mark.parametrize("promotion,comes", [(Promotion.UPSTREAM, False), (Promotion.NEWEST, True)])
async def test_a_stage_that_follows_another_takes_what_that_runs_now(
    promotion: Promotion, *, comes: bool
) -> None:
    """What was verified there and is newer comes only to a stage that takes the newest."""
    async with running_world(free(promotion)) as world:
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.actions.suspend(APPROVER, PRODUCTION, "lunch")
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        one, two = await world.releases()
        done = await world.actions.promote(APPROVER, STAGING, one.id)
        assert isinstance(done, ActionDone), done
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        await world.actions.resume(APPROVER, PRODUCTION)
        await world.clock.sleep(5 * MINUTE)
        assert _images(world) == [TWO if comes else ONE]
        if not comes:
            kept = [one for one in await queue_of(world, PRODUCTION) if one.release == two.id]
            assert [one.position for one in kept] == [None]
            assert f"staging runs {one.id}" in kept[0].reason


async def test_the_queue_shows_positions_and_what_each_waits_for() -> None:
    """What stands at the Gate with a vote, what follows, and what is not verified before."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.suspend(APPROVER, PRODUCTION, "lunch")
        await world.actions.approve(APPROVER, run.id, "", "")
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        one, two = await world.releases()
        queue = await queue_of(world, PRODUCTION)
        assert [(entry.position, entry.place, entry.release) for entry in queue] == [
            (1, Place.NEXT, one.id),
            (None, Place.KEPT_OUT, two.id),
        ]
        assert queue[0].reason == "suspend: suspended by alex: lunch"
        assert queue[1].reason == "suspended by alex: lunch"
        await world.actions.resume(APPROVER, PRODUCTION)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_one_of_several_stages_before_is_enough() -> None:
    """The other one may fail, or take its time."""
    spec = shop_spec(lambda stage: replace(stage, gates=()))
    staging, production = spec.stages
    eu, us = (
        replace(staging, name=StageName(name), namespace=name, path=f"overlays/{name}")
        for name in ("staging", "production")
    )
    slow = replace(us, name=StageName("us"), gates=(ApprovalGate(("group:release-managers",)),))
    world_spec = replace(
        spec,
        stages=(
            eu,
            slow,
            replace(production, after=(StageName("staging"), StageName("us")), after_any=True),
        ),
    )
    async with running_world(world_spec) as world:
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        waits = await world.runs(StageKey(SHOP, StageName("us")))
        assert [run.step for run in waits] == [Step.GATE]


async def test_what_waits_behind_a_vote_has_a_position() -> None:
    """The newest is the next, the one before it goes only when that does not; so it comes."""
    gate = ApprovalGate(("group:release-managers",), count=2)
    spec = shop_spec(lambda stage: replace(stage, gates=(gate,)))
    async with running_world(spec) as world:
        await world.push("one", deployment(ONE))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.approve(APPROVER, run.id, "", "")
        for number, image in enumerate((TWO, THREE), start=2):
            await world.push(image, deployment(image))
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        one, two, three = await world.releases()

        async def waits() -> bool:
            return len(await queue_of(world, PRODUCTION)) == 3

        await world.until(waits, "three stand in line")
        queue = await queue_of(world, PRODUCTION)
        assert [(entry.position, entry.place, entry.release) for entry in queue] == [
            (1, Place.NEXT, one.id),
            (2, Place.WAITING, three.id),
            (3, Place.WAITING, two.id),
        ]
        assert queue[0].reason.startswith("approval: 1 of 2 approvals")
        assert queue[2].reason == f"taken only when {three.id} is not"
        await world.actions.approve(replace(APPROVER, subject="sam"), run.id, "", "")
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        last = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        assert last.release == three.id
        assert [entry.release for entry in await queue_of(world, PRODUCTION)][:1] == [three.id]


async def test_after_an_older_release_by_name_newer_ones_wait_for_resume() -> None:
    """They are made ready and stand first in line, held; the hold says who set it and why."""
    async with running_world(free(Promotion.NEWEST)) as world:
        for number, image in enumerate((ONE, TWO), start=1):
            await world.push(image, deployment(image))
            await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        one, _ = await world.releases()
        done = await world.actions.promote(APPROVER, PRODUCTION, one.id, reason="two is too slow")
        assert isinstance(done, ActionDone), done
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert _images(world) == [ONE]
        await world.push(THREE, deployment(THREE))

        async def waits() -> bool:
            run, found = (await world.runs(PRODUCTION))[-1], await world.releases()
            newest = len(found) == 3 and run.release == found[-1].id
            return newest and run.step is Step.GATE

        await world.until(waits, "the newest is made ready")
        held = (await world.runs(PRODUCTION))[-1]
        await world.clock.sleep(5 * MINUTE)
        answer = await says(world, PRODUCTION, "hold")
        assert isinstance(answer, Closed)
        assert answer.opener == "gitopsd resume shop production"
        assert answer.reason == "held by alex: asked for an older release"
        entry = (await queue_of(world, PRODUCTION))[0]
        assert (entry.position, entry.run) == (1, held.id)
        assert entry.reason == f"hold: {answer.reason}"
        assert _images(world) == [ONE]
        await world.actions.resume(APPROVER, PRODUCTION)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=4)
        assert _images(world) == [THREE]


def _images(world: World) -> list[str]:
    live: Any = world.cluster.live()["Deployment shop/api"]
    return [one["image"] for one in live["spec"]["template"]["spec"]["containers"]]


async def test_two_stages_go_on_at_once_and_what_comes_after_both_waits_for_both() -> None:
    """Neither waits for the other; the one that takes longer is named."""
    spec = shop_spec(lambda stage: replace(stage, gates=()))
    staging, production = spec.stages
    eu = replace(production, name=StageName("eu"), namespace="eu")
    us = replace(eu, name=StageName("us"), namespace="us", certify=10 * MINUTE)
    both = replace(production, after=(eu.name, us.name))
    first, second = (StageKey(SHOP, stage.name) for stage in (eu, us))
    async with running_world(replace(spec, stages=(staging, eu, us, both))) as world:
        world.cluster.workloads[ONE] = Workload(MINUTE)
        await world.push("one", deployment(ONE))

        async def together() -> bool:
            runs = [await world.runs(key) for key in (first, second)]
            return all(one and one[-1].step is Step.WAIT_HEALTHY for one in runs)

        await world.until(together, "both wait for health at once")
        await world.until_run(first, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(MINUTE)
        assert await world.runs(PRODUCTION) == []
        (entry,) = await queue_of(world, PRODUCTION)
        assert (entry.position, entry.place) == (None, Place.KEPT_OUT)
        assert entry.reason == "not verified in us"
        await world.until_run(second, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
