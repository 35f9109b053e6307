"""A real PostgreSQL server for tests, on loopback and a Unix socket, that dies with this process.

    with PostgresServer.start() as server:
        with server.database() as url:                  # empty
            ...
        with server.database(template="name") as url:   # a copy of another database
            ...

PostgreSQL refuses to run as root: then it runs as the machine's least user, in a directory that
belongs to that user. Its data is on disk and its commits are not waited for (``fsync=off``) unless
asked: the server's crash is tested here, not the machine's.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from tests.support.processes import (
    ServerEndedError,
    ServerProcess,
    is_mark_alive,
    process_mark,
    wait_until,
)

_PREFIX = "gitopsd-postgres-"
_OWNER = "gitopsd"
_START_WITHIN = timedelta(seconds=30)
_STOP_WITHIN = timedelta(seconds=10)
_PORTS_TRIED = 3


def _program(name: str) -> str:
    """Find a program of the newest installed PostgreSQL; Debian keeps them off the PATH."""
    packaged = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(packaged, key=lambda path: int(path.parts[-3]), default=None)
    found = str(newest) if newest is not None else shutil.which(name)
    if found is None:
        message = f"no {name} on this machine; `make servers` installs it"
        raise FileNotFoundError(message)
    return found


def _as_user() -> list[str]:
    """The prefix of a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    drop = ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
    # A change of the user forgets the signal for the parent's death: it is asked for again.
    return ["setpriv", *drop, "--pdeathsig", "KILL", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _private_directory() -> Path:
    """Make a directory for the server's user, and remove those that killed processes left."""
    for stale in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not is_mark_alive(stale.name):
            shutil.rmtree(stale, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{process_mark()}-"))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return path


@dataclass
class PostgresServer:
    """One running server.

    Attributes:
        directory: Data, socket and log.
        password: Of its one user.
        settings: Further server settings, ``name=value``.
        port: On 127.0.0.1.
        process: The server.
    """

    directory: Path
    password: str
    settings: tuple[str, ...]
    port: int = 0
    process: ServerProcess | None = None

    @classmethod
    @contextmanager
    def start(cls, *, fsync: bool = False, settings: Sequence[str] = ()) -> Iterator[Self]:
        """Run a server until the end of the block.

        Args:
            fsync: Whether a commit waits for the disk, as in production.
            settings: Further server settings, ``name=value``.
        """
        durability = f"fsync={'on' if fsync else 'off'}"
        server = cls(_private_directory(), secrets.token_urlsafe(12), (durability, *settings))
        try:
            server._initialise()
            server.run()
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.directory, ignore_errors=True)

    def _initialise(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o644)  # the directory is its user's alone
        command = [_program("initdb"), "--pgdata", str(self.directory / "data")]
        command += ["--username", _OWNER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [*_as_user(), *command], cwd=self.directory, capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise ServerEndedError(f"initdb ended with {done.returncode}:\n{done.stderr}")

    def run(self) -> None:
        """Start the server, again after `crash` or `stop`, on the port it had."""
        for attempt in range(1, _PORTS_TRIED + 1):
            self.port = self.port or _free_port()
            try:
                self._run_once()
            except ServerEndedError:
                # Somebody else may have taken the port since it was found free.
                if attempt == _PORTS_TRIED:
                    raise
                self.port = 0
            else:
                return

    def _run_once(self) -> None:
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.directory}",
            "timezone=Asia/Kathmandu",  # nothing may depend on the server's own zone
            "max_connections=60",
            "shared_buffers=32MB",
            *self.settings,
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        self.process = ServerProcess.start(
            "PostgreSQL",
            [_program("postgres"), "-D", str(self.directory / "data"), *options],
            self.directory / "server.log",
            prefix=_as_user(),
        )
        wait_until(self._answers, what="PostgreSQL", within=_START_WITHIN, servers=(self.process,))

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def crash(self) -> None:
        """End the server at once, as a crash does: no goodbye to clients, recovery afterwards."""
        if self.process is not None:
            self.process.popen.send_signal(signal.SIGQUIT)
            self.process.stop(_STOP_WITHIN)

    def stop(self) -> None:
        """End the server and its connections. Safe to repeat."""
        if self.process is not None and self.process.popen.poll() is None:
            self.process.popen.send_signal(signal.SIGINT)
            self.process.popen.wait(_STOP_WITHIN.total_seconds())
            self.process.stop()

    def url(self, database: str) -> str:
        """Give the address of a database, password included."""
        return f"postgresql://{_OWNER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """Give the address of a database through the Unix socket."""
        user = f"{_OWNER}:{self.password}"
        return f"postgresql://{user}@/{database}?host={self.directory}&port={self.port}"

    def execute(self, statement: sql.Composed, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, *, template: str = "template0", name: str = "") -> Iterator[str]:
        """Make a database, give its address, and drop it with whoever is still connected.

        Args:
            template: Database that it is a copy of.
            name: What to call it; some new name when empty.
        """
        name = name or f"test_{secrets.token_hex(6)}"
        made, source = sql.Identifier(name), sql.Identifier(template)
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, source))
        try:
            yield self.url(name)
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))
