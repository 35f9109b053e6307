"""A few long-lived children that do network Git, and their certain end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitopsd.errors import TemporaryError

_MODULE = "gitopsd.adapters.git.child"
_MAX_ANSWER_BYTES = 32 << 20  # some hundred thousand tags


@dataclass(slots=True)
class _Child:
    """One running child.

    Attributes:
        process: Its process, the leader of a group of its own.
        ca_file: CA file it has loaded; libgit2 keeps it for the whole process.
        idle: Ends it when it has not been used for a while.
    """

    process: asyncio.subprocess.Process
    ca_file: str
    idle: asyncio.TimerHandle | None = field(default=None)


class Children:
    """Runs transfers in children, one at a time in each.

    Args:
        size: How many children there are at most.
        idle_seconds: How long an unused child is kept.
    """

    def __init__(self, *, size: int, idle_seconds: float) -> None:
        self._slots = asyncio.Semaphore(size)
        self._idle_seconds = idle_seconds
        self._idle: list[_Child] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def run_transfer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run one transfer; a cancelled one takes its child with it.

        Returns:
            The child's answer: ``head``, or ``error`` and ``message``.

        Raises:
            TemporaryError: The child could not be started, or ended without an answer.
        """
        async with self._slots:
            ca_file = str(request["ca_file"])
            child = self._take(ca_file)
            if child is not None:
                # An idle child may have been killed from outside; that costs one start.
                with contextlib.suppress(TemporaryError):
                    return await self._run(child, request)
            return await self._run(_Child(await _start(), ca_file), request)

    async def _run(self, child: _Child, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = await _ask(child.process, request)
        except BaseException:
            await asyncio.shield(self._end_soon(child))
            raise
        self._idle.append(child)
        loop = asyncio.get_running_loop()
        child.idle = loop.call_later(self._idle_seconds, self._expire, child)
        return answer

    async def close(self) -> None:
        """End every child and wait for its end. Safe to repeat: there are none left."""
        while self._idle:
            self._expire(self._idle[0])
        while self._ending:
            await asyncio.wait(self._ending)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the idle children."""
        return tuple(child.process.pid for child in self._idle)

    def _take(self, ca_file: str) -> _Child | None:
        """Take an idle child that can be used; one that cannot makes room for a new one."""
        if not self._idle:
            return None
        fitting = (child for child in self._idle if child.ca_file == ca_file)
        child = next(fitting, self._idle[0])
        self._idle.remove(child)
        if child.idle is not None:
            child.idle.cancel()
        if child.ca_file == ca_file and child.process.returncode is None:
            return child
        _ = self._end_soon(child)
        return None

    def _expire(self, child: _Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
            if child.idle is not None:
                child.idle.cancel()
            _ = self._end_soon(child)

    def _end_soon(self, child: _Child) -> asyncio.Task[None]:
        task = asyncio.create_task(_end(child.process))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


async def _start() -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            _MODULE,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            start_new_session=True,
            limit=_MAX_ANSWER_BYTES,
        )
    except OSError as error:
        message = f"the Git child could not be started: {error.strerror}"
        raise TemporaryError(message, reason="GitChild") from error


async def _ask(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> dict[str, Any]:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:  # both were asked for when it was started
        raise TemporaryError("the Git child has no pipes", reason="GitChild")
    try:
        stdin.write(f"{json.dumps(request)}\n".encode())
        await stdin.drain()
        line = await stdout.readline()
        answer = json.loads(line)
    except (ConnectionError, ValueError) as error:
        message = "the Git child ended in the middle of its work; it is started again"
        raise TemporaryError(message, reason="GitChild") from error
    if not isinstance(answer, dict):
        raise TemporaryError("the Git child answered nonsense", reason="GitChild")
    return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a child with everything it started, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # asyncio counts a child as ended when its pipes are closed too, and a full one is not read.
    transport = getattr(process, "_transport", None)
    for number in range(3):
        pipe = transport.get_pipe_transport(number) if transport is not None else None
        if pipe is not None:
            pipe.close()
    await process.wait()
