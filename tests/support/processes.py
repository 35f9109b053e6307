"""Servers that tests start: their end is certain, and waiting for them is bounded.

A server is started so that the kernel kills it when this process dies, however it dies. That
promise belongs to the thread that starts the server (``PR_SET_PDEATHSIG``), so start servers
from the main thread. A server is stopped by its id, never by its name.
"""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Self

_POLL_INTERVAL_MS = 15
_TAIL_BYTES = 2000
_STAT_START_TIME = 19  # field 22 of proc(5) stat, counted after the command's closing bracket


class ServerEndedError(Exception):
    """A server that should be running has ended; the message holds the last lines of its log."""


class WaitTimeoutError(Exception):
    """A condition did not come true before its deadline."""


def process_mark(pid: int | None = None) -> str:
    """Return ``p<pid>t<start time>``: unlike an id alone, no later process has the same.

    Args:
        pid: The process to name; this one when left out.

    Raises:
        ProcessLookupError: No such process.
    """
    number = os.getpid() if pid is None else pid
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"no process {number}"
        raise ProcessLookupError(message) from error
    start_ticks = stat.rpartition(")")[2].split()[_STAT_START_TIME]
    return f"p{number}t{start_ticks}"


def inherited_environment(*names: str) -> dict[str, str]:
    """Return those variables of this process's environment that are set, for a child."""
    environment = os.environ  # noqa: TID251 - a harness hands on what a child asks for by name
    return {name: environment[name] for name in names if name in environment}


def is_mark_alive(name: str) -> bool:
    """Return whether the process that put its mark into ``name`` still runs.

    Args:
        name: Any text with a :func:`process_mark` in it. Without one it counts as alive:
            what nobody marked is nobody's to remove.
    """
    found = re.search(r"p(\d+)t\d+", name)
    if found is None:
        return True
    try:
        return process_mark(int(found[1])) == found[0]
    except ProcessLookupError:
        return False


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One running server.

    Attributes:
        name: What to call it in messages.
        popen: The child.
        log: Where its output and errors go.
        pidfd: Readable once the child has ended.
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    pidfd: FileIO

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        prefix: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> Self:
        """Start ``command`` in a session of its own, to be killed with this process.

        Args:
            name: What to call it in messages.
            command: The program and its arguments.
            log: Appended to.
            prefix: A command that executes the rest of its arguments in its own place.
            environment: The whole environment; ``PATH`` and ``HOME`` of this process if left out.
        """
        inherited = inherited_environment("HOME", "PATH")
        with log.open("ab") as output:
            popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=inherited if environment is None else environment,
                start_new_session=True,
            )
        return cls(name, popen, log, FileIO(os.pidfd_open(popen.pid), "rb"))

    @property
    def pid(self) -> int:
        """The id of the server itself: what started it was replaced by it."""
        return self.popen.pid

    def check(self) -> None:
        """Raise when the server has ended.

        Raises:
            ServerEndedError: With its exit code and the end of its log.
        """
        code = self.popen.poll()
        if code is not None:
            message = f"{self.name} ended with {code}; the end of {self.log}:\n{self.tail()}"
            raise ServerEndedError(message)

    def tail(self) -> str:
        """Return the last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace")

    def terminate(self) -> None:
        """Ask the server to end, and do not wait for it."""
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGTERM)

    def stop(self, grace: timedelta = timedelta(seconds=5)) -> int:
        """Ask the server to end, kill it when it has not after ``grace``, and return its code.

        Safe to repeat: a server that has ended is left alone.
        """
        self.terminate()
        try:
            code = self.popen.wait(grace.total_seconds())
        except subprocess.TimeoutExpired:
            # With what it started: it has a session, and so a group, of its own.
            os.killpg(self.popen.pid, signal.SIGKILL)
            code = self.popen.wait()
        self.pidfd.close()
        return code


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    within: timedelta,
    servers: Sequence[ServerProcess] = (),
    pause: timedelta = timedelta(milliseconds=_POLL_INTERVAL_MS),
) -> None:
    """Return as soon as ``condition`` holds, asking it every few milliseconds.

    Args:
        condition: Asked again and again; it must be quick and have no effect.
        what: Completes "waited for ..." in the message.
        within: How long to wait at most.
        servers: Waiting ends at once, with an error, when one of these ends.
        pause: How long to wait between two questions; longer for those that cost something.

    Raises:
        ServerEndedError: One of ``servers`` ended.
        WaitTimeoutError: The condition did not hold in time.
    """
    deadline = time.monotonic() + within.total_seconds()
    ended = select.poll()
    for server in servers:
        ended.register(server.pidfd, select.POLLIN)
    while not condition():
        for server in servers:
            server.check()
        if time.monotonic() >= deadline:
            logs = "".join(f"\n{server.log}:\n{server.tail()}" for server in servers)
            message = f"waited {within.total_seconds():g} s for {what}{logs}"
            raise WaitTimeoutError(message)
        ended.poll(pause / timedelta(milliseconds=1))
