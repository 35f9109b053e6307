"""A plan counts for the applied set it was made against, and for no other.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import AbortReason, Phase, RunId, RunKind, Step
from gitopsd.engine.actions import ActionDone
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
)

pytestmark = pytest.mark.looptime

ONE, BAD, FIX = (f"registry.example/api:{number}" for number in (1, 2, 3))


class Holding:
    """Holds the next request about one object up, until it is let go.

    Args:
        method: Which request.
        what: Kind, namespace and name of the object.
        when: Whether it is the time for it; without it, any time is.
    """

    def __init__(
        self, method: str, what: str, when: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        self.came = asyncio.Event()
        self.let_go = asyncio.Event()
        self._method, self._what, self._when = method, what, when

    async def __call__(self, method: str, ref: ObjectRef | None) -> None:
        """Stand before the cluster."""
        if self.came.is_set() or method != self._method or str(ref and ref.key) != self._what:
            return
        if self._when is not None and not await self._when():
            return
        self.came.set()
        await self.let_go.wait()


def is_applying(world: World, stage: StageKey) -> Callable[[], Awaitable[bool]]:
    """Ask whether a run of a stage writes: what is only tried comes before."""

    async def ask() -> bool:
        front = (await world.stage(stage)).front
        return front is not None and (await world.run(front)).step is Step.APPLY

    return ask


def watch_gates(world: World) -> list[str]:
    """Compare every plan with what is applied when its run leaves the Gate; lists the misfits."""
    wrong: list[str] = []

    def look(tx: Transaction) -> None:
        for run in tx.runs.live():
            stage = tx.stages.get(run.stage)
            applied = stage.applied.rendered if stage is not None and stage.applied else None
            if run.step is Step.PREPARE and run.kind is RunKind.ROLLOUT:
                against = run.plan_base
                if against != applied:
                    wrong.append(f"{run.id} was planned against {against}, applied is {applied}")

    world.store.observe = look
    return wrong


async def names_of(world: World, run: RunId) -> list[tuple[str, str]]:
    """List a run's events as (step, name)."""
    events = await world.store.read(lambda tx: tx.runs.events(run))
    return [(event.step.value if event.step else "", event.name) for event in events]


async def bring_a_and_offer_b(world: World) -> None:
    """Release one mode to production, and let another one wait for its approval there."""
    await world.push("a", config_map("settings", mode="a"))
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("b", config_map("settings", mode="b"))
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)


async def test_a_restore_sends_the_run_in_validate_back() -> None:
    """A fix whose dry-run is under way when a Rollback is commanded is validated anew."""
    async with running_world() as world:
        wrong = watch_gates(world)
        behaviour = world.cluster.workloads[BAD] = Workload(None)
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        held = world.cluster.before = Holding("apply", "ConfigMap shop-staging/fix")
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await world.push("fix", deployment(FIX), config_map("fix", a="b"))
        await held.came.wait()
        fix = (await world.stage(STAGING)).next
        assert fix is not None
        assert (await world.run(fix)).step is Step.VALIDATE
        behaviour.waiting, behaviour.restarts = "CrashLoopBackOff", 4
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        held.let_go.set()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert ("Validate", "AppliedChanged") in await names_of(world, fix)
        assert not wrong


async def test_what_goes_back_while_an_apply_is_under_way_needs_its_approval() -> None:
    """A dry-run that saw the objects before they were written makes no empty plan."""
    async with running_world() as world:
        wrong = watch_gates(world)
        await bring_a_and_offer_b(world)
        writes = is_applying(world, PRODUCTION)
        held = world.cluster.before = Holding("apply", "ConfigMap shop/settings", writes)
        await world.approve()
        await held.came.wait()
        await world.push("back to a", config_map("settings", mode="a"))
        back = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(timedelta(seconds=10))
        held.let_go.set()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(timedelta(minutes=10))

        assert (await world.run(back.id)).step is Step.GATE
        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "b"}
        approved = await world.actions.approve(APPROVER, back.id, "", "")
        assert isinstance(approved, ActionDone), approved
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "a"}
        assert not wrong


async def test_what_goes_back_before_anything_is_applied_takes_over() -> None:
    """A release like what runs ends one that prepares to change it, and asks nobody for that."""
    async with running_world() as world:
        wrong = watch_gates(world)
        await bring_a_and_offer_b(world)
        held = world.cluster.before = Holding("apply", "ConfigMap shop/settings")
        await world.approve()
        await held.came.wait()
        await world.push("back to a", config_map("settings", mode="a"))
        await world.clock.sleep(timedelta(seconds=10))
        held.let_go.set()
        overtaken = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert overtaken.failure is not None
        assert overtaken.failure.reason == AbortReason.SUPERSEDED.value
        assert world.cluster.writes().count(("apply", "ConfigMap shop/settings")) == 1
        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "a"}
        assert not wrong


async def test_a_newer_release_takes_over_in_the_middle_of_an_apply() -> None:
    """Without a gate that asks people, the plan against what is being applied is good enough."""
    async with running_world() as world:
        wrong = watch_gates(world)
        await world.push("a", config_map("settings", mode="a"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("b", config_map("settings", mode="b"))
        writes = is_applying(world, STAGING)
        held = world.cluster.before = Holding("apply", "ConfigMap shop-staging/settings", writes)
        await held.came.wait()
        await world.push("c", config_map("settings", mode="c"))
        await world.clock.sleep(timedelta(seconds=10))
        held.let_go.set()
        overtaken = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert overtaken.failure is not None
        assert overtaken.failure.reason == AbortReason.SUPERSEDED.value
        assert world.cluster.live()["ConfigMap shop-staging/settings"]["data"] == {"mode": "c"}
        assert not wrong


async def test_a_plan_against_another_destination_is_made_anew() -> None:
    """A destination that changes under a waiting run takes its approval away with its plan."""
    async with running_world() as world:
        wrong = watch_gates(world)
        await world.push("one", deployment(ONE))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(FIX))
        waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        spec = world.configuration[0].applications[SHOP]
        moved = replace(spec.stages[1], namespace="elsewhere")
        changed = replace(spec, stages=(spec.stages[0], moved), digest="2")
        await world.configure(replace(world.configuration[0], applications={SHOP: changed}))
        await world.clock.sleep(timedelta(minutes=2))
        planned = await world.run(waiting.id)

        assert planned.step is Step.GATE
        assert planned.plan != waiting.plan
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert not wrong
