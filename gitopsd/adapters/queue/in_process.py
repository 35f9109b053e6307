"""A doorbell for one process."""

from __future__ import annotations

import asyncio
from datetime import timedelta


class InProcessDoorbell:
    """Wakes those who wait in this process; implements ``ports.Doorbell``."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._closed = False

    async def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        if not self._closed:
            self._rung.set()

    async def wait(self, timeout: timedelta) -> bool:
        """Wait for a ring; rings since the last wait count as one."""
        return await wait_for_event(self._rung, timeout)

    async def close(self) -> None:
        """Stop listening; later rings reach nobody."""
        self._closed = True


async def wait_for_event(event: asyncio.Event, timeout: timedelta) -> bool:
    """Wait until an event is set and clear it; False when it was not set in time."""
    try:
        async with asyncio.timeout(max(timeout.total_seconds(), 0)):
            await event.wait()
    except TimeoutError:
        if not event.is_set():
            return False
    event.clear()
    return True
