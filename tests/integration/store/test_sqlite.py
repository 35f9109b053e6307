"""What SQLite is asked for: durability, privacy, and a clock that survives the process."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gitopsd.domain.work import Page
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import SqlStore
from gitopsd.store_ports import Transaction
from gitopsd.testing.clock import ManualClock
from tests.integration.store.conftest import OpenStore
from tests.support.store_child import begin_counting, count_one
from tests.support.store_values import delivery, item, run


def _pragma(store: SqlStore, name: str) -> object:
    with store._database.writer.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def _modes(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in directory.glob("gitopsd.db*")}


async def test_commits_are_durable(sqlite_url: str, opened: OpenStore) -> None:
    """A commit is on the disk before it is acknowledged, in a log that readers see past."""
    store = opened(sqlite_url)
    await store.check()

    assert _pragma(store, "journal_mode") == "wal"
    assert _pragma(store, "synchronous") == 2, "FULL"
    assert _pragma(store, "foreign_keys") == 1


async def test_the_files_are_private(tmp_path: Path, opened: OpenStore) -> None:
    """Nobody but the user reads the database or the files beside it."""
    path = tmp_path / "gitopsd.db"
    migrate(f"sqlite:///{path}")
    await opened(f"sqlite:///{path}").transact(begin_counting)

    assert _modes(tmp_path) == dict.fromkeys(
        ("gitopsd.db", "gitopsd.db-wal", "gitopsd.db-shm"), 0o600
    )


async def test_time_does_not_go_back_over_a_restart(sqlite_url: str, opened: OpenStore) -> None:
    """A machine that starts with its clock set back does not date events before older ones."""
    clock = ManualClock()
    first = opened(sqlite_url, now=clock.now)
    before = await first.transact(lambda tx: (begin_counting(tx), tx.now)[1])  # type: ignore[func-returns-value]  # one expression
    await first.close()

    clock.set_back(timedelta(days=1))
    again = opened(sqlite_url, now=clock.now)

    assert await again.read(lambda tx: tx.now) == before
    clock.advance(timedelta(days=2))
    assert await again.transact(lambda tx: tx.now) == before + timedelta(days=1)


async def test_real_time_is_told(database_url: str, opened: OpenStore) -> None:
    """Without a test's clock the database's own is told, growing and in UTC."""
    store = opened(database_url)
    times = [await store.transact(lambda tx: tx.now) for _ in range(3)]

    assert times == sorted(times)
    assert {moment.utcoffset() for moment in times} == {timedelta(0)}
    assert times[-1] - times[0] < timedelta(minutes=1)


async def test_a_reader_is_not_blocked_by_a_writer(sqlite_url: str, opened: OpenStore) -> None:
    """A read sees the last commit while a transaction is under way."""
    store = opened(sqlite_url)
    await store.transact(begin_counting)
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE runs SET version = 77")

    live = await store.read(lambda tx: tx.runs.live())

    connection.execute("ROLLBACK")
    connection.close()
    assert [one.version for one in live] == [0]


async def test_a_read_sees_one_moment(database_url: str, opened: OpenStore) -> None:
    """What is committed between two statements of a read is not seen by it."""
    store, other = opened(database_url), opened(database_url)
    await store.transact(begin_counting)
    await other.check()

    def look(tx: Transaction) -> list[int]:
        before = tx.runs.live()[0].version
        other._transact(count_one)
        return [before, tx.runs.live()[0].version]

    assert await store.read(look) == [0, 0]
    assert await store.read(lambda tx: tx.runs.live()[0].version) == 1


async def test_a_full_disk_is_a_temporary_failure(sqlite_url: str, opened: OpenStore) -> None:
    """When the database cannot grow, callers fail for now, and go on once it can again."""
    store = opened(sqlite_url)
    await store.check()
    pages = _pragma(store, "page_count")
    _pragma(store, f"max_page_count = {pages}")
    big = delivery("d-1", body=b"x" * 1_000_000)

    with pytest.raises(TemporaryError, match="full"):
        await store.transact(lambda tx: tx.deliveries.add(big))

    _pragma(store, "max_page_count = 1000000")
    assert await store.transact(lambda tx: tx.deliveries.add(big)) is True


async def test_a_damaged_file_is_said(tmp_path: Path, opened: OpenStore) -> None:
    """A file that is no database asks for a backup."""
    path = tmp_path / "gitopsd.db"
    path.write_bytes(b"no database " * 500)

    with pytest.raises(PermanentError, match="backup") as caught:
        await opened(f"sqlite:///{path}").check()

    assert caught.value.reason == "DamagedDatabase"


async def test_text_that_a_database_cannot_hold_is_refused(
    postgres_url: str, opened: OpenStore
) -> None:
    """A NUL in a column of plain text is a sentence, and nothing is stored."""
    store = opened(postgres_url)

    with pytest.raises(PermanentError, match="refused a value"):
        await store.transact(lambda tx: tx.deliveries.add(delivery("d\x00")))

    assert await store.read(lambda tx: tx.deliveries.page(Page())) == []


async def test_naive_times_are_refused(database_url: str, opened: OpenStore) -> None:
    """A time without zone never reaches the database."""
    store = opened(database_url)
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is what is refused

    with pytest.raises(TypeError, match="time zone"):
        await store.transact(lambda tx: tx.runs.add(run("run-1", at=naive)))
    with pytest.raises(PermanentError, match="time zone"):
        await store.transact(lambda tx: tx.work.add(item("a", due=naive)))
