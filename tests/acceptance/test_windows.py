"""A release goes on when its window opens.

Real: the engine. In memory: everything outside, in virtual time that begins on a Monday at 09:00.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, GateAnswer
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.windows import CronWindow, Overrun, WeeklyWindow, WindowGate
from gitopsd.domain.work import Page
from gitopsd.engine.actions import ActionDone, ActionRefused, Actor
from gitopsd.engine.queries import load_gates
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    World,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE = "registry.example/api:1"
MORNING = WeeklyWindow("Mon 10:20-11:00", (0,), 10 * 60 + 20, 11 * 60)
GATE = WindowGate((MORNING,), timezone="Europe/Madrid")
OPENS = datetime(2026, 1, 5, 9, 20, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def windowed(gate: WindowGate = GATE) -> ApplicationSpec:
    """The shop, whose production is let in for a while."""
    certify = timedelta(minutes=3)
    return shop_spec(lambda stage: replace(stage, gates=(gate,), certify=certify))


async def at_gate(world: World) -> tuple[Run, GateAnswer]:
    """Production's run, and what its window says."""
    await world.push("one", deployment(ONE))
    run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(timedelta(seconds=2))
    states = await world.store.read(lambda tx: load_gates(tx, run))
    return run, next(state.answer for state in states if state.name == "window")


async def left_gate(world: World, run: Run) -> datetime:
    """When a run was let in."""
    events = await world.store.read(lambda tx: tx.runs.events(run.id))
    return next(
        event.at for event in events if event.step is Step.GATE and event.name == "StepSucceeded"
    )


async def test_a_release_waits_for_its_window_and_goes_on_when_it_opens() -> None:
    """It says beforehand when that is, and by whose clock; then it takes a second, not a sweep."""
    async with running_world(windowed()) as world:
        run, said = await at_gate(world)
        when = "Mon 2026-01-05 10:20 Europe/Madrid"
        assert said == Closed(
            f"outside of its hours; opens {when}",
            f"wait until {when}, or: gitopsd skip {run.id} window --reason WHY",
            OPENS,
        )
        await world.clock.sleep(OPENS - SECOND - world.clock.now())
        assert (await world.run(run.id)).step is Step.GATE
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert OPENS <= await left_gate(world, done) <= OPENS + 2 * SECOND


async def test_what_has_begun_to_write_finishes_after_the_window_closed() -> None:
    """The rule where none is written: a window of a minute lets a longer run through."""
    minute = CronWindow("10 9 * * *", timedelta(minutes=1))
    gate = WindowGate((minute,))
    assert gate.overrun is Overrun.FINISH
    async with running_world(windowed(gate)) as world:
        run, said = await at_gate(world)
        assert isinstance(said, Closed)
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert done.ended_at is not None
        assert done.ended_at >= datetime(2026, 1, 5, 9, 11, tzinfo=UTC)


async def test_a_window_that_is_far_away_costs_no_approval() -> None:
    """Approved on Monday, let in eleven days later: the same run, and nobody was asked twice."""
    far = CronWindow("0 9 16 1 *", timedelta(hours=2))
    gates = (ApprovalGate(("group:release-managers",)), WindowGate((far,)))
    world = make_world(shop_spec(lambda stage: replace(stage, gates=gates)))
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.approve()
        await world.clock.sleep(timedelta(minutes=2))
    await world.clock.sleep(timedelta(days=11) - timedelta(minutes=5))
    async with started(world):
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert [run.id for run in await world.runs(PRODUCTION)] == [done.id]
        assert await left_gate(world, done) >= datetime(2026, 1, 16, 9, tzinfo=UTC)


async def test_whom_the_window_names_may_pass_it_and_nobody_else() -> None:
    """In an emergency, with a reason; the refusal is audited as the skip is."""
    leads = replace(GATE, override=("group:leads",))
    async with running_world(windowed(leads)) as world:
        run, said = await at_gate(world)
        assert isinstance(said, Closed)
        assert "(by group:leads)" in said.opener
        why, lead = "the shop is down", Actor("lee", ("leads",))
        told = await world.actions.skip(APPROVER, run.id, "window", plan="", reason=why)
        assert isinstance(told, ActionRefused)
        assert told.status == 403
        assert told.message.startswith("only group:leads may skip window, not user:alex")
        skipped = await world.actions.skip(lead, run.id, "window", plan="", reason=why)
        assert isinstance(skipped, ActionDone), skipped
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert (done.id, await left_gate(world, done) < OPENS) == (run.id, True)
        log = await world.store.read(lambda tx: tx.records.audit(Page(2)))
        assert [(one.subject, one.action, one.outcome, one.details["reason"]) for one in log] == [
            ("lee", "skip", "done", why),
            ("alex", "skip", f"refused: {told.message}", why),
        ]
