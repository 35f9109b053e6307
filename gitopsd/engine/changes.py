"""Tells whoever waits that something stored may have changed.

A hint like every ring: who waits looks again, and a sweep makes up for a lost one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from gitopsd.ports import Clock, Doorbell
from gitopsd.store_ports import Store, Transaction

T = TypeVar("T")


class Changes:
    """Wakes any number of waiters of this process.

    Args:
        clock: Measures how long they wait.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the process is ending and nobody should wait any more."""
        return self._closed

    def announce(self) -> None:
        """Wake everybody who waits now."""
        waiting, self._next = self._next, asyncio.Event()
        waiting.set()

    def close(self) -> None:
        """Wake everybody, for good."""
        self._closed = True
        self.announce()

    def mark(self) -> asyncio.Event:
        """Take what `wait` waits for, before looking: nothing in between is missed."""
        return self._next

    async def wait(self, mark: asyncio.Event, timeout: timedelta) -> bool:
        """Wait for a change since ``mark`` was taken; False when ``timeout`` passed first."""
        if self._closed or mark.is_set():
            return True
        change = asyncio.ensure_future(mark.wait())
        limit = asyncio.ensure_future(self._clock.sleep(timeout))
        try:
            await asyncio.wait((change, limit), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            limit.cancel()
            await asyncio.gather(change, limit, return_exceptions=True)
        return mark.is_set()


class AnnouncingStore:
    """A store that announces each committed transaction.

    Args:
        store: The real one.
        changes: Who is told.
    """

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.transact`."""
        answer = await self._store.transact(work)
        self._changes.announce()
        return answer

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.read`."""
        return await self._store.read(work)

    async def close(self) -> None:
        """Close the real one."""
        await self._store.close()


class AnnouncingDoorbell:
    """A doorbell that announces each ring from other processes, too.

    Args:
        doorbell: The real one.
        changes: Who is told.
    """

    def __init__(self, doorbell: Doorbell, changes: Changes) -> None:
        self._doorbell = doorbell
        self._changes = changes

    async def ring(self) -> None:
        """See `gitopsd.ports.Doorbell.ring`."""
        await self._doorbell.ring()

    async def wait(self, timeout: timedelta) -> bool:
        """See `gitopsd.ports.Doorbell.wait`."""
        rung = await self._doorbell.wait(timeout)
        if rung:
            self._changes.announce()
        return rung

    async def close(self) -> None:
        """Stop listening."""
        await self._doorbell.close()
