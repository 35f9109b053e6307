"""Puts a cluster's controllers together on its store.

with ClusterControllers(api.store, clock, certificate=pem) as controllers:
    task = asyncio.create_task(controllers.run())
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from gitopsd.sandbox.api.keys import AlreadyExists, Key
from gitopsd.sandbox.controllers.admission import Admission
from gitopsd.sandbox.controllers.claims import STANDARD_CLASS
from gitopsd.sandbox.controllers.desk import Desk
from gitopsd.sandbox.controllers.event_journal import EventJournal
from gitopsd.sandbox.controllers.facts import STORAGE_CLASS, Facts
from gitopsd.sandbox.controllers.reading import name_of
from gitopsd.sandbox.controllers.roster import every_controller
from gitopsd.sandbox.controllers.runner import CONTROLLER_MANAGER, ControllerRunner

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock


class ClusterControllers:
    """Every controller and the scheduler of one cluster; use it as a context manager.

    Args:
        store: The cluster's objects; it completes what controllers write (see its ``stamp``).
        clock: Time.
        certificate: The authority's certificate (PEM), which each namespace gets.

    Attributes:
        admission: To be asked about every new object, whoever makes it.
    """

    def __init__(self, store: ObjectStore, clock: Clock, *, certificate: str) -> None:
        self._store = store
        self.admission = Admission(self._facts)
        journal = EventJournal(store, clock)
        desk = Desk(store, journal, admit=self.admission, clock=clock)
        controllers = every_controller(certificate)
        self._runner = ControllerRunner(store, desk, controllers, clock)

    def __enter__(self) -> Self:
        """Follow the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow it no longer."""
        self._runner.__exit__(kind, error, trace)

    def create_first_objects(self) -> None:
        """Make what controllers of a new cluster find there: the default StorageClass.

        Safe to repeat: what is there stays as it is.
        """
        key = Key(*STORAGE_CLASS.resource, "", name_of(STANDARD_CLASS))
        with suppress(AlreadyExists):
            self._store.create(key, STANDARD_CLASS, manager=CONTROLLER_MANAGER)

    def settle(self) -> int:
        """Do all that is due now; returns how many pieces of work that was."""
        return self._runner.settle()

    def next_due(self) -> datetime | None:
        """When work is due that waits for a time; None when only a change can bring some."""
        return self._runner.next_due()

    def _facts(self) -> Facts:
        return self._runner.facts()

    async def run(self) -> None:
        """Work for ever; see :class:`ControllerRunner`."""
        await self._runner.run()
