"""A doorbell in memory; one of them may stand for the bells of several replicas."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gitopsd.ports import Clock


class MemoryDoorbell:
    """Remembers one ring until somebody waits, like the real ones.

    Args:
        clock: Measures the time-outs of `wait`; the event loop's time when left out.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._closed = False
        self.lost = False

    async def ring(self) -> None:
        """Wake whoever waits; a ring while `lost` is true reaches nobody, as in an outage."""
        if not self.lost and not self._closed:
            self._rung.set()

    async def wait(self, timeout: timedelta) -> bool:
        """Wait for a ring; rings since the last wait count as one."""
        ring = asyncio.ensure_future(self._rung.wait())
        limit = asyncio.ensure_future(self._pass(timeout))
        try:
            await asyncio.wait((ring, limit), return_when=asyncio.FIRST_COMPLETED)
            rung = ring.done() or self._rung.is_set()
        finally:
            ring.cancel()
            limit.cancel()
            await asyncio.gather(ring, limit, return_exceptions=True)
        if rung:
            self._rung.clear()
        return rung

    async def close(self) -> None:
        """Stop listening; later rings reach nobody."""
        self._closed = True

    async def _pass(self, duration: timedelta) -> None:
        if self._clock is None:
            await asyncio.sleep(max(duration.total_seconds(), 0))  # noqa: TID251 - loop time is asked for
        else:
            await self._clock.sleep(duration)
