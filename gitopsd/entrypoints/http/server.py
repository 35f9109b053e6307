"""Listening: bounded connections, bounded patience, a graceful end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from gitopsd.errors import PermanentError

HEADER_SECONDS = 5.0
"""How long a connection may take for complete headers."""

KEEPALIVE_SECONDS = 15.0
"""How long an idle connection is kept."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read, so that its sender hears the refusal."""

SHUTDOWN_SECONDS = 10.0
"""How long requests under way may take to end when the process does."""

MOST_CONNECTIONS = 1024
"""Open connections at most; further ones are closed at once."""


class ImpatientHandler(web.RequestHandler):
    """Closes a connection that does not send complete headers in time.

    aiohttp bounds idle connections only by the keep-alive time, and bounds a slow header not at
    all; a few thousand of them would keep everybody else out.
    """

    __slots__ = ("_header_timer", "_seconds")

    def __init__(
        self, manager: BoundedServer, *, loop: asyncio.AbstractEventLoop, **options: object
    ) -> None:
        super().__init__(manager, loop=loop, **options)  # type: ignore[arg-type] # aiohttp's own options, passed on
        self._seconds = manager.header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request; refuse when there are too many connections."""
        manager = self._manager
        full = isinstance(manager, BoundedServer) and manager.full
        super().connection_made(transport)
        if isinstance(manager, BoundedServer) and self._task_handler is not None:
            manager.remember(self._task_handler)
        if full:
            self.force_close()
        else:
            self._header_timer = self._loop.call_later(self._seconds, self._lose_patience)

    def data_received(self, data: bytes) -> None:
        """Stop the timer when headers are complete; start it at a further request's first byte."""
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._stop_timer()
        elif self._header_timer is None and self._is_idle():
            self._header_timer = self._loop.call_later(self._seconds, self._lose_patience)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _lose_patience(self) -> None:
        self._header_timer = None
        if self._is_idle():
            self.force_close()

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class BoundedServer(web.Server):
    """Makes impatient handlers, and not too many.

    Args:
        app: What answers.
        loop: The event loop.
        bounds: How many connections, how much patience.
        options: aiohttp's own options.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        loop: asyncio.AbstractEventLoop,
        bounds: Bounds,
        **options: object,
    ) -> None:
        super().__init__(
            app._handle,  # type: ignore[arg-type] # noqa: SLF001 - as aiohttp's own AppRunner does it
            request_factory=app._make_request,  # noqa: SLF001 - as above
            loop=loop,
            **options,  # type: ignore[arg-type] # aiohttp's own options, passed on
        )
        self.header_seconds = bounds.header_seconds
        self._most = bounds.connections
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether no further connection is taken."""
        return len(self._connections) >= self._most

    def remember(self, task: asyncio.Task[None]) -> None:
        """Keep a connection's task, to end it when the server ends.

        aiohttp forgets it when the client leaves, though it may still read for a while.
        """
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let requests under way end, then end what is left of them."""
        await super().shutdown(timeout)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def __call__(self) -> web.RequestHandler:
        """Make the handler of one connection."""
        return ImpatientHandler(self, loop=self._loop, **self._kwargs)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one listener bears.

    Attributes:
        connections: Open connections at most.
        header_seconds: How long a connection may take for complete headers.
        keepalive_seconds: How long an idle connection is kept.
        linger_seconds: How long the rest of a refused body is read.
        shutdown_seconds: How long requests under way may take to end.
    """

    connections: int = MOST_CONNECTIONS
    header_seconds: float = HEADER_SECONDS
    keepalive_seconds: float = KEEPALIVE_SECONDS
    linger_seconds: float = LINGER_SECONDS
    shutdown_seconds: float = SHUTDOWN_SECONDS


class BoundedRunner(web.AppRunner):
    """Runs an application behind a `BoundedServer`.

    Args:
        app: The application.
        bounds: What the listener bears.
    """

    __slots__ = ("_bounds",)

    def __init__(self, app: web.Application, bounds: Bounds) -> None:
        super().__init__(
            app,
            access_log=None,
            # What is signed are the bytes as they came.
            auto_decompress=False,
            keepalive_timeout=bounds.keepalive_seconds,
            lingering_time=bounds.linger_seconds,
            shutdown_timeout=bounds.shutdown_seconds,
        )
        self._bounds = bounds

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return BoundedServer(
            self._app,
            loop=made._loop,  # noqa: SLF001 - aiohttp tells it nowhere else
            bounds=self._bounds,
            **made._kwargs,  # noqa: SLF001 - as above
        )


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; an IPv6 host stands in brackets.

    Raises:
        PermanentError: It is not that.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        message = f"{text!r} is no address to listen on; write HOST:PORT, such as 127.0.0.1:8080"
        raise PermanentError(message)
    return host, int(port)


@dataclass(frozen=True, slots=True)
class Listener:
    """One open address.

    Attributes:
        url: Where it is reached from this machine.
        runner: What serves it.
    """

    url: str
    runner: web.AppRunner

    async def close(self) -> None:
        """Take no more connections and let requests under way end."""
        await self.runner.cleanup()


async def listen(app: web.Application, address: str, bounds: Bounds | None = None) -> Listener:
    """Serve an application.

    Args:
        app: The application.
        address: ``HOST:PORT``; port 0 takes a free one.
        bounds: What the listener bears.

    Raises:
        PermanentError: The address cannot be listened on.
    """
    host, port = parse_listen(address)
    used = bounds or Bounds()
    runner = BoundedRunner(app, used)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host or None, port, reuse_address=True)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise PermanentError(f"cannot listen on {address}: {error.strerror or error}") from error
    found = runner.addresses[0]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found[0], found[0])  # noqa: S104 - it is compared, not bound
    shown = f"[{reached}]" if ":" in reached else reached
    return Listener(f"http://{shown}:{found[1]}", runner)
