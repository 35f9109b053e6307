"""Deliveries that arrive together are stored together: one commit for all who wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gitopsd.domain.sources import Delivery
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.errors import TemporaryError
from gitopsd.store_ports import Store, Transaction

MOST_TOGETHER = 128
"""Deliveries in one transaction at most; others wait for the writer meanwhile."""

MOST_BYTES_TOGETHER = 4 * 1024 * 1024
"""Bytes of bodies after which a transaction takes no further delivery."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    delivery: Delivery
    stored: asyncio.Future[None]


@dataclass(slots=True)
class Inbox:
    """Stores deliveries; each commit takes all that came during the one before it."""

    _waiting: deque[_Waiting] = field(default_factory=deque)
    _storing: asyncio.Task[None] | None = None

    async def store(self, store: Store, delivery: Delivery) -> None:
        """Store a delivery and the work on it; returns when both are committed.

        Safe to repeat: the same delivery is stored once, and its work asked for again. When the
        caller is cancelled, the transaction under way ends first.

        Raises:
            TemporaryError: The store does not answer, or its answer to the COMMIT was lost.
        """
        mine = _Waiting(delivery, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_all(store), name="inbox")
        try:
            await mine.stored
        except asyncio.CancelledError:
            await asyncio.wait([self._storing])
            raise

    async def _store_all(self, store: Store) -> None:
        while self._waiting:
            taken = self._take()
            try:
                await _commit(store, taken)
            except asyncio.CancelledError:
                for one in (*taken, *self._waiting):
                    one.stored.cancel()
                self._waiting.clear()
                raise

    def _take(self) -> list[_Waiting]:
        """Take what goes into one transaction, oldest first; whoever gave up is passed over."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < MOST_TOGETHER and size < MOST_BYTES_TOGETHER:
            one = self._waiting.popleft()
            if not one.stored.done():
                taken.append(one)
                size += len(one.delivery.body)
        return taken


async def _commit(store: Store, taken: Sequence[_Waiting]) -> None:
    """Store deliveries in one transaction, and say so to each that waits."""
    deliveries = [one.delivery for one in taken]
    try:
        await store.transact(lambda tx: _add(tx, deliveries))
    except Exception as error:  # noqa: BLE001 - told to those who wait, each of whom handles it
        if len(taken) > 1 and not isinstance(error, TemporaryError):
            for one in taken:  # one of them cannot be stored: that is no trouble of the others
                await _commit(store, [one])
            return
        for one in taken:
            if not one.stored.done():
                one.stored.set_exception(error)
        return
    for one in taken:
        if not one.stored.done():
            one.stored.set_result(None)


def _add(tx: Transaction, deliveries: Sequence[Delivery]) -> None:
    tx.deliveries.add_all([replace(one, received_at=tx.now) for one in deliveries])
    tx.work.add_all(
        [
            WorkItem(
                key=f"delivery:{one.id}",
                kind=WorkKind.PROCESS_DELIVERY,
                subject=one.id,
                due_at=tx.now,
            )
            for one in deliveries
        ]
    )
