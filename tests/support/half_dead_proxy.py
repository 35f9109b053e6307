"""A real API server behind a proxy that does not always do what it should."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.half_dead_api import Behaviour

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

Choose: TypeAlias = Callable[[web.Request], Awaitable[Behaviour | None]]
"""What is done instead of a request; None lets it pass."""

_OWN_HEADERS = frozenset(
    {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}
)


async def _nothing(_: web.Request) -> Behaviour | None:
    return None


@dataclass
class HalfDeadProxy:
    """What lies between a client and the API server; whoever asks is who the client says.

    Attributes:
        server: The API server's URL.
        session: Trusts the API server, and has no credential of its own.
        url: The proxy's address.
        choose: What is done instead of each request.
        ending: Set when it ends.
    """

    server: str
    session: aiohttp.ClientSession
    url: str = ""
    choose: Choose = _nothing
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def never(self, _: web.Request) -> web.StreamResponse:
        """Accept and never answer, until the proxy ends."""
        await self.ending.wait()
        return web.Response(status=503)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Do one request."""
        chosen = await self.choose(request)
        return await (chosen or self._forward)(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        upstream = URL(self.server + request.raw_path, encoded=True)
        async with self.session.request(
            request.method,
            upstream,
            headers=_of_others(request.headers),
            data=await request.read() or None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_of_others(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response


def _of_others(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS}


@asynccontextmanager
async def run_half_dead_proxy(plane: ControlPlane) -> AsyncIterator[HalfDeadProxy]:
    """Run one on loopback, without TLS of its own."""
    trust = ssl.create_default_context(cadata=plane.authority.decode())
    connector = aiohttp.TCPConnector(ssl=trust, limit=0)
    whole = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=whole) as session:
        proxy = HalfDeadProxy(plane.url, session)
        # Requests that hang are the point: they end with the proxy, and nobody waits for them.
        runner = web.AppRunner(web.Application(), handler_cancellation=True, shutdown_timeout=1)
        runner.app.router.add_route("*", "/{tail:.*}", proxy.handle)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        proxy.url = f"http://{host}:{port}"
        try:
            yield proxy
        finally:
            proxy.ending.set()
            await runner.cleanup()
