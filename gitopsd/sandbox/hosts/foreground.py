"""Runs one host in the foreground: says where it is when it listens, ends with its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import web

from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.sandbox.api.kubeconfigs import save_private
from gitopsd.sandbox.running import parse_listen

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from gitopsd.domain.manifests import Json

LARGEST_REQUEST_BYTES = 256 * 1024 * 1024
SHUTDOWN_SECONDS = 1.0
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


async def run_foreground(
    listen: str,
    info: Path | None,
    app: web.Application,
    parts: Callable[[str], AbstractAsyncContextManager[object]],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen: ``HOST:PORT``; port 0 takes a free one.
        info: File that gets pid and address once it listens; None: none.
        app: What is served.
        parts: Makes what runs beside it, from its address.

    Raises:
        PermanentError: It cannot listen there.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_Served(listen, app))
        await stack.enter_async_context(parts(url))
        if info is not None:
            described: dict[str, Json] = {"pid": os.getpid(), "url": url}
            save_private(info, described)
        sys.stderr.write(f"ready at {url}\n")
        sys.stderr.flush()
        await stop.wait()


def run_host(work: Coroutine[None, None, None], parent: int) -> None:
    """Run a host to its end; what cannot be done is said on stderr, with exit code 2.

    Args:
        work: What `run_foreground` returned.
        parent: The process without which it shall not live; 0: the one that started it.
    """
    _end_with_parent(parent or os.getppid())
    if sys.version_info < (3, 12):
        # Later versions do this by themselves: without it each child costs a thread.
        watcher = asyncio.PidfdChildWatcher()
        asyncio.set_child_watcher(watcher)  # type: ignore[deprecated]  # for 3.11 alone, see above
    try:
        asyncio.run(work)
    except GitopsdError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(2)


def _end_with_parent(parent: int) -> None:
    """Let the kernel send SIGTERM when the parent ends, however it ends."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)  # it ended in between


class _Served:
    def __init__(self, listen: str, app: web.Application) -> None:
        self._listen = listen
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)

    async def __aenter__(self) -> str:
        place = parse_listen(self._listen)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, place.host, place.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise PermanentError(
                f"cannot listen on {self._listen}: {error.strerror}. "
                "Choose another --listen; port 0 takes a free one"
            ) from error
        return f"http://{place.host}:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
