"""Callers that are cancelled, processes that are killed, servers that go away."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import RunId
from gitopsd.errors import ConflictError, TemporaryError
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import open_store
from gitopsd.store_ports import Transaction
from tests.integration.store.conftest import OpenStore
from tests.support.postgres import PostgresServer
from tests.support.store_child import RUN, STAGE, begin_counting, count_one, start_child
from tests.support.store_values import item, run

ROUNDS = 4


async def _snapshot(url: str) -> tuple[int, ...]:
    """What the counted transitions left in each table."""
    store = open_store(url)

    def look(tx: Transaction) -> tuple[int, ...]:
        found, stage = tx.runs.get(RUN), tx.stages.get(STAGE)
        assert found is not None
        assert stage is not None
        events = [event.sequence for event in tx.runs.events(RUN)]
        assert events == list(range(1, len(events) + 1))
        return found.version, stage.version, len(events), sum(tx.work.backlog().values())

    try:
        return await store.read(look)
    finally:
        await store.close()


async def test_a_killed_process_leaves_whole_transactions(database_url: str) -> None:
    """After kill -9 everything acknowledged is there, and what is there is whole."""
    for _ in range(ROUNDS):
        with start_child("count", database_url) as child:
            assert child.stdout is not None
            acknowledged = [child.stdout.readline() for _ in range(5 + secrets.randbelow(20))]
            child.kill()
            acknowledged += child.stdout.readlines()

        counts = await _snapshot(database_url)

        numbers = [int(line) for line in acknowledged]
        assert len(set(counts)) == 1
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert counts[0] - numbers[-1] in (0, 1)


async def test_a_cancelled_caller_waits_for_its_transaction(
    database_url: str, opened: OpenStore
) -> None:
    """The cancellation comes through once the transaction is decided, and what it did stands."""
    store = opened(database_url)
    began, go_on = threading.Event(), threading.Event()

    def work(tx: Transaction) -> None:
        tx.runs.add(run("run-1"))
        began.set()
        assert go_on.wait(10)

    task = asyncio.create_task(store.transact(work))
    await asyncio.to_thread(began.wait, 10)
    for _ in range(2):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.read(lambda tx: tx.runs.get(RunId("run-1"))) == run("run-1")


async def test_a_transaction_that_had_not_begun_never_does(
    sqlite_url: str, opened: OpenStore
) -> None:
    """Cancelled while it waits for its turn, a transaction is dropped at once."""
    store = opened(sqlite_url)
    began, go_on = threading.Event(), threading.Event()

    def block(_: Transaction) -> None:
        began.set()
        assert go_on.wait(10)

    blocking = asyncio.create_task(store.transact(block))
    await asyncio.to_thread(began.wait, 10)
    waiting = asyncio.create_task(store.transact(lambda tx: tx.runs.add(run("run-1"))))
    await asyncio.wait([waiting], timeout=0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await blocking

    assert await store.transact(lambda tx: tx.runs.get(RunId("run-1"))) is None


async def test_an_error_of_a_cancelled_transaction_stays_silent(
    sqlite_url: str, opened: OpenStore
) -> None:
    """The cancelled caller hears of its cancellation, not of what failed meanwhile."""
    store = opened(sqlite_url)
    began, go_on = threading.Event(), threading.Event()

    def fail(_: Transaction) -> None:
        began.set()
        assert go_on.wait(10)
        raise LookupError

    task = asyncio.create_task(store.transact(fail))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    await asyncio.wait([task], timeout=0.01)
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def breakable() -> Iterator[PostgresServer]:
    """A server of the test's own."""
    with PostgresServer.start() as server:
        yield server


async def test_a_server_that_crashes_is_waited_for(
    breakable: PostgresServer, opened: OpenStore
) -> None:
    """While it is away calls fail for now; after its recovery the same store goes on."""
    with breakable.database(name="crash") as url:
        migrate(url)
        store = opened(url)
        await store.transact(begin_counting)
        inside, crashed = threading.Event(), threading.Event()

        def work(tx: Transaction) -> None:
            tx.work.add(item("lost", due=tx.now))
            inside.set()
            assert crashed.wait(20)
            tx.work.add(item("also lost", due=tx.now))

        task = asyncio.create_task(store.transact(work))
        await asyncio.to_thread(inside.wait, 10)
        await asyncio.to_thread(breakable.crash)
        crashed.set()
        with pytest.raises(TemporaryError):
            await task
        with pytest.raises(TemporaryError) as away:
            await store.transact(count_one)
        assert breakable.password not in away.value.message

        breakable.run()

        assert await store.transact(count_one) == 1
        assert await store.read(lambda tx: tx.work.get("lost")) is None


async def test_connections_that_died_idle_are_noticed(postgres_url: str, opened: OpenStore) -> None:
    """A connection that the server ended between two transactions fails no caller."""
    store = opened(postgres_url)
    await store.transact(begin_counting)
    await store.read(lambda tx: tx.now)

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()

    assert ended
    assert await store.transact(count_one) == 1
    assert await store.read(lambda tx: tx.runs.live())


async def test_a_refused_commit_is_no_lost_answer(postgres_url: str, opened: OpenStore) -> None:
    """What the server refuses at COMMIT did not happen, and is said to be a conflict."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE runs ADD FOREIGN KEY (release) REFERENCES releases (id)"
            " DEFERRABLE INITIALLY DEFERRED"
        )
    store = opened(postgres_url)

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.runs.add(run("run-1")))

    assert await store.read(lambda tx: tx.runs.live()) == []


async def test_a_lost_answer_to_a_commit_is_said(postgres_url: str, opened: OpenStore) -> None:
    """When the connection dies during COMMIT, nobody pretends to know the outcome."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON runs DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION die()"
        )
    store = opened(postgres_url)

    with pytest.raises(TemporaryError) as caught:
        await store.transact(lambda tx: tx.runs.add(run("run-1")))

    assert caught.value.reason == "OutcomeUnknown"
    assert await store.read(lambda tx: tx.runs.get(RunId("run-1"))) is None


async def test_a_lock_is_not_waited_for_without_end(postgres_url: str, opened: OpenStore) -> None:
    """A row that somebody else keeps locked fails the caller for now."""
    store = opened(f"{postgres_url}?options=-c%20lock_timeout%3D100ms")
    await store.transact(begin_counting)

    with psycopg.connect(postgres_url) as connection:
        connection.execute(sql.SQL("SELECT * FROM runs FOR UPDATE"))
        with pytest.raises(TemporaryError, match="lock timeout"):
            await store.transact(count_one)

    assert await store.transact(count_one) == 1


async def test_a_wrong_password_is_not_repeated(postgres_url: str, opened: OpenStore) -> None:
    """What is said about a refused login names the place and no secret."""
    start, _, rest = postgres_url.rpartition("@")
    user = start.removeprefix("postgresql://").partition(":")[0]
    store = opened(f"postgresql://{user}:hunter2@{rest}")

    with pytest.raises(TemporaryError) as caught:
        await store.check()

    assert "127.0.0.1" in caught.value.message
    assert "hunter2" not in repr(caught.value) + str(caught.value.__cause__)


async def test_the_unix_socket_will_do(
    postgres: PostgresServer, postgres_url: str, opened: OpenStore
) -> None:
    """A URL that names the socket's directory reaches the same database."""
    name = postgres_url.rpartition("/")[2]
    store = opened(postgres.socket_url(name))

    await store.transact(begin_counting)

    other = opened(postgres_url)
    stored = await other.read(lambda tx: tx.runs.get(RUN))
    assert stored is not None
    assert replace(stored, release=ReleaseId("r-1")) == stored
