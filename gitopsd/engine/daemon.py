"""The parts that run for as long as the process does: worker, sweep, configuration, heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd import __version__
from gitopsd.domain.runs import RunId
from gitopsd.domain.stages import Lease
from gitopsd.domain.work import Replica
from gitopsd.engine.applications import take_over
from gitopsd.engine.execution import expire_deadlines
from gitopsd.engine.fence_check import check_fences
from gitopsd.engine.renewals import resume_renewed
from gitopsd.engine.replicas import BEAT, beat
from gitopsd.engine.retention import run_retention
from gitopsd.engine.services import Services
from gitopsd.engine.worker import Worker
from gitopsd.errors import GitopsdError
from gitopsd.store_ports import Transaction

RETRY_CONFIGURATION = timedelta(seconds=2)
"""How soon a configuration is stored again when the database did not take it."""

FENCE_GRACE = timedelta(seconds=2)
"""How long the start waits for clusters to say which fence they have."""


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """The configuration folder changed.

    Attributes:
        confirmed: False while so many files vanished at once that nothing may be retired.
    """

    confirmed: bool = True


def release_what_the_dead_hold(tx: Transaction) -> None:
    """Give back every claim and lease; only where no other process can be working.

    Safe to repeat: what is free stays free; the next owner's fence is higher all the same.
    """
    tx.work.release_claims()
    for stage in tx.stages.page():
        if stage.owner and stage.lease_until is not None:
            tx.stages.release(Lease(stage.key, stage.owner, stage.fence, stage.lease_until))


class Daemon:
    """Drives the engine until it is told to stop.

    Args:
        services: The ports.
        changes: Yields each time the configuration in force changed.
        sole: Whether no other process can be working for this installation (SQLite's lock proves
            it), so that claims of a dead predecessor are given back at once.
        work: Whether this process works, or only serves the API and stores deliveries.
    """

    def __init__(
        self,
        services: Services,
        changes: AsyncIterator[ConfigurationChange],
        *,
        sole: bool,
        work: bool = True,
    ) -> None:
        self._services = services
        self._changes = changes
        self._sole = sole
        self._work = work
        self._started_at: datetime | None = None
        self.worker = Worker(services)
        self.ready = asyncio.Event()

    @property
    def works(self) -> bool:
        """Whether this process works on the outbox."""
        return self._work

    async def run(self) -> None:
        """Run until cancelled; a failing part is tried again, it does not end the process."""
        self._started_at = self._services.clock.now()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_configuration(), name="configuration")
            group.create_task(self._beat(), name="heartbeat")
            if self._work:
                await self._begin(group)
                group.create_task(self.worker.run(), name="worker")
                group.create_task(self._sweep(), name="sweep")
                group.create_task(self._tidy(), name="retention")
            self.ready.set()

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        """Take over from a dead predecessor and store the configuration in force.

        Fences are compared before anything may leave its Gate on an approval of the past; clusters
        that are slow to answer are waited for in the background.

        Safe to repeat: claims that are given back are claimed again.
        """
        if self._sole:
            await self._services.store.transact(release_what_the_dead_hold)
        check = group.create_task(self._check_fences(), name="fences")
        grace = asyncio.ensure_future(self._services.clock.sleep(FENCE_GRACE))
        try:
            await asyncio.wait((check, grace), return_when=asyncio.FIRST_COMPLETED)
        finally:
            grace.cancel()
            await asyncio.gather(grace, return_exceptions=True)
        await take_over(self._services)

    async def _check_fences(self) -> None:
        try:
            await check_fences(self._services)
        except Exception as error:  # noqa: BLE001 - a bug must not end the process; writes compare too
            self._services.telemetry.report(error, part="fences")

    async def _follow_configuration(self) -> None:
        async for change in self._changes:
            while not await self._take_over(change):
                await self._services.clock.sleep(RETRY_CONFIGURATION)

    async def _take_over(self, change: ConfigurationChange) -> bool:
        try:
            await take_over(self._services, confirmed=change.confirmed)
        except GitopsdError as error:
            self._services.telemetry.report(error, part="configuration")
            return False
        return True

    async def _sweep(self) -> None:
        """End steps whose time is over, and see replaced credentials, each sweep interval."""
        while True:
            due = self._services.clock.monotonic() + self._services.pace.sweep.total_seconds()
            await self._services.clock.sleep(self._services.pace.sweep)
            lag = max(self._services.clock.monotonic() - due, 0.0)
            self._services.telemetry.observe("gitopsd_event_loop_lag_seconds", lag)
            try:
                for run in await expire_deadlines(self._services):
                    self.worker.cancel_run(RunId(run))
                await resume_renewed(self._services)
            except GitopsdError:
                self._services.telemetry.count("gitopsd_sweeps_failed")
            except Exception as error:  # noqa: BLE001 - a bug must not end the sweep
                self._services.telemetry.report(error, part="sweep")

    async def _tidy(self) -> None:
        """Delete what is old and nothing needs, each hour."""
        while True:
            await self._services.clock.sleep(self._services.pace.tidy)
            try:
                await run_retention(self._services)
            except GitopsdError:
                self._services.telemetry.count("gitopsd_sweeps_failed")
            except Exception as error:  # noqa: BLE001 - a bug must not end the process
                self._services.telemetry.report(error, part="retention")

    async def _beat(self) -> None:
        while True:
            try:
                if await self._services.store.transact(self._show_life):
                    await self._services.doorbell.ring()
            except GitopsdError:
                self._services.telemetry.count("gitopsd_heartbeats_failed")
            await self._services.clock.sleep(BEAT)

    def _show_life(self, tx: Transaction) -> int:
        started_at = self._started_at or tx.now
        return beat(tx, Replica(self._services.replica, started_at, tx.now, __version__))
