"""Clocks for tests: one that is set by hand, one that follows the event loop's own time."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""Where test clocks begin: a Monday morning."""


class ManualClock:
    """A clock that moves only when `advance` says so; implements ``ports.Clock``.

    Args:
        start: First time of day, aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._now = start
        self._set_back = timedelta(0)
        self._numbers = count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._changed: asyncio.Event | None = None

    def now(self) -> datetime:
        """Tell the time of day."""
        return self._now - self._set_back

    def monotonic(self) -> float:
        """Tell the seconds that were advanced since the start."""
        return (self._now - self._start).total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the clock was advanced by ``duration``; zero or less lets others run once."""
        if duration <= timedelta(0):
            await asyncio.sleep(0)  # noqa: TID251 - lets others run, waits for nothing
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + duration, next(self._numbers), waiter))
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        await waiter

    def advance(self, duration: timedelta) -> None:
        """Move the clock on and wake everybody whose time has come, in the order of their times.

        Those woken run when the caller next awaits, and see the new time.
        """
        self._now += duration
        while self._sleepers and self._sleepers[0][0] <= self._now:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)

    def set_back(self, duration: timedelta) -> None:
        """Set the time of day back, as a step of the machine's clock does; sleepers do not care."""
        self._set_back += duration

    @property
    def sleeping(self) -> int:
        """How many wait for the clock."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    @property
    def next_wake(self) -> timedelta | None:
        """How long to advance until the next sleeper wakes; None when nobody sleeps."""
        times = [when for when, _, waiter in self._sleepers if not waiter.done()]
        return min(times) - self._now if times else None

    async def until_sleeping(self, number: int) -> None:
        """Wait until at least ``number`` tasks wait for the clock."""
        while self.sleeping < number:
            changed = self._changed = self._changed or asyncio.Event()
            await changed.wait()


class LoopClock:
    """The event loop's time as a clock: real on a plain loop, virtual on a virtual-time loop.

    Args:
        start: Time of day at the loop's second zero, aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start

    def now(self) -> datetime:
        """Tell the time of day."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Tell the loop's seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, duration: timedelta) -> None:
        """Wait on the loop; zero or less lets others run once."""
        await asyncio.sleep(max(duration.total_seconds(), 0))  # noqa: TID251 - this is a clock
