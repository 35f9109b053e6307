"""The store in memory: no threads, no files, deterministic, with the real store's behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

from gitopsd.errors import TemporaryError
from gitopsd.ports import Clock
from gitopsd.store_ports import Transaction
from gitopsd.testing.memory_agreements import MemoryAgreements
from gitopsd.testing.memory_handles import MemoryHandles
from gitopsd.testing.memory_images import MemoryImages
from gitopsd.testing.memory_people import MemoryPushes, MemorySkips, MemoryVotes
from gitopsd.testing.memory_records import MemoryRecords
from gitopsd.testing.memory_runs import MemoryRuns, MemoryWork
from gitopsd.testing.memory_sources import (
    MemoryDeliveries,
    MemoryRefs,
    MemoryReleases,
    MemoryRenderedSets,
    MemorySpecs,
)
from gitopsd.testing.memory_stages import (
    MemoryQuarantines,
    MemoryStages,
    MemoryVerifications,
)
from gitopsd.testing.memory_tables import Journal

T = TypeVar("T")


class MemoryTransaction:
    """Everything stored, inside one transaction; implements ``store_ports.Transaction``.

    Args:
        journal: Undoes what a failing transaction wrote.
        installation: Id of the installation.
        sensitive_kinds: Kinds whose bodies need an encryption key.
        has_key: Whether to behave as with an encryption key.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        installation: str,
        sensitive_kinds: Iterable[str],
        has_key: bool,
    ) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)
        self.installation = installation
        self.deliveries = MemoryDeliveries(journal)
        self.refs = MemoryRefs(journal)
        self.pushes = MemoryPushes(journal)
        self.releases = MemoryReleases(journal)
        self.images = MemoryImages(journal)
        self.rendered = MemoryRenderedSets(
            journal, frozenset({"Secret", *sensitive_kinds}), has_key=has_key
        )
        self.specs = MemorySpecs(journal)
        self.stages = MemoryStages(journal, lambda: self.now)
        self.verifications = MemoryVerifications(journal)
        self.runs = MemoryRuns(journal, self.releases.get)
        self.work = MemoryWork(journal, lambda: self.now)
        self.votes = MemoryVotes(journal)
        self.skips = MemorySkips(journal)
        self.agreements = MemoryAgreements(journal)
        self.quarantines = MemoryQuarantines(journal)
        self.handles = MemoryHandles(journal)
        self.records = MemoryRecords(journal, lambda: self.now)


class MemoryStore:
    """The store in memory; implements ``store_ports.Store``.

    Args:
        clock: Its ``now`` is the database's clock.
        installation: Id of the installation.
        sensitive_kinds: Kinds besides Secret whose bodies need an encryption key.
        has_key: Whether to behave as with an encryption key; nothing is encrypted in memory.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        installation: str = "memory",
        sensitive_kinds: Iterable[str] = (),
        has_key: bool = True,
    ) -> None:
        self._clock = clock
        self._journal = Journal()
        self._last: datetime | None = None
        self._open = True
        self._tables = MemoryTransaction(
            self._journal,
            installation=installation,
            sensitive_kinds=sensitive_kinds,
            has_key=has_key,
        )
        self.unavailable = False
        """Set it to make every transaction fail as with a database that does not answer."""
        self.rendered = self._tables.rendered
        """Where rendered sets can be lost."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction and commit; anything it raises rolls back.

        Raises:
            ConflictError: A conditional write lost.
            TemporaryError: `unavailable` is set, or the store is closed.
        """
        return await self._run(work, writable=True)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on one consistent snapshot.

        Raises:
            PermanentError: It wrote.
            TemporaryError: `unavailable` is set, or the store is closed.
        """
        return await self._run(work, writable=False)

    def back_up(self) -> None:
        """Remember what is stored now."""
        self._journal.back_up()

    def restore(self) -> None:
        """Hold what `back_up` remembered last, as a database does that was restored from it."""
        self._journal.restore()

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False

    async def _run(self, work: Callable[[Transaction], T], *, writable: bool) -> T:
        await asyncio.sleep(0)  # noqa: TID251 - others run while a real database would be asked
        if self.unavailable or not self._open:
            raise TemporaryError("The database does not answer; it is asked again.")
        now = self._clock.now()
        self._last = now if self._last is None else max(now, self._last)
        self._tables.now = self._last
        self._journal.writable = writable
        try:
            answer = work(self._tables)
        except BaseException:
            self._journal.roll_back()
            raise
        finally:
            self._journal.writable = False
        self._journal.commit()
        return answer
