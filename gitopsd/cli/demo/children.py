"""The demo's processes: started so that none stays, watched, and ended in order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from gitopsd.errors import PermanentError, TemporaryError

T = TypeVar("T")

LOOK_SECONDS = 0.1
START = timedelta(seconds=30)
GRACE = timedelta(seconds=10)
NAME_A_FOLDER = "Name a folder with room, then run it again: export TMPDIR=/var/tmp"
_LEAST_ROOM_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 600


class ChildEnded(PermanentError):  # noqa: N818 - a fact, as the kernel tells it
    """A process of the demo is not there any more."""

    reason = "ChildEnded"


class NoRoom(PermanentError):  # noqa: N818 - as above
    """The disk is full that all of the demo lies on."""

    reason = "NoRoom"


class TookTooLong(TemporaryError):  # noqa: N818 - as above
    """Something did not happen in its time."""

    reason = "TimedOut"


@dataclass(frozen=True, slots=True)
class Child:
    """One process.

    Attributes:
        name: What to call it.
        process: The process.
        log: Where its output goes.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(slots=True)
class Children:
    """All processes of one demo, ended in the opposite order of their start.

    Attributes:
        directory: Where their logs and information lie.
        environment: What each of them gets.
        running: Those that were started, by name.
    """

    directory: Path
    environment: Mapping[str, str]
    running: dict[str, Child] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], **extra: str) -> Child:
        """Start a process that ends with this one, however this one ends.

        Args:
            name: What to call it.
            command: Program and arguments.
            extra: More of its environment.
        """
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*_tied_to_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env={**self.environment, **extra},
                # A Ctrl-C at the terminal is for the demo alone, which ends them in order.
                start_new_session=True,
            )
        self.running[name] = Child(name, process, log)
        return self.running[name]

    def info(self, name: str) -> Path:
        """The file in which a process says where it is."""
        return self.directory / f"{name}.json"

    def read_info(self, name: str) -> dict[str, Any]:
        """Wait until a process has said where it is, and read it.

        Raises:
            ChildEnded: It ended.
            TookTooLong: It did not say.
        """
        file = self.info(name)
        self.until(file.exists, f"{name} to start", START)
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def check(self) -> None:
        """Look whether there is room, and whether all are alive.

        Raises:
            NoRoom: The disk is full.
            ChildEnded: One is not alive.
        """
        if shutil.disk_usage(self.directory).free < _LEAST_ROOM_BYTES:
            raise NoRoom(f"the disk of {self.directory} is full. {NAME_A_FOLDER}")
        for child in self.running.values():
            code = child.process.poll()
            if code is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
                said = _tail(child.log)
                raise ChildEnded(f"{child.name} {how}. Its last words:\n{said}")

    def until(self, look: Callable[[], T | None], what: str, within: timedelta) -> T:
        """Look again and again until there is something; returns it.

        Raises:
            NoRoom: The disk filled up meanwhile.
            ChildEnded: A process ended meanwhile.
            TookTooLong: There was nothing in time.
        """
        end = monotonic() + within.total_seconds()
        pause = threading.Event()
        while True:
            self.check()
            found = look()
            if found:
                return found
            if monotonic() > end:
                raise TookTooLong(f"waited {within.total_seconds():g} s for {what}")
            pause.wait(LOOK_SECONDS)

    def stop(self) -> None:
        """End the last one, then all others. Safe to repeat: ended is ended.

        The last one is gitopsd: it finishes what it does while all that it needs is there.
        """
        children = tuple(reversed(self.running.values()))
        for group in (children[:1], children[1:]):
            for child in group:
                with suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGTERM)
            end = monotonic() + GRACE.total_seconds()
            for child in group:
                _await_end(child.process, end)
        self.running.clear()


def _await_end(process: subprocess.Popen[bytes], end: float) -> None:
    try:
        process.wait(max(end - monotonic(), 0))
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tied_to_us() -> tuple[str, ...]:
    """SIGTERM when we end, so that what they made goes too."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        return file.read().decode(errors="replace").strip() or "(none)"
