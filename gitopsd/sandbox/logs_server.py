"""Serves logs and runs commands as a kubelet does: an API server asks here on behalf of others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, Self

from aiohttp import web

from gitopsd.errors import PermanentError
from gitopsd.sandbox.certificates import make_serving_context
from gitopsd.sandbox.exec_server import serve_command
from gitopsd.sandbox.status import ContainerRecord, Terminated, Waiting, read_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.container import ContainerLog, LogLine
    from gitopsd.sandbox.container_loop import ContainerLoop

SHUTDOWN_SECONDS = 0.5


class LogsRefused(PermanentError):  # noqa: N818 - an answer, not a breakdown
    """There are no such logs; the message is the kubelet's."""

    reason = "BadRequest"


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are wanted.

    Attributes:
        previous: Those of the instance before.
        follow: New lines too, until the container ends.
        timestamps: With the time before each line.
        tail_lines: At most so many of the last ones; None: all.
        limit_bytes: At most so many bytes; None: no limit.
        since: Only lines written after; None: from the beginning.
    """

    previous: bool = False
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


def parse_query(query: Mapping[str, str], *, now: datetime) -> LogQuery:
    """Read the query of a kubelet's log request; what is no number counts as not said."""
    seconds = _number(query.get("sinceSeconds"))
    since = now - timedelta(seconds=seconds) if seconds is not None else None
    return LogQuery(
        previous=query.get("previous") == "true",
        follow=query.get("follow") == "true",
        timestamps=query.get("timestamps") == "true",
        tail_lines=_number(query.get("tailLines")),
        limit_bytes=_number(query.get("limitBytes")),
        since=since or read_stamp(query.get("sinceTime", "")),
    )


def select_lines(lines: Sequence[LogLine], query: LogQuery) -> bytes:
    """The wanted ones of the lines there are, as one text."""
    wanted = [line for line in lines if query.since is None or line.at >= query.since]
    if query.tail_lines is not None:
        wanted = wanted[max(len(wanted) - query.tail_lines, 0) :]
    text = b"".join(say_line(line, query) for line in wanted)
    return text if query.limit_bytes is None else text[: query.limit_bytes]


def say_line(line: LogLine, query: LogQuery) -> bytes:
    """One line as it goes over the wire."""
    at = f"{line.at:%Y-%m-%dT%H:%M:%S.%f}000Z " if query.timestamps else ""
    return f"{at}{line.text}\n".encode()


class Instances(Protocol):
    """What is known of one container's instances."""

    @property
    def record(self) -> ContainerRecord:
        """What is told of them."""

    @property
    def log(self) -> ContainerLog | None:
        """Lines of the current (or last) one."""

    @property
    def previous_log(self) -> ContainerLog | None:
        """Lines of the one before."""


def select_log(loop: Instances, pod_name: str, *, previous: bool) -> ContainerLog:
    """The log that a query means: of the instance that runs, or ran last, or the one before.

    Raises:
        LogsRefused: There is none, in the kubelet's words.
    """
    record = loop.record
    container = f'container "{record.name}" in pod "{pod_name}"'
    waiting = isinstance(record.state, Waiting)
    if previous:
        # While it waits for a restart, the last instance is already the previous one; a new one
        # that has begun is not told before it has settled.
        ended = loop.log is not None and loop.log.closed
        log = loop.log if waiting and ended else loop.previous_log
        if record.last is None or log is None:
            raise LogsRefused(f"previous terminated {container} not found")
        return log
    if isinstance(record.state, Waiting) and record.last is None:
        raise LogsRefused(f"{container} is waiting to start: {_say_waiting(record.state)}")
    if loop.log is None:
        ended = isinstance(record.state, Terminated)
        why = "its log is gone" if ended else "it has not been started by this node yet"
        raise LogsRefused(f"{container}: {why}")
    return loop.log


class LogsServer:
    """The node's HTTPS endpoint; an async context manager.

    Args:
        name: The node's name.
        address: Where to listen.
        find: Finds a container's loop by namespace, pod and container.
        clock: Time.

    Attributes:
        port: Where it listens, once it is entered.
    """

    def __init__(
        self,
        *,
        name: str,
        address: str,
        find: Callable[[str, str, str], ContainerLoop | None],
        clock: Clock,
    ) -> None:
        self.port = 0
        self._name = name
        self._address = address
        self._find = find
        self._clock = clock
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        application.router.add_get("/exec/{namespace}/{pod}/{container}", self._run_command)
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            handler_cancellation=True,
        )
        await runner.setup()
        context = make_serving_context(self._name, self._address, now=self._clock.now())
        site = web.TCPSite(runner, self._address, 0, ssl_context=context)
        await site.start()
        self._runner = runner
        self.port = int(runner.addresses[0][1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening; readers that follow are cut off."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _find_asked(self, request: web.Request) -> ContainerLoop | None:
        where = request.match_info
        return self._find(where["namespace"], where["pod"], where["container"])

    async def _run_command(self, request: web.Request) -> web.StreamResponse:
        loop = self._find_asked(request)
        return _absent(request) if loop is None else await serve_command(request, loop)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        where, loop = request.match_info, self._find_asked(request)
        if loop is None:
            return _absent(request)
        query = parse_query(request.query, now=self._clock.now())
        try:
            log = select_log(loop, where["pod"], previous=query.previous)
        except LogsRefused as refusal:
            return web.Response(status=400, text=refusal.message)
        if not query.follow:
            return web.Response(body=select_lines(log.lines, query), content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(select_lines(log.lines, query))
        async for line in log.fetch_new():
            await response.write(say_line(line, query))
        await response.write_eof()
        return response


def _absent(request: web.Request) -> web.Response:
    where = request.match_info
    said = f'pod "{where["pod"]}" or its container "{where["container"]}" is not here\n'
    return web.Response(status=404, text=said)


def _say_waiting(state: Waiting) -> str:
    if state.reason == "ErrImagePull":
        return "image can't be pulled"
    if state.reason == "ImagePullBackOff":
        return "trying and failing to pull image"
    return state.reason


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
