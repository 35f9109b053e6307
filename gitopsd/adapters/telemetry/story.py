"""Logs what happens to releases, in the words that channels and ``gitopsd events`` get."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, cast

from gitopsd.domain.sources import Delivery, DeliveryState
from gitopsd.domain.work import Notification
from gitopsd.pipeline.commands import Trigger
from gitopsd.record_ports import Deliveries, Records
from gitopsd.store_ports import Store, Transaction

T = TypeVar("T")

_LOG = logging.getLogger("gitopsd.story")

_WARNINGS = frozenset(
    trigger.value
    for trigger in (
        Trigger.RUN_ERRORED,
        Trigger.VERIFICATION_FAILED,
        Trigger.HEALTH_DEGRADED,
        Trigger.ROLLBACK_STARTED,
        Trigger.ROLLBACK_FAILED,
        Trigger.GIT_DISAGREES,
        Trigger.DRIFT_DETECTED,
        Trigger.FROZEN,
        Trigger.STALLED,
    )
)


class TellingStore:
    """A store that logs the notifications and dead letters which a committed transaction stored.

    Args:
        store: The real one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.transact`. Logged once, after the commit."""
        noted: list[Notification | Delivery] = []

        def noting(tx: Transaction) -> T:
            noted.clear()
            return work(cast("Transaction", _NotingTransaction(tx, noted)))

        answer = await self._store.transact(noting)
        for one in noted:
            _tell(one)
        return answer

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.read`."""
        return await self._store.read(work)

    async def close(self) -> None:
        """Close the real one."""
        await self._store.close()


def _tell(one: Notification | Delivery) -> None:
    if isinstance(one, Delivery):
        said = "delivery %s of receiver %s cannot be used: %s"
        _LOG.warning(said, one.id, one.receiver, one.reason, extra={"receiver": one.receiver})
        return
    fields = {"trigger": one.trigger, "application": one.application, "stage": one.stage}
    fields |= {key: str(one.details.get(key) or "") for key in ("run", "release", "commit")}
    level = logging.WARNING if one.trigger in _WARNINGS else logging.INFO
    _LOG.log(level, "%s", one.message, extra={key: value for key, value in fields.items() if value})


class _NotingTransaction:
    """A transaction that notes what is worth a line; everything else is the real one's."""

    def __init__(self, inner: Transaction, noted: list[Notification | Delivery]) -> None:
        self._inner = inner
        self._noted = noted

    @property
    def records(self) -> Records:
        """Records that note new notifications."""
        return cast("Records", _NotingRecords(self._inner.records, self._noted))

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries that note dead letters."""
        return cast("Deliveries", _NotingDeliveries(self._inner.deliveries, self._noted))

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _NotingRecords:
    def __init__(self, inner: Records, noted: list[Notification | Delivery]) -> None:
        self._inner = inner
        self._noted = noted

    def add_notification(self, notification: Notification) -> bool:
        """Store a notification, and note it when it is new."""
        added = self._inner.add_notification(notification)
        if added:
            self._noted.append(notification)
        return added

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _NotingDeliveries:
    def __init__(self, inner: Deliveries, noted: list[Notification | Delivery]) -> None:
        self._inner = inner
        self._noted = noted

    def save(self, delivery: Delivery) -> None:
        """Store a delivery, and note it when nobody can use it."""
        self._inner.save(delivery)
        if delivery.state is DeliveryState.DEAD_LETTERED:
            self._noted.append(delivery)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
