"""The clocks that tests use keep the promises of the Clock port."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gitopsd.ports import Clock
from gitopsd.testing.clock import START, LoopClock, ManualClock

SECOND = timedelta(seconds=1)


async def test_a_manual_clock_moves_only_when_told() -> None:
    """Time of day and monotonic seconds advance together, and by nothing else."""
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)

    clock.advance(90 * SECOND)

    assert (clock.now(), clock.monotonic()) == (START + 90 * SECOND, 90.0)


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Who sleeps shorter wakes first; who is not due sleeps on."""
    clock = ManualClock()
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds * SECOND)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2, 9)]
    await clock.until_sleeping(4)
    assert clock.next_wake == SECOND
    clock.advance(5 * SECOND)
    await asyncio.gather(*tasks[:3])

    assert woken == [1, 2, 3]
    assert clock.sleeping == 1
    assert clock.next_wake == 4 * SECOND
    clock.advance(4 * SECOND)
    await tasks[3]
    assert clock.sleeping == 0
    assert clock.next_wake is None


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Nobody waits for who stopped waiting."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(SECOND))
    await clock.until_sleeping(1)
    task.cancel()
    await asyncio.wait([task])

    assert clock.sleeping == 0
    clock.advance(SECOND)


async def test_setting_the_time_back_wakes_nobody() -> None:
    """The time of day goes back; monotonic seconds and sleepers do not notice."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(2 * SECOND))
    await clock.until_sleeping(1)
    clock.advance(SECOND)
    clock.set_back(timedelta(hours=1))

    assert (clock.now(), clock.monotonic()) == (START + SECOND - timedelta(hours=1), 1.0)
    assert not task.done()
    clock.advance(SECOND)
    await task


@pytest.mark.parametrize("clock", [ManualClock(), LoopClock()], ids=["manual", "loop"])
async def test_a_sleep_of_nothing_lets_others_run(clock: Clock) -> None:
    """Zero and less end at once, after others had their turn."""
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(timedelta(0))
    await clock.sleep(-SECOND)
    await task

    assert turns == ["other"]


@pytest.mark.looptime
async def test_a_loop_clock_follows_virtual_time() -> None:
    """On a loop with virtual time an hour passes at once, and exactly."""
    clock = LoopClock()
    before, seconds = clock.now(), clock.monotonic()

    await clock.sleep(timedelta(hours=1))

    assert clock.now() - before == timedelta(hours=1)
    assert clock.monotonic() - seconds == 3600
