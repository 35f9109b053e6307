"""Many writers at once, on one process's SQLite and on PostgreSQL with a connection each."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from gitopsd.domain.releases import OfferKind, ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.domain.stages import Lease
from gitopsd.domain.work import Notification, RunEvent
from gitopsd.errors import ConflictError
from gitopsd.store.sql_store import SqlStore
from gitopsd.store_ports import Transaction
from tests.integration.store.conftest import OpenStore
from tests.support.store_child import RUN, begin_counting, count_one
from tests.support.store_steps import each
from tests.support.store_values import MAIN, MINUTE, NOON, STAGING, commit_of, item, run

WRITERS = 8
TURNS = 20


@pytest.fixture
def writers(database_url: str, opened: OpenStore) -> list[SqlStore]:
    """One store for each writer; on SQLite all share the one there can be."""
    if database_url.startswith("sqlite"):
        return [opened(database_url)] * WRITERS
    return [opened(database_url, connections=1) for _ in range(WRITERS)]


async def test_no_transition_is_lost(writers: list[SqlStore]) -> None:
    """Of 160 conditional transitions of one run each was committed or refused, and none is lost."""
    await writers[0].transact(begin_counting)
    ends: Counter[str] = Counter()

    async def write(store: SqlStore) -> None:
        for _ in range(TURNS):
            try:
                await store.transact(count_one)
            except ConflictError:
                ends["refused"] += 1
            else:
                ends["committed"] += 1

    await asyncio.gather(*map(write, writers))

    def look(tx: Transaction) -> tuple[Run | None, int, int]:
        return tx.runs.get(RUN), len(tx.runs.events(RUN)), sum(tx.work.backlog().values())

    stored, events, commands = await writers[0].read(look)
    assert stored is not None
    assert ends["committed"] + ends["refused"] == WRITERS * TURNS
    assert stored.version == events == commands == ends["committed"] > 0


async def test_a_save_that_read_too_early_is_refused(postgres_url: str, opened: OpenStore) -> None:
    """Two transactions read one version at the same moment: one saves, the other is told."""
    stores = [opened(postgres_url), opened(postgres_url)]
    await stores[0].transact(lambda tx: tx.runs.add(run("run-1")))
    both_have_read = Barrier(2, timeout=10)

    def save(tx: Transaction) -> None:
        read = tx.runs.get(RunId("run-1"))
        assert read is not None
        both_have_read.wait()
        tx.runs.save(replace(read, version=1, phase=Phase.RUNNING), expected_version=0)

    ends = await asyncio.gather(*(one.transact(save) for one in stores), return_exceptions=True)

    assert [type(end) for end in ends if end is not None] == [ConflictError]


async def test_every_item_is_claimed_once(writers: list[SqlStore]) -> None:
    """Claimers at once get different items, and all of them."""
    keys = {f"item-{number:03}" for number in range(120)}

    def fill(tx: Transaction) -> None:
        for key in keys:
            tx.work.add(item(key, due=tx.now))

    await writers[0].transact(fill)
    claimed: list[str] = []

    async def claim(number: int, store: SqlStore) -> None:
        owner = f"replica-{number}"
        while items := await store.transact(lambda tx: tx.work.claim(owner, 7, MINUTE)):
            claimed.extend(one.key for one in items)

    await asyncio.gather(*(claim(number, store) for number, store in enumerate(writers)))

    assert len(claimed) == len(keys)
    assert set(claimed) == keys


async def test_asking_again_while_claimed_is_never_lost(writers: list[SqlStore]) -> None:
    """However askers and workers meet, an asking that came last is worked on once more."""
    store, askers = writers[0], writers[1:4]
    asked = done = 0

    async def ask(asker: SqlStore) -> None:
        nonlocal asked
        for _ in range(TURNS):
            asked += 1
            await asker.transact(lambda tx: tx.work.add(item("look", due=tx.now)))

    async def work() -> None:
        nonlocal done
        over = False
        while not over:
            over = all(task.done() for task in asking)
            while items := await store.transact(lambda tx: tx.work.claim("replica", 5, MINUTE)):
                done = asked
                await each(store, items, lambda tx, one: tx.work.finish(one))

    asking = [asyncio.create_task(ask(asker)) for asker in askers]
    await work()
    await asyncio.gather(*asking)

    assert await store.read(lambda tx: tx.work.get("look")) is None
    assert done == asked == len(askers) * TURNS


async def test_numbers_have_neither_gaps_nor_twins(writers: list[SqlStore]) -> None:
    """Offers of the installation and events of a run are numbered by one counter each."""

    def write(tx: Transaction) -> tuple[int, int]:
        offer = tx.releases.offer(MAIN, ReleaseId("r-1"), NOON, OfferKind.ADVANCED)
        event = RunEvent(RUN, 0, NOON, "StepPending", Step.APPLY, "Running")
        return offer.number, tx.runs.append_event(event).sequence

    async def repeat(store: SqlStore) -> list[tuple[int, int]]:
        return [await store.transact(write) for _ in range(5)]

    pairs = [pair for part in await asyncio.gather(*map(repeat, writers)) for pair in part]

    expected = list(range(1, 5 * WRITERS + 1))
    assert sorted(offer for offer, _ in pairs) == expected
    assert sorted(event for _, event in pairs) == expected


async def test_a_reader_of_the_event_stream_misses_nothing(writers: list[SqlStore]) -> None:
    """Whoever remembers the last row number sees every notification, however writers meet."""
    message = Notification("", "on-deployed", "shop", "", "live", NOON)

    async def write(number: int, store: SqlStore) -> None:
        for turn in range(10):
            one = replace(message, id=f"{number}-{turn}")
            await store.transact(lambda tx: tx.records.add_notification(one))  # noqa: B023 - awaited before the next turn

    async def follow() -> list[str]:
        seen: list[str] = []
        last = 0
        while len(seen) < 10 * WRITERS:
            ended = all(task.done() for task in writing)  # before the read that must then see all
            rows = await writers[0].read(lambda tx: tx.records.notifications_after(last, 3))  # noqa: B023 - as above
            seen += [one.id for _, one in rows]
            last = rows[-1][0] if rows else last
            if not rows and ended:
                rest = await writers[0].read(lambda tx: tx.records.notifications_after(0, 1000))
                pytest.fail(f"saw {len(seen)} of {len(rest)}")
        return seen

    writing = [asyncio.create_task(write(*pair)) for pair in enumerate(writers)]
    seen = await follow()
    await asyncio.gather(*writing)

    assert len(set(seen)) == 10 * WRITERS


async def test_only_one_gets_the_lease(writers: list[SqlStore]) -> None:
    """Of claims at the same moment one wins; fences of one stage never come twice."""
    await writers[0].transact(begin_counting)
    lease_for = timedelta(seconds=30)
    fences: list[int] = []

    async def claim(number: int, store: SqlStore) -> Lease | None:
        return await store.transact(
            lambda tx: tx.stages.claim(STAGING, f"replica-{number}", lease_for, cluster_fence=0)
        )

    for _ in range(5):
        leases = await asyncio.gather(*(claim(*pair) for pair in enumerate(writers)))
        (won,) = [lease for lease in leases if lease is not None]
        fences.append(won.fence)
        await each(writers[0], [won], lambda tx, lease: tx.stages.release(lease))

    assert fences == [1, 2, 3, 4, 5]


async def test_transactions_that_lock_each_other_out_both_succeed(
    postgres_url: str, opened: OpenStore
) -> None:
    """PostgreSQL ends one of a deadlock; the store runs that one again."""
    stores = [opened(postgres_url), opened(postgres_url)]
    names = ("run-1", "run-2")
    await each(stores[0], names, lambda tx, name: tx.runs.add(run(name)))
    first_saved = Barrier(2, timeout=10)
    tries: Counter[str] = Counter()

    async def save_both(store: SqlStore, *names: str) -> None:
        def work(tx: Transaction) -> None:
            tries[names[0]] += 1
            for name in names:
                read = tx.runs.get(RunId(name))
                assert read is not None
                changed = replace(read, cursor=names[0], version=read.version + 1)
                tx.runs.save(changed, expected_version=read.version)
                if tries[names[0]] == 1 and name == names[0]:
                    first_saved.wait()

        await store.transact(work)

    await asyncio.gather(
        save_both(stores[0], "run-1", "run-2"), save_both(stores[1], "run-2", "run-1")
    )

    assert sorted(tries.values()) == [1, 2]
    stored = await stores[0].read(lambda tx: [tx.runs.get(RunId(name)) for name in names])
    assert [one.version for one in stored if one is not None] == [2, 2]


async def test_hints_at_once_are_all_counted(writers: list[SqlStore]) -> None:
    """Each of many hints for one ref raises its counter by one."""
    repo, ref, head = "https://git.example/shop.git", MAIN.ref, commit_of("a")

    async def hint(store: SqlStore) -> None:
        for _ in range(5):
            await store.transact(lambda tx: tx.refs.want(repo, ref, expected=head, at=NOON))  # type: ignore[arg-type]  # a plain address

    await asyncio.gather(*map(hint, writers))

    (state,) = await writers[0].read(lambda tx: tx.refs.page())
    assert state.wanted == 5 * WRITERS
