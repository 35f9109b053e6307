"""Servers that behave badly on purpose: silent ones, dripping ones, and one that only listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_FIRST_BYTES = 65_536
_POLITE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class OddServer:
    """A running server.

    Attributes:
        port: Port on 127.0.0.1.
        only_to: Requests without these bytes are answered at once, with success and nothing else.
        received: What each connection sent first, in order.
        connected: Set by each connection that is treated badly.
    """

    port: int = 0
    only_to: bytes = b""
    received: list[bytes] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Address over HTTP."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def _run(server: OddServer, handle: _Handler) -> AsyncIterator[OddServer]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                request = await reader.read(_FIRST_BYTES)
                server.received.append(request)
                if server.only_to in request:
                    server.connected.set()
                    await handle(reader, writer)
                else:
                    writer.write(_POLITE)
                    await writer.drain()
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def run_recorder() -> AsyncIterator[OddServer]:
    """Run a server that takes what it is sent and hangs up."""

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.drain()

    async with _run(OddServer(), handle) as server:
        yield server


@contextlib.asynccontextmanager
async def run_black_hole(only_to: bytes = b"") -> AsyncIterator[OddServer]:
    """Run a server that accepts and never answers, until the other side hangs up."""

    async def handle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(_FIRST_BYTES):
            pass

    async with _run(OddServer(only_to=only_to), handle) as server:
        yield server


@contextlib.asynccontextmanager
async def run_drip(
    head: bytes, drop: bytes, *, every_seconds: float, only_to: bytes = b""
) -> AsyncIterator[OddServer]:
    """Run a server that answers ``head`` and then ``drop`` again and again, slowly.

    Args:
        head: Sent at once.
        drop: Sent each time.
        every_seconds: How long it waits between two drops.
        only_to: Requests without these bytes are answered at once, with nothing.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            try:
                async with asyncio.timeout(every_seconds):
                    if not await reader.read(_FIRST_BYTES):
                        return
            except TimeoutError:
                writer.write(drop)

    async with _run(OddServer(only_to=only_to), handle) as server:
        yield server
