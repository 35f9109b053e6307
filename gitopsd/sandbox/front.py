"""Stands at a pod's address before a child process and signs every HTTP answer.

A child listens on a private loopback address. The front opens the pod's port when the child accepts
connections there and closes it with the child, so a program that does not listen refuses
connections at the pod's address too.
"""

from __future__ import annotations

import asyncio
import ipaddress
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from gitopsd.sandbox.container import SERVED_BY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitopsd.sandbox.clock import Clock

FIRST_LOOK = timedelta(milliseconds=10)
LONGEST_LOOK = timedelta(milliseconds=250)
DRAIN_SECONDS = 1.0
CHUNK_BYTES = 64 * 1024
# RFC 9110 section 7.6.1: these belong to one connection and are not passed on.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def private_address(pod_ip: str) -> str:
    """The loopback address that belongs to a pod's address alone.

    The last three bytes stay and the second is flipped, so that pods which have loopback addresses
    themselves (where there is no network of their own) get another one.
    """
    _, second, third, fourth = ipaddress.IPv4Address(pod_ip).packed
    return str(ipaddress.IPv4Address(bytes((127, second ^ 0x80, third, fourth))))


class Front:
    """One port of one pod; `run` opens it when the child listens."""

    def __init__(
        self, *, address: str, port: int, backend: str, served_by: str, clock: Clock
    ) -> None:
        self._address = address
        self._port = port
        self._backend = backend
        self._served_by = served_by
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self.opened = asyncio.Event()

    async def run(self) -> None:
        """Wait until the child listens, then serve until cancelled."""
        await self._await_backend()
        loop = asyncio.get_running_loop()
        server = web.Server(self._forward, access_log=None)
        listener = await loop.create_server(server, self._address, self._port)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            self.opened.set()
            try:
                await listener.serve_forever()
            finally:
                listener.close()
                await server.shutdown(DRAIN_SECONDS)

    async def _await_backend(self) -> None:
        look = FIRST_LOOK
        while True:
            try:
                _, writer = await asyncio.open_connection(self._backend, self._port)
            except OSError:
                await self._clock.sleep(look)
                look = min(look * 2, LONGEST_LOOK)
            else:
                writer.close()
                await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
                return

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._session is None:
            return self._refusal("the front is closed")
        try:
            async with self._session.request(
                request.method,
                f"http://{self._backend}:{self._port}{request.raw_path}",
                headers=_passed_on(request.headers),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            ) as answer:
                headers = _passed_on(answer.headers)
                headers[SERVED_BY] = self._served_by
                response = web.StreamResponse(status=answer.status, headers=headers)
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError as error:
            return self._refusal(str(error))

    def _refusal(self, why: str) -> web.Response:
        return web.Response(
            status=HTTPStatus.BAD_GATEWAY, text=why, headers={SERVED_BY: self._served_by}
        )


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    passed: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in HOP_BY_HOP:
            passed.add(name, value)
    return passed
