"""``gitopsd serve`` in a flood of deliveries: its memory, and SIGKILL in the middle."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from gitopsd.domain.sources import DeliveryState
from gitopsd.sandbox.hosts.push_hooks import sign_push
from tests.support.processes import wait_until
from tests.support.service_process import SECRET, Site

SENDERS = 32
BODY_BYTES = 20_480
WITHIN = timedelta(seconds=60)


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """An installation, taken down at the end."""
    site = Site.make(tmp_path)
    yield site
    site.stop_all()


class Flood:
    """Senders that go on until the service is gone, or they have sent enough.

    Attributes:
        acknowledged: Ids of deliveries that were answered 202.
        most: How many are sent at most.
        enough: Set when so many were acknowledged.
    """

    def __init__(self, most: int, enough: int) -> None:
        self.acknowledged: set[str] = set()
        self.most = most
        self.enough = asyncio.Event()
        self._enough = enough
        self._sent = 0

    async def send(self, api: str) -> None:
        """Send from many addresses at once."""
        await asyncio.gather(*(self._send_from(f"127.0.2.{n + 1}", api) for n in range(SENDERS)))

    async def _send_from(self, address: str, api: str) -> None:
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            while self._sent < self.most:
                self._sent += 1
                body = b'{"ref": "%d"}' % self._sent
                body += b" " * (BODY_BYTES - len(body))
                headers = sign_push(body, SECRET.encode())
                try:
                    url = f"{api}/hooks/github"
                    async with session.post(url, data=body, headers=headers) as answer:
                        await answer.read()
                        if answer.status == 202:
                            self.acknowledged.add(headers["X-GitHub-Delivery"])
                except (aiohttp.ClientError, OSError):
                    return
                if len(self.acknowledged) >= self._enough:
                    self.enough.set()


def read_inbox(site: Site) -> dict[str, str]:
    """Read what became of every stored delivery, by the id that its sender gave it."""
    database = sqlite3.connect(f"file:{site.directory / 'data' / 'gitopsd.db'}?mode=ro", uri=True)
    with closing(database):
        rows = database.execute("SELECT key, state FROM deliveries").fetchall()
    return {key.rpartition("/")[2]: state for key, state in rows}


async def test_what_was_acknowledged_survives_sigkill_in_a_flood(site: Site) -> None:
    """Killed while hundreds are on their way, it has each delivery that it said was stored."""
    info = await asyncio.to_thread(site.start, "serve")
    flood = Flood(most=100_000, enough=400)
    sending = asyncio.create_task(flood.send(info["api"]))
    await flood.enough.wait()
    site.kill()
    await sending
    await asyncio.to_thread(site.start, "serve")
    kept = read_inbox(site)
    await asyncio.to_thread(
        wait_until,
        lambda: DeliveryState.STORED.value not in read_inbox(site).values(),
        what="everything is worked on",
        within=WITHIN,
    )

    assert len(flood.acknowledged) >= 400
    assert flood.acknowledged <= kept.keys()


async def test_a_flood_does_not_grow_the_process(site: Site) -> None:
    """What was stored is on disk and nowhere else: 40 MB of deliveries leave no 40 MB behind."""
    info = await asyncio.to_thread(site.start, "serve")
    warm = Flood(most=400, enough=400)
    await warm.send(info["api"])
    before = read_megabytes(info["pid"])
    flood = Flood(most=2000, enough=2000)
    await flood.send(info["api"])
    grown = read_megabytes(info["pid"]) - before

    assert len(flood.acknowledged) == 2000
    assert grown < 30


def read_megabytes(pid: int) -> float:
    """Read how much memory a process holds."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1000
