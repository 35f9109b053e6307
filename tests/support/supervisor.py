"""The service under a supervisor that starts it again after every kill."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.nursery import Nursery, Nursling
from tests.support.service_site import ServiceSite, run_site

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

LOOK = 0.05
"""Seconds between two looks at whether the service still runs."""


@dataclass(frozen=True)
class Place:
    """Where stories are played.

    Attributes:
        cluster: The control plane.
        registry: Where the images are.
        nursery: Starts the service.
        directory: For the files of the stories.
        good: Image that works.
        bad: Image whose container ends with an error.
    """

    cluster: ControlPlane
    registry: RegistryServer
    nursery: Nursery
    directory: Path
    good: str
    bad: str


class Supervisor:
    """Starts the service again whenever it was killed, as a machine's init would.

    Attributes:
        crashes: How often it ended.
        surprises: Exit codes of those ends that were no kill.
    """

    def __init__(self, site: ServiceSite, nursery: Nursery, environment: dict[str, str]) -> None:
        self.crashes = 0
        self.surprises: list[int | None] = []
        self._site = site
        self._nursery = nursery
        self._environment = {**site.environment, **environment}
        self._service = self._start()
        self._task = asyncio.create_task(self._watch(), name="supervisor")

    def _start(self) -> Nursling:
        directory = self._site.directory
        info = directory / "info.json"
        info.unlink(missing_ok=True)
        return self._nursery.start(self._environment, info, directory / "gitopsd.log")

    async def _watch(self) -> None:
        while True:
            if self._service.has_ended():
                self.crashes += 1
                if self._service.code != -signal.SIGKILL:
                    self.surprises.append(self._service.code)
                self._service.stop()
                self._service = self._start()
            await pass_time(LOOK)

    def kill(self) -> None:
        """Kill the whole group of the service now."""
        self._service.send(signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and stop starting it again."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._service.stop()


async def pass_time(seconds: float) -> None:
    """Let real time pass: who kills at moments of its own has nothing to wait for."""
    passed = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(seconds, passed.set)
    try:
        await passed.wait()
    finally:
        timer.cancel()


@asynccontextmanager
async def supervised(
    place: Place, name: str, *, gates: str | None = None, **environment: str
) -> AsyncIterator[tuple[ServiceSite, Supervisor]]:
    """Run a site whose service is started again after every crash.

    Args:
        place: Where.
        name: Of the site's directory.
        gates: Production's gates; None for an approval.
        environment: Further variables of the service.
    """
    directory = place.directory / name
    chosen = {} if gates is None else {"gates": gates}
    async with run_site(place.cluster, place.registry, directory, start=False, **chosen) as site:
        site.environment["GITOPSD_POLL_INTERVAL"] = "2s"
        supervisor = Supervisor(site, place.nursery, environment)
        try:
            await site.ready()
            yield site, supervisor
        finally:
            await supervisor.close()
    assert not supervisor.surprises


async def push_again(site: ServiceSite, message: str, manifests: Sequence[str]) -> None:
    """Push; a webhook that finds nobody at home is not sent again, as with GitHub."""
    await site.refresh()
    await site.push(message, *manifests, ring=True)
