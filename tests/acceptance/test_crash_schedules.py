"""The whole engine, killed after everything it does, in virtual time: nothing else comes out.

Real: everything of the engine. In memory: everything outside. `test_crash.py` does the same to the
real process, once at every distinct point; here every single moment of several stories is tried,
alone and with more deaths soon after it; with a lock that proves the dead owner dead, as SQLite
has, and with leases alone, as on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.engine.actions import ActionDone
from gitopsd.testing.workloads import Workload
from tests.support.crash_world import Remains, Schedule, living, remains_of
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

GOOD, BAD, FIX = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
CRASHING = Workload(None, "CrashLoopBackOff", "back-off restarting", restarts=3)
STUCK = Workload(None)
FEWEST_EFFECTS = 60
DEATHS = 40
"""How many moments of each story are tried with two more deaths after them."""

Story = Callable[[World], Awaitable[None]]


async def bad_release_rolled_back(world: World) -> None:
    """Release through an approval, then a bad release that is rolled back in staging."""
    world.cluster.workloads[BAD] = CRASHING
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("bad", deployment(BAD), config_map("added", mode="b"))
    await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def stuck_release_overtaken(world: World) -> None:
    """A release that never becomes ready is overtaken by its fix, which goes to production."""
    world.cluster.workloads[BAD] = STUCK
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.push("stuck", deployment(BAD), config_map("added", mode="b"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
    await world.push("fix", deployment(FIX), config_map("settings", mode="c"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def first_release_bad(world: World) -> None:
    """A first release fails with nothing to restore; its fix flows."""
    world.cluster.workloads[BAD] = CRASHING
    await world.push("bad", deployment(BAD), config_map("added", mode="b"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
    await world.push("fix", deployment(FIX))
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def person_goes_back(world: World) -> None:
    """A person rolls staging back, applies it once more, and lets it go on."""
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.push("newer", deployment(FIX), config_map("settings", mode="b"))
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    assert isinstance(await world.actions.rollback(APPROVER, STAGING, None), ActionDone)
    await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
    assert isinstance(await world.actions.sync(APPROVER, STAGING), ActionDone)
    await world.until_run(STAGING, RunKind.SYNC, Phase.SUCCEEDED)
    assert isinstance(await world.actions.resume(APPROVER, STAGING), ActionDone)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)


STORIES = (bad_release_rolled_back, stuck_release_overtaken, first_release_bad, person_goes_back)


async def play(story: Story, schedule: Schedule) -> tuple[Remains, list[list[str]]]:
    """Play a story; returns what it left and what each life did until its end."""
    world = make_world(shop_spec())
    async with living(world, schedule) as process:
        try:
            await story(world)
            await world.until(process.is_idle, "the outbox is empty")
        except AssertionError as error:
            lives = [life.effects[-1:] for life in process.lives]
            message = f"{schedule}: killed after {lives}: {error}"
            raise AssertionError(message) from error
        return await remains_of(world), [life.effects for life in process.lives]


def assert_same(clean: Remains, left: Remains, schedule: Schedule, lives: list[list[str]]) -> None:
    """Compare, naming where it was killed."""
    ends = [effects[-1] for effects in lives[: len(schedule.ends)]]
    assert left == clean, f"{schedule}: killed after {ends}"


@pytest.mark.parametrize("sole", [True, False], ids=["lock", "leases"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_dying_at_any_moment_changes_nothing(story: Story, sole: bool) -> None:
    """After each effect of the story: dead, started again, and everything ends as without.

    With leases alone the dead owner's silence is waited for each time: every third will do.
    """
    clean, lives = await play(story, Schedule(sole=sole))
    assert len(lives[0]) >= FEWEST_EFFECTS
    for end in range(1, len(lives[0]) + 1, 1 if sole else 3):
        schedule = Schedule((end,), sole=sole)
        left, seen = await play(story, schedule)
        assert_same(clean, left, schedule, seen)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_dying_again_and_again_changes_nothing(story: Story) -> None:
    """Three deaths, the later ones soon after the start: what takes over may die itself."""
    clean, lives = await play(story, Schedule())
    stride = max(1, len(lives[0]) // DEATHS)
    for number, first in enumerate(range(1, len(lives[0]) + 1, stride)):
        schedule = Schedule((first, 1 + number * 5 % 14, 1 + number * 3 % 14))
        left, seen = await play(story, schedule)
        assert_same(clean, left, schedule, seen)
