"""A release goes through a group of four clusters, wave by wave, until it failed too often.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gates import Closed, Decision
from gitopsd.domain.groups import GroupSpec, OnFailure
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.group_voting import find_waiting, vote_for_group
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.engine.voting import Ballot
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.crash_world import Schedule, living
from tests.support.engine_world import APPROVER, SHOP, STAGING, World, started
from tests.support.fleet_world import (
    APPROVAL,
    FLEET,
    ONE_BY_ONE,
    A,
    B,
    C,
    D,
    Fleet,
    fleet_spec,
    make_fleet,
)

pytestmark = pytest.mark.looptime

HOLD = GroupSpec("production", ONE_BY_ONE, max_failures=1)
BACK = replace(HOLD, on_failure=OnFailure.ROLLBACK_ALL)
LIVE = ("Rollout", "Succeeded", "")
FAILED = ("Rollout", "Failed", "CrashLoopBackOff")
RESTORED = ("Rollback", "Succeeded", "")
OTHER = Actor("otto", ("developers",))
MINUTE = timedelta(minutes=1)
FEWEST_EFFECTS = 100


@asynccontextmanager
async def fleet(group: GroupSpec, spec: ApplicationSpec | None = None) -> AsyncIterator[Fleet]:
    """Four clusters that run release 1."""
    built = make_fleet(spec or fleet_spec(group))
    async with started(built.world):
        if group.approval is None:
            await built.until_live(await built.push(1), *FLEET)
        yield built


async def test_the_second_and_third_fail_and_the_fourth_is_not_touched() -> None:
    """One after the other; the sentence names both, what is allowed, and who can open it."""
    async with fleet(HOLD) as world:
        two = "registry.example/api:2"
        world.break_on(two, B, C)
        await world.push(2)
        run = await world.until_held(D, "failed in")
        release = run.release
        assert await world.group_says(D) == Closed(
            f"{release} failed in b (CrashLoopBackOff) and c (CrashLoopBackOff): 2 of 4 stages of "
            "group production, which allows 1",
            f"push a fix, or for this stage alone: gitopsd skip {run.id} group --reason WHY",
        )
        await world.until_ended(C, RunKind.ROLLBACK, Phase.SUCCEEDED)
        one = "registry.example/api:1"
        assert [world.live(key) for key in FLEET] == [[two], [one], [one], [one]]
        ends = await world.endings()
        assert ends["a"] == [LIVE, LIVE]
        assert ends["b"] == ends["c"] == [LIVE, FAILED, RESTORED]
        assert ends["d"] == [LIVE, ("Rollout", "Running", "")]
        began = [next(r for r in await world.world.runs(k) if r.release == release) for k in FLEET]
        wrote = [await _left_gate_at(world.world, one) for one in began[:3]]
        assert wrote == sorted(wrote)
        head = str(world.world.head)
        (held,) = await fetch_commit_statuses(world.world.services, head, stage="d")
        assert held.state is CommitState.HELD
        assert "group: " in held.reason

        fix = await world.push(3)
        await world.until_live(fix, *FLEET)


async def _left_gate_at(world: World, run: Run) -> datetime:
    found = await world.store.read(lambda tx: tx.runs.events(run.id))
    return next(
        event.at for event in found if event.step is Step.GATE and event.name == "StepSucceeded"
    )


async def test_a_person_lets_one_stage_pass() -> None:
    """The skip counts for this run alone, and what the group says of others stays."""
    async with fleet(replace(HOLD, max_failures=0)) as world:
        two = "registry.example/api:2"
        world.break_on(two, B)
        await world.push(2)
        run = await world.until_held(C, "failed in b")
        done = await world.world.actions.skip(
            APPROVER, run.id, "group", plan="", reason="b has a broken node"
        )
        assert isinstance(done, ActionDone), done
        await world.until_live(two, C)
        await world.until_held(D, "failed in b")


async def test_a_failure_that_was_mended_counts_no_more() -> None:
    """Its quarantine is lifted, it is brought again and succeeds: the rest goes on by itself."""
    async with fleet(replace(HOLD, max_failures=0)) as world:
        two = "registry.example/api:2"
        world.break_on(two, B)
        await world.push(2)
        await world.until_held(D, "failed in b")
        await world.until_ended(B, RunKind.ROLLBACK, Phase.SUCCEEDED)
        del world.clusters[B].workloads[two]
        failed = next(run for run in await world.world.runs(B) if run.phase is Phase.FAILED)
        done = await world.world.actions.lift_quarantine(APPROVER, f"q-{failed.id}")
        assert isinstance(done, ActionDone), done
        await world.until_live(two, *FLEET)


async def test_stages_without_an_order_begin_together() -> None:
    """All four wait for health at the same time; a failure ends none of the others."""
    async with fleet(GroupSpec("production")) as world:
        two = "registry.example/api:2"
        for key in (A, C, D):
            world.clusters[key].workloads[two] = Workload(MINUTE)
        world.break_on(two, B)
        await world.push(2)

        async def together() -> bool:
            runs = [(await world.world.runs(key))[-1] for key in (A, C, D)]
            return all(run.step is Step.WAIT_HEALTHY for run in runs)

        await world.world.until(together, "three of them wait for health at once")
        await world.until_live(two, A, C, D)
        await world.until_ended(B, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_group_that_rolls_back_all_takes_back_what_went_live() -> None:
    """The first stage goes back, too, says why, and the release does not come to it again."""
    async with fleet(BACK) as world:
        one, two = "registry.example/api:1", "registry.example/api:2"
        world.break_on(two, B, C)
        await world.push(2)
        await world.until_ended(A, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.until_ended(C, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.world.clock.sleep(10 * MINUTE)
        assert [world.live(key) for key in FLEET] == [[one]] * 4
        ends = await world.endings()
        assert ends["a"] == [LIVE, LIVE, RESTORED]
        assert ends["b"] == ends["c"] == [LIVE, FAILED, RESTORED]
        assert ends["d"] == [LIVE, ("Rollout", "Running", "")]
        head = str(world.world.head)
        (back,) = await fetch_commit_statuses(world.world.services, head, stage="a")
        assert back.state is CommitState.ROLLED_BACK
        assert "failed in b (CrashLoopBackOff) and c (CrashLoopBackOff)" in back.reason
        fix = await world.push(3)
        await world.until_live(fix, *FLEET)


async def test_what_writes_just_now_is_taken_back_half_way() -> None:
    """A stage that the release is being written to ends Aborted, and what it had is restored."""
    group = replace(BACK, order=(), max_failures=0)
    async with fleet(group) as world:
        one, two = "registry.example/api:1", "registry.example/api:2"
        world.break_on(two, B)
        for key in (A, C, D):
            world.clusters[key].workloads[two] = Workload(4 * MINUTE)
        await world.push(2)
        for key in (A, C, D):
            ended = await world.until_ended(key, RunKind.ROLLOUT, Phase.ABORTED)
            assert ended.failure is not None
            assert ended.failure.reason == "GroupStopped"
            assert "failed in b" in ended.failure.message
            await world.until_ended(key, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.world.clock.sleep(10 * MINUTE)
        assert [world.live(key) for key in FLEET] == [[one]] * 4


async def test_a_stage_that_cannot_go_back_calls_a_person() -> None:
    """Nothing was verified there before; the verification is revoked all the same."""
    built = make_fleet(fleet_spec(BACK))
    one = "registry.example/api:1"
    built.break_on(one, B, C)
    async with started(built.world):
        await built.push(1)

        async def stalled() -> bool:
            stage = await built.world.stage(A)
            return stage.stall is not None

        await built.world.until(stalled, "the first stage is stalled")
        stage = await built.world.stage(A)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.NO_TARGET
        assert "is taken back: " in stage.stall.message
        assert "gitopsd rollback shop a" in stage.stall.message
        assert stage.verified is None


async def test_one_vote_is_for_every_plan_that_was_shown() -> None:
    """All or none: a plan that changed since, or a person who may not, stops the whole vote."""
    group = replace(HOLD, approval=APPROVAL)
    async with fleet(group) as world:
        one = await world.push(1)
        services = world.world.services
        await world.until_held(D, "wave 4 of 4")
        waiting = await world.world.store.read(lambda tx: find_waiting(tx, SHOP, "production"))
        assert [run.stage for run in waiting] == list(FLEET)
        plans = {run.id: str(run.plan) for run in waiting}

        async def vote(actor: Actor, shown: dict[str, str]) -> ActionResult:
            ballot = Ballot(Decision.APPROVE, reason="looks good")
            return await vote_for_group(services, actor, SHOP, "production", shown, ballot)

        named = {str(run): plan for run, plan in plans.items()}
        refused = await vote(OTHER, named)
        assert isinstance(refused, ActionRefused)
        assert refused.message.startswith("a: only group:release-managers may vote here")
        changed = await vote(APPROVER, {**named, str(waiting[3].id): "sha256:before"})
        assert isinstance(changed, ActionRefused)
        assert changed.message.startswith("d: the plan changed since you saw it")
        for run in waiting:
            assert await world.world.store.read(_votes_of(run)) == 0
        done = await vote(APPROVER, named)
        assert done == ActionDone("alex approved 4 plans of group production of shop: a, b, c, d")
        again = await vote(APPROVER, named)
        assert again == ActionRefused(409, "these plans were approved by alex already")
        await world.until_live(one, *FLEET)


def _votes_of(run: Run) -> Callable[[Transaction], int]:
    return lambda tx: len(tx.votes.of_run(run.id))


# ---------------------------------------------------------------- kill -9 in the middle


async def _second_and_third_fail(world: Fleet) -> None:
    world.break_on("registry.example/api:2", B, C)
    await world.push(2)
    await world.until_held(D, "failed in b (CrashLoopBackOff) and c (CrashLoopBackOff)")
    await world.until_ended(C, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def _left(world: Fleet) -> tuple[object, ...]:
    """Read what a story left behind, without the names that chance gave."""
    stages = [await world.world.stage(key) for key in (STAGING, *FLEET)]
    return (
        await world.endings(),
        [world.live(key) for key in FLEET],
        [(stage.verified is not None, stage.stall) for stage in stages],
        tuple(str(report) for report in world.world.telemetry.reports),
    )


async def _play(group: GroupSpec, schedule: Schedule) -> tuple[object, int, int]:
    """Play the story; returns what it left, and the effects of the first life before and in all."""
    built = make_fleet(fleet_spec(group))
    async with living(built.world, schedule) as process:
        try:
            await built.push(1)
            await built.until_live("registry.example/api:1", *FLEET)
            first = len(process.lives[0].effects)
            await _second_and_third_fail(built)
            if group.on_failure is OnFailure.ROLLBACK_ALL:
                await built.until_ended(A, RunKind.ROLLBACK, Phase.SUCCEEDED)
            await built.world.until(lambda: _is_idle(built), "nothing is under way")
        except AssertionError as error:
            lives = [life.effects[-1:] for life in process.lives]
            message = f"{schedule}: killed after {lives}: {error}"
            raise AssertionError(message) from error
        return await _left(built), first, len(process.lives[0].effects)


async def _is_idle(world: Fleet) -> bool:
    """Tell whether no run but the held one is live."""
    live = await world.world.store.read(lambda tx: tx.runs.live())
    return [run.stage for run in live] == [D]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group,step", [(HOLD, 1), (BACK, 2)], ids=["hold", "rollbackAll"])
async def test_dying_at_any_moment_changes_nothing(group: GroupSpec, step: int) -> None:
    """After each effect since the bad push: dead, started again, and all ends as without.

    Where all go back, which is the same up to the last of them, every second one will do.
    """
    clean, first, effects = await _play(group, Schedule())
    assert effects - first >= FEWEST_EFFECTS
    for end in range(first, effects + 1, step):
        left, _, _ = await _play(group, Schedule((end,)))
        assert left == clean, f"killed after effect {end}"
