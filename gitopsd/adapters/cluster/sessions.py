"""The pooled session to one API server, made anew when a file that it came from changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

import gitopsd
from gitopsd.adapters.cluster.connections import Connection, load_connection
from gitopsd.domain.config import ClusterSpec
from gitopsd.errors import TemporaryError

CONNECTIONS = 32
KEEP_ALIVE_SECONDS = 75
"""A little less than the 90 s after which an API server closes an idle connection."""
_READ_BUFFER_BYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class Held:
    """One session with the connection it was made for.

    Attributes:
        connection: Address and credential.
        session: The pool.
        users: Requests under way.
        retired: Whether a newer one took its place; its last user closes it.
    """

    connection: Connection
    session: aiohttp.ClientSession
    users: int = 0
    retired: bool = False


class Sessions:
    """Lends the session of one API server.

    Args:
        spec: How to reach it.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._held: Held | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Held]:
        """Lend the session for one request; a changed file makes a new one first.

        Requests under way on the old one end in peace, so that a rotated credential interrupts
        nothing.

        Raises:
            PermanentError: The cluster's file cannot be used.
            TemporaryError: It was closed.
        """
        held = await self._current()
        held.users += 1
        try:
            yield held
        finally:
            held.users -= 1
            if held.retired and not held.users:
                await held.session.close()

    async def _current(self) -> Held:
        if self._closed:
            raise TemporaryError(f"the session of cluster {self._spec.name} is closed")
        held = self._held
        if held is not None and held.connection.is_current():
            return held
        async with self._opening:
            if self._held is not held and self._held is not None:
                return self._held
            connection = await load_connection(self._spec)
            await self._retire()
            self._held = Held(connection, _open(connection))
            return self._held

    async def _retire(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.retired = True
            if not held.users:
                await held.session.close()

    async def close(self) -> None:
        """Lend nothing more; what is under way ends in peace."""
        self._closed = True
        await self._retire()


def _open(connection: Connection) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ssl=connection.tls if connection.tls is not None else True,
        ),
        # A service behind the proxy may set cookies; they must not travel on to the API server.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"gitopsd/{gitopsd.__version__}"},
        trust_env=False,
        read_bufsize=_READ_BUFFER_BYTES,
    )
