"""The store on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TypeVar

import sqlalchemy as sa

from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from gitopsd.store.clock import StoreClock, process_time, server_time
from gitopsd.store.encryption import Cipher, load_cipher
from gitopsd.store.engines import Database, open_database, parse_database_url
from gitopsd.store.failures import is_refusal, is_worth_another_try, outcome_unknown, translate
from gitopsd.store.session import Session
from gitopsd.store.tables import FORMAT, installation
from gitopsd.store.transaction import SqlTransaction
from gitopsd.store_ports import Transaction

T = TypeVar("T")

_TRIES = 6
_FIRST_BACKOFF = timedelta(milliseconds=5)
_KEEP_CLOCK = sa.update(installation)


class _TryAgainError(Exception):
    """The transaction was rolled back for a reason that another try may not meet."""

    def __init__(self, meaning: GitopsdError) -> None:
        super().__init__(meaning.message)
        self.meaning = meaning


class SqlStore:
    """The database; implements ``store_ports.Store``.

    Transactions are plain functions in worker threads: one thread with one connection for SQLite,
    where there can be one writer anyway, and a few for PostgreSQL.

    Args:
        database: Its connections and threads.
        clock: Tells stored times.
        cipher: Seals sensitive objects; None without an encryption key.
        sensitive_kinds: Kinds whose objects are sealed.
    """

    def __init__(
        self,
        database: Database,
        clock: StoreClock,
        cipher: Cipher | None,
        sensitive_kinds: frozenset[str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._cipher = cipher
        self._sensitive_kinds = sensitive_kinds
        self._installation = ""
        self._opening = Lock()

    async def check(self) -> None:
        """Make sure that the database answers and has the tables of this version.

        Raises:
            PermanentError: It is not migrated, or by a newer version.
            TemporaryError: It does not answer.
        """
        await self.read(lambda tx: tx.installation)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction and commit; anything it raises rolls back.

        When the caller is cancelled, this waits for the transaction under way to end before it
        lets the cancellation through: nothing is still being written behind the caller's back.

        Raises:
            ConflictError: A conditional write lost.
            TemporaryError: The database does not answer. With the reason ``OutcomeUnknown``, the
                answer to the COMMIT was lost: read again by key before writing again.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return await _in_thread(self._database.write_threads, lambda: self._transact(work))
            except _TryAgainError as again:
                if attempt == _TRIES:
                    raise again.meaning from again
                backoff = _FIRST_BACKOFF * 2**attempt * (0.5 + secrets.randbelow(1001) / 1000)
                await asyncio.sleep(backoff.total_seconds())  # noqa: TID251 - for the other transaction to end
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt raises

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on one consistent snapshot; it must not write.

        Raises:
            PermanentError: It wrote.
            TemporaryError: The database does not answer.
        """
        return await _in_thread(self._database.read_threads, lambda: self._read(work))

    async def close(self) -> None:
        """End the transactions under way and close connections. Safe to repeat."""
        database = self._database
        for threads, engine in (
            (database.read_threads, database.reader),
            (database.write_threads, database.writer),
        ):
            with suppress(TemporaryError):
                await _in_thread(threads, engine.dispose)
        for threads in {database.read_threads, database.write_threads}:
            await asyncio.to_thread(threads.shutdown)

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        place = self._database.place
        try:
            with self._database.writer.connect() as connection:
                doing = connection.begin()
                answer = self._do(connection, work)
                try:
                    doing.commit()
                except sa.exc.DBAPIError as error:
                    if is_refusal(error):
                        raise
                    raise outcome_unknown(error, place) from error
                return answer
        except sa.exc.SQLAlchemyError as error:
            meaning = translate(error, place, reading=False)
            if isinstance(error, sa.exc.DBAPIError) and is_worth_another_try(error):
                raise _TryAgainError(meaning) from error
            raise meaning from error

    def _do(self, connection: sa.Connection, work: Callable[[Transaction], T]) -> T:
        transaction = self._transaction(connection)
        if not self._database.is_sqlite:
            return work(transaction)
        before = _changes(connection)
        answer = work(transaction)
        if _changes(connection) != before:
            connection.execute(_KEEP_CLOCK, {"clock": transaction.now})
        return answer

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            with self._database.reader.connect() as connection, connection.begin():
                return work(self._transaction(connection))
        except sa.exc.SQLAlchemyError as error:
            raise translate(error, self._database.place, reading=True) from error

    def _transaction(self, connection: sa.Connection) -> SqlTransaction:
        session = Session(connection)
        if not self._installation:
            self._open(session)
        return SqlTransaction(
            session,
            self._clock,
            installation=self._installation,
            cipher=self._cipher,
            sensitive_kinds=self._sensitive_kinds,
        )

    def _open(self, session: Session) -> None:
        row = session.first(sa.select(installation))
        if row is None:
            raise PermanentError(
                f"The database {self._database.place} is empty. Run `gitopsd migrate`.",
                reason="NotMigrated",
            )
        check_format(row.format, self._database.place)
        if row.clock is not None:
            self._clock.advance_to(row.clock)
        self._installation = row.id


def check_format(found: int, place: str) -> None:
    """Refuse a database that a newer version changed in a way this one does not understand.

    Raises:
        PermanentError: It did.
    """
    if found > FORMAT:
        raise PermanentError(
            f"The database {place} has format {found}; this gitopsd understands up to {FORMAT}. "
            "Start the newer version, or restore the backup from before the upgrade.",
            reason="NewerDatabase",
        )


def open_store(
    url: str,
    *,
    encryption_key_file: Path | None = None,
    sensitive_kinds: Iterable[str] = (),
    now: Callable[[], datetime] | None = None,
    connections: int = 5,
) -> SqlStore:
    """Open a store; connections are made by its first transaction (see `SqlStore.check`).

    Args:
        url: ``sqlite:////path/file`` or ``postgresql://user:password@host/database``.
        encryption_key_file: One or two keys for the bodies of Secrets.
        sensitive_kinds: Kinds besides Secret whose bodies are encrypted.
        now: The clock of a test, instead of the database's.
        connections: PostgreSQL connections at most.

    Raises:
        PermanentError: The URL or the key file cannot be used.
    """
    parsed = parse_database_url(url)
    cipher = None if encryption_key_file is None else load_cipher(encryption_key_file)
    database = open_database(parsed, connections=connections)
    if now is not None:
        told = now
        clock = StoreClock(lambda _: told().astimezone(UTC), elapsed=None)
    else:
        clock = StoreClock(process_time if database.is_sqlite else server_time)
    return SqlStore(database, clock, cipher, frozenset({"Secret", *sensitive_kinds}))


def _changes(connection: sa.Connection) -> int:
    return int(getattr(connection.connection.dbapi_connection, "total_changes", 0))


async def _in_thread(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    try:
        future = threads.submit(call)
    except RuntimeError as error:
        raise TemporaryError("The store is closed; this process is ending.") from error
    outcome = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(outcome)
    except asyncio.CancelledError:
        await _ended(future, outcome)
        raise


async def _ended(future: Future[T], outcome: asyncio.Future[T]) -> None:
    """Wait until a call has ended, or make sure that it never begins.

    Statement and lock timeouts bound the wait, so further cancellations wait with it.
    """
    if future.cancel():
        return
    while not outcome.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([outcome])
    if not outcome.cancelled():
        outcome.exception()  # seen: it is the cancelled caller's no more
