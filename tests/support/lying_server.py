"""An HTTP server on a real socket that answers byte by byte as a test tells it, true or not."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from gitopsd.domain.manifests import Json
from gitopsd.testing.clock import LoopClock

_MEBIBYTE = bytes(1_048_576)


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it came in.

    Attributes:
        method: HTTP method.
        target: Path and query.
        headers: Lower-case header names -> values.
        body: Bytes of the body.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


Answering: TypeAlias = Callable[["LyingServer", asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer, or something else, to the connection."""


@dataclass
class LyingServer:
    """The server; use `run_lying_server`.

    Attributes:
        port: Port on 127.0.0.1.
        answers: What to answer next; the last one stays.
        elsewhere: Path part -> what to answer, whatever is next, to requests that hold it; not to
            those that go through a proxy.
        requests: What was asked, in order.
        sent: Bytes of bodies without end that were written so far.
    """

    port: int = 0
    answers: deque[Answering] = field(default_factory=deque)
    elsewhere: dict[str, Answering] = field(default_factory=dict)
    requests: list[SeenRequest] = field(default_factory=list)
    sent: int = 0

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, *answers: Answering) -> None:
        """Answer with these in turn from now on; the last one stays."""
        self.answers = deque(answers)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one answer."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await _read_request(reader)
            self.requests.append(request)
            await self._choose(request)(self, writer)
        writer.close()

    def _choose(self, request: SeenRequest) -> Answering:
        if "/proxy/" not in request.target:
            for part, answering in self.elsewhere.items():
                if part in request.target:
                    return answering
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


async def _read_request(reader: asyncio.StreamReader) -> SeenRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, value in (line.split(":", 1) for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return SeenRequest(method, target, headers, body)


@asynccontextmanager
async def run_lying_server(*answers: Answering) -> AsyncIterator[LyingServer]:
    """Run a server on a free port; what still hangs at the end is cut off."""
    lying = LyingServer(answers=deque(answers or [reply()]))
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(lying.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    lying.port = server.sockets[0].getsockname()[1]
    try:
        yield lying
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def head(status: int, headers: Mapping[str, str], length: int | None) -> bytes:
    """Write a status line and headers; ``length`` None leaves the length open."""
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join([*lines, "Connection: close", "", ""])).encode()


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Answering:
    """Answer plainly. Underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answering(_server: LyingServer, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, named, len(body)) + body)
        await writer.drain()

    return answering


def reply_json(document: Json, status: int = 200, **headers: str) -> Answering:
    """Answer with JSON."""
    body = json.dumps(document).encode()
    return reply(status, body, Content_Type="application/json", **headers)


def hang(until: asyncio.Event | None = None) -> Answering:
    """Take the request and say nothing; until an event, if one is given, and then success."""

    async def answering(server: LyingServer, writer: asyncio.StreamWriter) -> None:
        await (until or asyncio.Event()).wait()
        await reply()(server, writer)

    return answering


def drip(every: timedelta = timedelta(milliseconds=50), *, headers_too: bool = False) -> Answering:
    """Send the answer byte by byte, for ever; the headers as well if asked."""

    async def answering(_server: LyingServer, writer: asyncio.StreamWriter) -> None:
        clock = LoopClock()
        if not headers_too:
            writer.write(head(200, {}, 1_000_000))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b" ")
            await writer.drain()
            await clock.sleep(every)

    return answering


def pour(total: int) -> Answering:
    """Send a body of ``total`` bytes, as fast as it is taken."""

    async def answering(server: LyingServer, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"Content-Type": "application/json"}, total))
        while server.sent < total:
            writer.write(_MEBIBYTE)
            await writer.drain()
            server.sent += len(_MEBIBYTE)

    return answering


def reset_in_body() -> Answering:
    """Promise a hundred bytes, send ten, and reset the connection."""

    async def answering(_server: LyingServer, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {}, 100) + b"0123456789")
        await writer.drain()
        writer.transport.abort()

    return answering


def gzip_bomb(size: int = 100_000_000) -> Answering:
    """Send a small body that unpacks to ``size`` bytes, asked for or not."""
    packed = gzip.compress(bytes(size), compresslevel=1)
    return reply(200, packed, Content_Encoding="gzip", Content_Type="application/json")


def garbage() -> Answering:
    """Answer with something that is not HTTP."""

    async def answering(_server: LyingServer, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        await writer.drain()

    return answering


def drop() -> Answering:
    """Close the connection without a word."""

    async def answering(_server: LyingServer, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    return answering
