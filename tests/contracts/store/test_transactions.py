"""What every transaction promises, whichever store runs it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.releases import OfferKind, ReleaseId
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import RepoURL
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError, PermanentError, TemporaryError
from gitopsd.store_ports import Store, Transaction
from gitopsd.testing.clock import ManualClock
from tests.support.store_values import (
    MAIN,
    NOON,
    SHOP,
    STAGING,
    delivery,
    digest_of,
    item,
    quarantine,
    release,
    rendered_set,
    run,
    verification,
    vote,
)

MAIN_REPO = RepoURL("https://git.example/shop.git")
OFFER = OfferKind.ADVANCED


class _BugError(Exception):
    """Stands for any bug in the caller's function."""


async def test_the_answer_of_the_function_is_returned(store: Store) -> None:
    """A transaction gives back what its function returns, and so does a read."""

    def add_and_answer(tx: Transaction) -> int:
        tx.runs.add(run("run-1"))
        return 7

    assert await store.transact(add_and_answer) == 7
    assert await store.read(lambda tx: tx.runs.get(run("run-1").id)) == run("run-1")


async def test_nothing_of_a_failing_transaction_stays(store: Store) -> None:
    """Whatever a transaction wrote, in whatever table, is gone when its function raises."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    await store.transact(lambda tx: tx.work.add(item("kept", due=NOON)))

    def write_everywhere(tx: Transaction) -> None:
        tx.deliveries.add(delivery("d-1"))
        tx.deliveries.count_refused("github")
        tx.refs.want(MAIN_REPO, MAIN.ref, expected=None, at=NOON)
        tx.releases.add(release("r-1"))
        tx.releases.offer(MAIN, ReleaseId("r-1"), NOON, OFFER)
        tx.rendered.put(rendered_set())
        tx.stages.save(Stage(STAGING, spec=9))
        tx.verifications.add(verification("v-1"))
        tx.runs.add(run("run-1"))
        tx.work.remove("kept")
        tx.votes.add(vote("vote-1"))
        tx.quarantines.add(quarantine("q-1"))
        raise _BugError

    with pytest.raises(_BugError):
        await store.transact(write_everywhere)

    def look(tx: Transaction) -> list[object]:
        stage = tx.stages.get(STAGING)
        return [
            tx.deliveries.page(Page()),
            tx.deliveries.refused(),
            tx.refs.page(),
            tx.releases.page(SHOP, Page()),
            tx.releases.head(MAIN),
            tx.rendered.get(digest_of("set")),
            stage.version if stage else None,
            tx.verifications.page(STAGING),
            tx.runs.live(),
            tx.votes.page(Page()),
            tx.quarantines.page(Page()),
        ]

    nothing: list[object] = [[], {}, [], [], None, None, 0, [], [], [], []]
    assert await store.read(look) == nothing
    assert await store.read(lambda tx: tx.work.get("kept")) == item("kept", due=NOON)


async def test_a_number_that_was_rolled_back_is_given_again(store: Store) -> None:
    """Offers and verifications are numbered without gaps."""

    def offer_and_fail(tx: Transaction) -> None:
        tx.releases.offer(MAIN, ReleaseId("r-1"), NOON, OFFER)
        tx.verifications.add(verification("v-1"))
        raise _BugError

    with pytest.raises(_BugError):
        await store.transact(offer_and_fail)

    offer = await store.transact(lambda tx: tx.releases.offer(MAIN, ReleaseId("r"), NOON, OFFER))
    stored = await store.transact(lambda tx: tx.verifications.add(verification("v-2")))
    assert (offer.number, stored.sequence) == (1, 1)


async def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    """What was written is read back in the same transaction."""

    def write_and_read(tx: Transaction) -> object:
        tx.runs.add(run("run-1"))
        tx.runs.save(replace(run("run-1"), attempt=2, version=1), expected_version=0)
        return tx.runs.get(run("run-1").id)

    assert await store.transact(write_and_read) == replace(run("run-1"), attempt=2, version=1)


async def test_a_read_cannot_write(store: Store) -> None:
    """A function that writes fails when it is run by read, and leaves nothing."""
    with pytest.raises(PermanentError, match=r"Store\.transact"):
        await store.read(lambda tx: tx.runs.add(run("run-1")))

    assert await store.read(lambda tx: tx.runs.live()) == []


async def test_transactions_at_once_lose_no_update(store: Store) -> None:
    """Of several transactions that read and save one run at once, each save holds or conflicts."""
    await store.transact(lambda tx: tx.runs.add(run("run-1")))

    def count(tx: Transaction) -> None:
        read = tx.runs.get(run("run-1").id)
        assert read is not None
        changed = replace(read, attempt=read.attempt + 1, version=read.version + 1)
        tx.runs.save(changed, expected_version=read.version)

    ends = await asyncio.gather(*(store.transact(count) for _ in range(20)), return_exceptions=True)

    refused = [end for end in ends if isinstance(end, ConflictError)]
    assert [end for end in ends if end is not None] == refused
    stored = await store.read(lambda tx: tx.runs.get(run("run-1").id))
    assert stored is not None
    assert stored.attempt - 1 == stored.version == 20 - len(refused)


async def test_time_comes_from_the_database(store: Store, clock: ManualClock) -> None:
    """A transaction has one time, of the store's clock, aware and in UTC."""
    before = await store.transact(lambda tx: (tx.now, tx.now))
    clock.advance(timedelta(seconds=1.5))
    after = await store.read(lambda tx: tx.now)

    assert before[0] is before[1]
    assert after - before[0] == timedelta(seconds=1.5)
    assert after.utcoffset() == timedelta(0)


async def test_time_never_goes_back(store: Store, clock: ManualClock) -> None:
    """A clock that is set back does not take stored times with it."""
    times: list[datetime] = []
    for step in (timedelta(0), timedelta(seconds=2), timedelta(seconds=2)):
        times.append(await store.transact(lambda tx: tx.now))
        clock.set_back(timedelta(hours=1))
        clock.advance(step)

    assert times == sorted(times)


async def test_the_installation_has_an_id_that_stays(store: Store) -> None:
    """Every transaction names the same installation."""
    first = await store.transact(lambda tx: tx.installation)

    assert first
    assert await store.read(lambda tx: tx.installation) == first


async def test_a_closed_store_answers_nothing(store: Store) -> None:
    """After close every call fails as with a database that is away; closing again is harmless."""
    await store.close()
    await store.close()

    with pytest.raises(TemporaryError):
        await store.transact(lambda tx: tx.now)
    with pytest.raises(TemporaryError):
        await store.read(lambda tx: tx.now)


async def test_what_a_transaction_changes_it_reads_back(store: Store) -> None:
    """However often it was read before: runs, stages with their lease, sets."""

    def work(tx: Transaction) -> None:
        tx.runs.add(run("run-1"))
        first = tx.runs.get(RunId("run-1"))
        assert first == run("run-1")
        changed = replace(first, cursor="half", version=1)
        tx.runs.save(changed, expected_version=0)
        assert tx.runs.get(RunId("run-1")) == changed
        with pytest.raises(ConflictError):
            tx.runs.save(replace(first, cursor="other", version=1), expected_version=0)
        assert tx.runs.get(RunId("run-1")) == changed
        tx.runs.drop([RunId("run-1")])
        assert tx.runs.get(RunId("run-1")) is None

        tx.stages.add(Stage(STAGING))
        assert tx.stages.get(STAGING) == Stage(STAGING)
        lease = tx.stages.claim(STAGING, "me", timedelta(seconds=30), cluster_fence=4)
        held = tx.stages.get(STAGING)
        assert lease is not None
        assert held is not None
        assert (held.owner, held.fence, held.lease_until) == ("me", 5, lease.until)
        renewed = tx.stages.renew(lease, timedelta(seconds=60))
        assert renewed is not None
        saved = tx.stages.save(replace(held, spec=9))
        assert (saved.spec, saved.lease_until) == (9, renewed.until)
        assert tx.stages.get(STAGING) == saved
        with pytest.raises(ConflictError):
            tx.stages.save(replace(held, spec=10))
        assert tx.stages.get(STAGING) == saved
        tx.stages.release(renewed)
        free = tx.stages.get(STAGING)
        assert free is not None
        assert (free.owner, free.lease_until) == ("", None)

        tx.rendered.put(rendered_set())
        assert tx.rendered.get(digest_of("set")) == tx.rendered.get(digest_of("set"))
        tx.rendered.drop([digest_of("set")])
        assert tx.rendered.get(digest_of("set")) is None

    await store.transact(work)
