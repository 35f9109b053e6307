"""Approvals and rejections, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.gates import Decision
from gitopsd.domain.runs import RunId
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON, digest_of, vote

RUN = RunId("run-1")


async def test_votes_come_back_in_their_order(store: Store) -> None:
    """A run's votes are read oldest first, with everything that was said."""
    votes = [vote("vote-1"), vote("vote-2", subject="ben"), vote("vote-3", plan="other plan")]
    await each(store, (*votes, vote("vote-4", of="run-2")), lambda tx, one: tx.votes.add(one))

    assert await store.read(lambda tx: tx.votes.of_run(RUN)) == votes
    assert await store.read(lambda tx: tx.votes.of_run(RunId("run-3"))) == []


async def test_what_a_vote_was_given_with_is_kept(store: Store) -> None:
    """The token, and whether the person was known: both are looked at when the gate opens."""
    given = replace(vote("vote-1"), known=True, token="t-7")
    await store.transact(lambda tx: tx.votes.add(given))

    assert await store.read(lambda tx: tx.votes.of_run(RUN)) == [given]


async def test_who_votes_again_changes_the_vote(store: Store) -> None:
    """For one run and plan a person has one vote, the last."""
    changed = replace(vote("vote-3"), decision=Decision.REJECT, reason="no", at=NOON + MINUTE)
    await each(
        store,
        (vote("vote-1"), vote("vote-2", subject="ben"), changed),
        lambda tx, one: tx.votes.add(one),
    )

    found = await store.read(lambda tx: tx.votes.of_run(RUN))
    assert found == [vote("vote-2", subject="ben"), changed]


async def test_votes_for_another_plan_are_voided(store: Store) -> None:
    """Those for the kept plan stand; those void already keep their time and are not counted."""

    def fill(tx: Transaction) -> None:
        tx.votes.add(vote("vote-1"))
        tx.votes.add(vote("vote-2", subject="ben", plan="other plan"))
        tx.votes.add(vote("vote-3", of="run-2"))

    await store.transact(fill)
    kept, later = digest_of("plan"), NOON + MINUTE

    assert await store.transact(lambda tx: tx.votes.void(RUN, keep_plan=kept, at=NOON)) == 1
    assert await store.transact(lambda tx: tx.votes.void(RUN, keep_plan=kept, at=later)) == 0
    assert await store.transact(lambda tx: tx.votes.void(RUN, keep_plan=None, at=later)) == 1

    void_at = [one.void_at for one in await store.read(lambda tx: tx.votes.of_run(RUN))]
    assert void_at == [later, NOON]
    elsewhere = await store.read(lambda tx: tx.votes.of_run(RunId("run-2")))
    assert elsewhere == [vote("vote-3", of="run-2")]


async def test_votes_are_listed_newest_first_page_by_page(store: Store) -> None:
    """The id of a page's last vote leads to the next page."""
    await each(
        store,
        [vote(f"vote-{number}", subject=f"person-{number}") for number in range(1, 4)],
        lambda tx, one: tx.votes.add(one),
    )

    first = await store.read(lambda tx: tx.votes.page(Page(2)))
    rest = await store.read(lambda tx: tx.votes.page(Page(2, first[-1].id)))

    assert [one.id for one in (*first, *rest)] == ["vote-3", "vote-2", "vote-1"]


async def test_a_vote_id_is_used_once(store: Store) -> None:
    """The id of another person's vote conflicts and changes nothing."""
    await store.transact(lambda tx: tx.votes.add(vote("vote-1")))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.votes.add(vote("vote-1", subject="ben")))

    assert await store.read(lambda tx: tx.votes.of_run(RUN)) == [vote("vote-1")]
