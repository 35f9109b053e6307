"""Connections to SQLite and PostgreSQL, and the threads that use them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from gitopsd.errors import PermanentError
from gitopsd.store.json_text import dump_json, load_json

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

STATEMENT_TIMEOUT = timedelta(seconds=15)
LOCK_TIMEOUT = timedelta(seconds=5)
_CONNECT_SECONDS = 5
_SQLITE_BUSY_SECONDS = 5
_OPTIONS = {"preserve_rowcount": True}  # also after INSERT, where it says whether it was new
_OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING


@dataclass(frozen=True, slots=True)
class Database:
    """One database with its connections.

    Attributes:
        place: Which one, for messages; without credentials.
        writer: Begins transactions that may write.
        reader: Begins transactions that see one snapshot and cannot write.
        write_threads: Where the writer is used.
        read_threads: Where the reader is used.
    """

    place: str
    writer: sa.Engine
    reader: sa.Engine
    write_threads: ThreadPoolExecutor
    read_threads: ThreadPoolExecutor

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file that this process alone uses."""
        return self.writer.dialect.name == "sqlite"


def parse_database_url(text: str) -> sa.URL:
    """Parse a database URL; ``postgres://`` and ``postgresql://`` mean the driver in use here.

    Raises:
        PermanentError: It is neither SQLite with a file nor PostgreSQL. The message does not
            repeat the URL, which may hold a password.
    """
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise _unusable_url("it is no URL") from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise _unusable_url(f"{url.drivername} is not supported")
    if url.database in (None, "", ":memory:"):
        raise _unusable_url("it names no file")
    return url


def _unusable_url(problem: str) -> PermanentError:
    return PermanentError(
        f"The database URL cannot be used: {problem}. Write sqlite:////path/to/gitopsd.db or "
        "postgresql://user:password@host/database.",
        reason="InvalidConfiguration",
    )


def describe(url: sa.URL) -> str:
    """Name a database for messages: where it is, never how to log in."""
    if url.drivername == "sqlite":
        return str(url.database)
    host = url.host or url.query.get("host") or "the local server"
    port = f":{url.port}" if url.port else ""
    return f"{url.database} on {host}{port}"


def open_database(url: sa.URL, *, connections: int) -> Database:
    """Prepare connections; none is made before the first transaction.

    Args:
        url: From `parse_database_url`.
        connections: PostgreSQL connections, and threads, at most.

    Raises:
        PermanentError: The SQLite library is too old.
    """
    place = describe(url)
    if url.drivername == "sqlite":
        writer = _sqlite_engine(url, begin="BEGIN IMMEDIATE", pragmas=("foreign_keys = ON",))
        reader = _sqlite_engine(url, begin="BEGIN", pragmas=("query_only = ON",))
        threads = [ThreadPoolExecutor(1, f"store {role}") for role in ("writer", "reader")]
        return Database(place, writer, reader, threads[0], threads[1])
    writer = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        connect_args=postgresql_arguments(url, STATEMENT_TIMEOUT, LOCK_TIMEOUT),
        json_serializer=dump_json,
        json_deserializer=load_json,
        hide_parameters=True,
        execution_options=_OPTIONS,
    )
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    pool = ThreadPoolExecutor(connections, "store")
    return Database(place, writer, reader, pool, pool)


def open_for_migration(url: sa.URL) -> sa.Engine:
    """Prepare the one connection of a migration, which may wait and work for long."""
    if url.drivername == "sqlite":
        return _sqlite_engine(url, begin="BEGIN IMMEDIATE", pragmas=("foreign_keys = OFF",))
    arguments = postgresql_arguments(url, timedelta(0), timedelta(0))
    return sa.create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)


def postgresql_arguments(
    url: sa.URL, statement_timeout: timedelta, lock_timeout: timedelta
) -> dict[str, object]:
    """Choose what every connection to PostgreSQL begins with; options in the URL come last.

    Nothing here waits for ever: not for a host that is gone, a lock, or a statement; and a client
    that stops in the middle of a transaction loses it.
    """
    options = (
        f"-c timezone=UTC -c statement_timeout={_milliseconds(statement_timeout)}"
        f" -c lock_timeout={_milliseconds(lock_timeout)}"
        " -c idle_in_transaction_session_timeout=30000"
    )
    asked = url.query.get("options", ())
    more = " ".join((asked,) if isinstance(asked, str) else asked)
    return {
        "application_name": "gitopsd",
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": f"{options} {more}".strip(),
    }


def _milliseconds(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _sqlite_engine(url: sa.URL, *, begin: str, pragmas: tuple[str, ...]) -> sa.Engine:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise PermanentError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or later is needed.",
            reason="InvalidConfiguration",
        )
    engine = sa.create_engine(
        url,
        poolclass=StaticPool,
        # None: the driver begins nothing by itself, so that BEGIN IMMEDIATE can be said here.
        connect_args={
            "isolation_level": None,
            "check_same_thread": False,
            "timeout": _SQLITE_BUSY_SECONDS,
        },
        json_serializer=dump_json,
        json_deserializer=load_json,
        hide_parameters=True,
        execution_options=_OPTIONS,
    )
    sa.event.listen(engine, "do_connect", _private_file(Path(str(url.database))))
    sa.event.listen(
        engine, "connect", _set_up(("journal_mode = WAL", "synchronous = FULL", *pragmas))
    )
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _private_file(path: Path) -> Callable[..., None]:
    def create(*_: object) -> None:
        # SQLite gives the files beside it (-wal, -shm) the mode of the database itself.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise PermanentError(
                f"The database file {path} cannot be opened: {error.strerror}.",
                reason="InvalidConfiguration",
            ) from error

    return create


def _set_up(pragmas: tuple[str, ...]) -> Callable[[DBAPIConnection, object], None]:
    def run(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return run
