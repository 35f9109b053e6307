"""What every doorbell promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gitopsd.ports import Doorbell
from gitopsd.testing.clock import LoopClock

LONG = timedelta(seconds=20)
SHORT = timedelta(milliseconds=50)
NONE = timedelta(0)


async def test_a_ring_wakes_who_waits(doorbell: Doorbell) -> None:
    """Waiting ends with the ring, long before its time is up."""
    waiting = asyncio.create_task(doorbell.wait(LONG))
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop: the wait begins
    await doorbell.ring()
    assert await waiting is True


async def test_a_ring_is_remembered(doorbell: Doorbell) -> None:
    """Whoever comes to wait after the ring does not wait."""
    await doorbell.ring()
    assert await doorbell.wait(NONE) is True


async def test_rings_are_one(doorbell: Doorbell) -> None:
    """Many rings are one reason to look."""
    for _ in range(5):
        await doorbell.ring()
    assert await doorbell.wait(LONG) is True
    assert await doorbell.wait(NONE) is False


async def test_silence_ends_in_time(doorbell: Doorbell) -> None:
    """Nobody rings: False, after the time given and not much later."""
    clock = LoopClock()
    begin = clock.monotonic()
    assert await doorbell.wait(SHORT) is False
    lasted = timedelta(seconds=clock.monotonic() - begin)
    assert SHORT * 0.9 <= lasted < timedelta(seconds=3)
    assert await doorbell.wait(NONE) is False
    assert await doorbell.wait(-SHORT) is False


async def test_everybody_who_waits_is_woken(doorbell: Doorbell) -> None:
    """One ring, two who wait."""
    waiting = [asyncio.create_task(doorbell.wait(LONG)) for _ in range(2)]
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop: the waits begin
    await doorbell.ring()
    assert await asyncio.gather(*waiting) == [True, True]


async def test_waiting_can_be_given_up(doorbell: Doorbell) -> None:
    """A cancelled wait takes no ring with it."""
    waiting = asyncio.create_task(doorbell.wait(LONG))
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop: the wait begins
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await doorbell.ring()
    assert await doorbell.wait(LONG) is True


async def test_ringing_does_not_wait(doorbell: Doorbell) -> None:
    """A hundred rings take no time."""
    async with asyncio.timeout(1):
        for _ in range(100):
            await doorbell.ring()


async def test_a_closed_doorbell_is_silent(doorbell: Doorbell) -> None:
    """Closing is safe to repeat; ringing afterwards neither raises nor reaches anybody."""
    await doorbell.close()
    await doorbell.close()
    await doorbell.ring()
    assert await doorbell.wait(NONE) is False
