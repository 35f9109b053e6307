"""A real Prometheus (Debian's ``prometheus``) on loopback, and what it scrapes.

async with run_exporter() as exporter, run_prometheus(folder, exporter) as server:
    exporter.gauges["errors_ratio"] = "0.01"
    await server.until("errors_ratio")
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.processes import ServerEndedError, ServerProcess, wait_until

READY = timedelta(seconds=30)
SCRAPE = "200ms"
SCRAPES = 100
_PORTS_TRIED = 3
_CONFIG = """\
global: {{scrape_interval: {scrape}, scrape_timeout: {scrape}}}
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{target}"]}}]
"""


def find_prometheus() -> str:
    """Find the program.

    Raises:
        FileNotFoundError: It is not there; ``make servers`` installs it.
    """
    found = shutil.which("prometheus")
    if found is None:
        message = "no prometheus on this machine; `make servers` installs it"
        raise FileNotFoundError(message)
    return found


@dataclass
class Exporter:
    """What is scraped.

    Attributes:
        target: ``host:port``.
        gauges: Name, with labels if any -> value as the text format has it.
        scraped: Set by the next scrape.
    """

    target: str = ""
    gauges: dict[str, str] = field(default_factory=dict)
    scraped: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, _: web.Request) -> web.Response:
        """Answer one scrape."""
        self.scraped.set()
        self.scraped = asyncio.Event()
        text = "".join(f"{name} {value}\n" for name, value in self.gauges.items())
        return web.Response(text=text, content_type="text/plain")


@dataclass
class PrometheusServer:
    """A running server.

    Attributes:
        url: Its address.
        exporter: What it scrapes.
    """

    url: str
    exporter: Exporter

    async def query(self, query: str) -> list[Any]:
        """Ask for the series of a query, now."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer,
        ):
            document = await answer.json()
        assert document["status"] == "success", document
        found: list[Any] = document["data"]["result"]
        return found

    async def until(self, query: str) -> None:
        """Wait, from one scrape to the next, until a query finds something."""
        for _ in range(SCRAPES):
            if await self.query(query):
                return
            async with asyncio.timeout(READY.total_seconds()):
                await self.exporter.scraped.wait()
        raise AssertionError(f"{query} finds nothing after {SCRAPES} scrapes")


@asynccontextmanager
async def run_exporter() -> AsyncIterator[Exporter]:
    """Run an exporter on a free port."""
    exporter = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", exporter.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        exporter.target = f"127.0.0.1:{server.port}"
        yield exporter


@asynccontextmanager
async def run_prometheus(folder: Path, exporter: Exporter) -> AsyncIterator[PrometheusServer]:
    """Run a server that scrapes an exporter five times a second; it dies with this process.

    Args:
        folder: Where its configuration, data and log lie.
        exporter: What it scrapes.
    """
    listen, process = await _start(folder, exporter)
    try:
        yield PrometheusServer(f"http://{listen}", exporter)
    finally:
        await asyncio.to_thread(process.stop)


async def _start(folder: Path, exporter: Exporter) -> tuple[str, ServerProcess]:
    """Start a server on a free port; tells where it listens."""
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(scrape=SCRAPE, target=exporter.target))
    for attempt in range(1, _PORTS_TRIED + 1):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{held.getsockname()[1]}"
        process = ServerProcess.start(
            "Prometheus",
            [
                find_prometheus(),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={listen}",
                "--log.level=warn",
            ],
            folder / "prometheus.log",
        )
        try:
            await asyncio.to_thread(
                wait_until,
                partial(_is_ready, listen),
                what="Prometheus",
                within=READY,
                servers=[process],
            )
        except ServerEndedError:
            # Somebody else may have taken the port since it was found free.
            if attempt == _PORTS_TRIED:
                raise
        else:
            return listen, process
    raise AssertionError("a port is tried at least once")


def _is_ready(listen: str) -> bool:
    host, _, port = listen.partition(":")
    try:
        with socket.create_connection((host, int(port)), 1) as client:
            client.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(64)
    except OSError:
        return False
