"""What the agent asks of a running container, whichever way it runs, and its log."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

SERVED_BY = "X-Served-By"
KILLED = 137
LOG_LINES = 1000
LOG_LINE_BYTES = 16 * 1024


class StartFailed(PermanentError):  # noqa: N818 - the kubelet's word is StartError
    """The container could not be started; the message is what its status shows."""

    reason = "StartError"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a container ended."""

    exit_code: int
    oom_killed: bool = False

    @property
    def reason(self) -> str:
        """The word in its status."""
        if self.oom_killed:
            return "OOMKilled"
        return "Completed" if self.exit_code == 0 else "Error"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command run inside a container came to.

    Attributes:
        exit_code: How it ended.
        stdout: What it wrote.
        stderr: What it wrote about trouble.
        problem: Why it could not be started; empty when it was.
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    problem: str = ""

    @property
    def output(self) -> str:
        """All that it wrote, or why it wrote nothing."""
        return (self.stdout + self.stderr).strip() or self.problem


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output and when it came."""

    at: datetime
    text: str


class ContainerLog:
    """The newest lines of one container instance, in memory."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._written = 0
        self._news = asyncio.Event()
        self._closed = False

    def write(self, line: LogLine) -> None:
        """Add a line; the oldest goes when there are too many."""
        self._lines.append(LogLine(line.at, line.text[:LOG_LINE_BYTES]))
        self._written += 1
        self._wake()

    def close(self) -> None:
        """Say that no line will follow. Safe to repeat: closed is closed."""
        self._closed = True
        self._wake()

    @property
    def closed(self) -> bool:
        """Whether its container has ended."""
        return self._closed

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """What is kept, oldest first."""
        return tuple(self._lines)

    async def fetch_new(self) -> AsyncIterator[LogLine]:
        """Lines written from now on, until the container ends."""
        seen = self._written
        while True:
            news = self._news
            fresh = min(self._written - seen, len(self._lines))
            seen = self._written
            for line in tuple(self._lines)[len(self._lines) - fresh :]:
                yield line
            if self._closed and seen == self._written:
                return
            if seen == self._written:
                await news.wait()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


@dataclass(frozen=True, slots=True)
class Launch:
    """All that an instance is started with.

    Attributes:
        pod_name: Its pod, which is its host name too.
        address: The pod's address.
        ports: Ports the pod and the image name.
        words: Program and arguments.
        env: Environment, the image's and the pod's together.
        mounts: Mounted directories by their path in the container.
        memory_limit_mebibytes: Its memory limit; 0: none.
        served_by: Value of the header that every HTTP answer carries.
        log: Where its lines go.
    """

    pod_name: str
    address: str
    ports: tuple[int, ...]
    words: tuple[str, ...]
    env: Mapping[str, str]
    mounts: Mapping[str, Path]
    memory_limit_mebibytes: float
    served_by: str
    log: ContainerLog


class Container(Protocol):
    """One running instance; made for one start, never started again."""

    @property
    def probe_host(self) -> str:
        """Address at which the program itself listens."""
        ...

    async def start(self) -> None:
        """Begin.

        Raises:
            StartFailed: There is nothing that could be run.
        """
        ...

    async def settle(self) -> None:
        """Return once it is worth telling the world that it runs; at once after its end."""
        ...

    async def wait(self) -> Outcome:
        """Wait for its end; may be asked often and cancelled freely."""
        ...

    def terminate(self) -> None:
        """Ask it to stop. Safe to repeat."""
        ...

    def kill(self) -> None:
        """Stop it now. Safe to repeat."""
        ...

    async def close(self) -> None:
        """After its end: free everything it held."""
        ...

    async def run_command(self, words: Sequence[str], *, limit: timedelta) -> CommandResult:
        """Run a command inside it.

        Raises:
            TimeoutError: It did not end in time.
        """
        ...
