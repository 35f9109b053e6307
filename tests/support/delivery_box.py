"""A receiver of webhooks that keeps what it gets and answers what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Delivered:
    """One request.

    Attributes:
        headers: Its headers, names in lower case.
        body: Its raw body.
    """

    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 - any JSON document
        """The body, read."""
        return json.loads(self.body)


@dataclass
class DeliveryBox:
    """The receiver; made by `run_delivery_box`.

    Attributes:
        url: Its address.
        answers: Statuses of the next answers; 202 when they are used up.
    """

    url: str = ""
    answers: list[int] = field(default_factory=list)
    _came: asyncio.Queue[Delivered] = field(default_factory=asyncio.Queue)

    async def next(self) -> Delivered:
        """Wait for the next delivery."""
        async with asyncio.timeout(10):
            return await self._came.get()

    def is_empty(self) -> bool:
        """Tell whether everything that came was taken out."""
        return self._came.empty()

    def write_file(self, directory: Path, secret: str) -> Path:
        """Write the file that names this receiver to a host."""
        file, secret_file = directory / "receiver.json", directory / "receiver.secret"
        secret_file.write_text(secret + "\n")
        file.write_text(json.dumps({"url": self.url, "secretFile": str(secret_file)}))
        return file

    async def handle(self, request: web.Request) -> web.Response:
        """Take one delivery."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._came.put_nowait(Delivered(headers, await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 202)


@asynccontextmanager
async def run_delivery_box() -> AsyncIterator[DeliveryBox]:
    """Run a receiver on a free port."""
    box = DeliveryBox()
    app = web.Application()
    app.router.add_post("/hook", box.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield box
    finally:
        await runner.cleanup()
