"""Runs kustomize in a child with an empty environment, and ends it whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gitopsd.errors import TemporaryError

MAX_OUTPUT_BYTES = 10_000_000
MAX_COMPLAINT_BYTES = 64_000
_CHUNK_BYTES = 1 << 16
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_STAT_USER_TIME = 11  # fields 14 and 15 of proc(5) stat, counted after the command's bracket
_STARVED = 0.1


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended.

    Attributes:
        code: Exit code; negative for a signal.
        output: Standard output, at most `MAX_OUTPUT_BYTES`.
        complaint: Standard error, at most `MAX_COMPLAINT_BYTES`.
        overflowed: Whether it was killed because it wrote more.
        late: Whether it was killed because it took too long.
    """

    code: int
    output: bytes
    complaint: str
    overflowed: bool = False
    late: bool = False


def make_environment(home: Path) -> dict[str, str]:
    """Build the child's environment from nothing.

    No proxy, no kubeconfig, no Git protocol: should kustomize ever try to fetch, it has no means.
    """
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "KUBECONFIG": os.devnull,
        "KUBERC": "off",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        # Small renders then never collect garbage; large ones stay under the memory limit.
        "GOGC": "400",
        "GOMEMLIMIT": "512MiB",
        "LC_ALL": "C.UTF-8",
    }


class Child:
    """A running kustomize.

    Args:
        process: Its process, the leader of a group of its own.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def finish(self, seconds: float) -> Finished:
        """Read what it writes until it ends or its time is up; it is gone afterwards.

        Raises:
            TemporaryError: It got too little CPU to say anything about its input.
        """
        try:
            async with asyncio.timeout(seconds):
                return await _collect(self._process)
        except TimeoutError:
            used = _cpu_seconds(self._process.pid)
            if used < seconds * _STARVED:
                message = f"kustomize got {used:.1f} s of CPU in {seconds:g} s; the machine is busy"
                raise TemporaryError(message, reason="RendererStarved") from None
            return Finished(-signal.SIGKILL, b"", "", late=True)
        finally:
            await self.end()

    async def end(self) -> None:
        """Kill it with everything it started, and wait until it is gone."""
        await _end(self._process)


async def start_kustomize(command: Sequence[str], home: Path) -> Child:
    """Start kustomize.

    Args:
        command: Confinement, program and arguments.
        home: Empty private directory.

    Raises:
        TemporaryError: It could not be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=make_environment(home),
            cwd=home,
            start_new_session=True,
        )
    except OSError as error:
        message = f"kustomize could not be started: {error.strerror}"
        raise TemporaryError(message, reason="RendererNotStarted") from error
    return Child(process)


async def run_kustomize(command: Sequence[str], home: Path, seconds: float) -> Finished:
    """Run kustomize to its end, or to the end of its time.

    Args:
        command: Confinement, program and arguments.
        home: Empty private directory.
        seconds: How long it may take.

    Raises:
        TemporaryError: It could not be started, was killed from outside, or got too little CPU.
    """
    child = await start_kustomize(command, home)
    return await child.finish(seconds)


async def _collect(process: asyncio.subprocess.Process) -> Finished:
    stdout, stderr = process.stdout, process.stderr
    if stdout is None or stderr is None:  # both were asked for when it was started
        raise TemporaryError("kustomize has no pipes", reason="RendererNotStarted")
    complaining = asyncio.create_task(_drain(stderr))
    try:
        output = bytearray()
        while chunk := await stdout.read(_CHUNK_BYTES):
            output += chunk
            if len(output) > MAX_OUTPUT_BYTES:
                return Finished(-signal.SIGKILL, b"", "", overflowed=True)
        complaint = await complaining
        code = await process.wait()
    finally:
        complaining.cancel()
        await asyncio.wait([complaining])
    return Finished(code, bytes(output), complaint.decode(errors="replace"))


async def _drain(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, so that the child never waits; keep the beginning."""
    kept = bytearray()
    while chunk := await stream.read(_CHUNK_BYTES):
        kept += chunk[: MAX_COMPLAINT_BYTES - len(kept)]
    return bytes(kept)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the child with everything it started, and wait until it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # asyncio counts a child as ended when its pipes are closed too, and a full one is not read.
    transport = getattr(process, "_transport", None)
    for number in range(3):
        pipe = transport.get_pipe_transport(number) if transport is not None else None
        if pipe is not None:
            pipe.close()
    await process.wait()


def _cpu_seconds(pid: int) -> float:
    """Read how much CPU a child has used: a starved one is no verdict about its input."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[_STAT_USER_TIME : _STAT_USER_TIME + 2]
    return (int(user) + int(system)) / _CLOCK_TICKS
