"""The outbox, whichever store holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.store_ports import Store
from gitopsd.testing.clock import ManualClock
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, item

CLAIM = timedelta(seconds=60)


async def _add(store: Store, *items: WorkItem) -> None:
    await each(store, items, lambda tx, one: tx.work.add(one))


async def _claim(store: Store, owner: str = "replica-1", limit: int = 10) -> Sequence[WorkItem]:
    return await store.transact(lambda tx: tx.work.claim(owner, limit, CLAIM))


async def _get(store: Store, key: str = "a") -> WorkItem | None:
    return await store.read(lambda tx: tx.work.get(key))


async def test_an_item_comes_back_as_it_was_stored(store: Store, clock: ManualClock) -> None:
    """Kind, subject, payload and due time are kept."""
    await _add(store, item("a", due=clock.now()))

    assert await _get(store) == item("a", due=clock.now())
    assert await _get(store, "b") is None


async def test_a_key_that_is_there_keeps_its_row(store: Store, clock: ManualClock) -> None:
    """Asking again keeps what is asked, takes the earlier due time and counts the asking."""
    now = clock.now()
    first = item("a", due=now + MINUTE)
    await _add(store, first, replace(item("a", due=now + 2 * MINUTE), subject="other", payload={}))
    assert await _get(store) == replace(first, generation=1)

    await _add(store, item("a", due=now))
    assert await _get(store) == replace(first, due_at=now, generation=2)


async def test_due_items_are_claimed_oldest_first(store: Store, clock: ManualClock) -> None:
    """What is due is claimed by its due time, as much as wanted; what is not due waits."""
    now = clock.now()
    items = [item(key, due=now - age * MINUTE) for key, age in (("a", 1), ("b", 3), ("c", 0))]
    await _add(store, *items, item("later", due=now + timedelta(microseconds=1)))

    claimed = await _claim(store, limit=2)

    assert claimed == [
        replace(one, owner="replica-1", claimed_until=now + CLAIM, attempts=1)
        for one in (items[1], items[0])
    ]
    assert await _get(store, "b") == claimed[0]
    assert [one.key for one in await _claim(store)] == ["c"]
    assert await _claim(store) == []


async def test_one_item_is_claimed_by_its_key(store: Store, clock: ManualClock) -> None:
    """Just that one, with an attempt counted, if it is due and nobody works on it."""
    now = clock.now()
    await _add(store, item("a", due=now), item("b", due=now), item("c", due=now + MINUTE))

    async def claim_one(key: str) -> WorkItem | None:
        return await store.transact(lambda tx: tx.work.claim_one(key, "replica-1", CLAIM))

    taken = await claim_one("b")

    wanted = replace(item("b", due=now), owner="replica-1", claimed_until=now + CLAIM, attempts=1)
    assert taken == wanted
    assert await _get(store, "b") == wanted
    assert [await claim_one(key) for key in ("b", "c", "d")] == [None, None, None]
    assert [one.key for one in await _claim(store)] == ["a"]


async def test_a_claim_excludes_others_until_it_ends(store: Store, clock: ManualClock) -> None:
    """A claimed item is nobody else's; when the claim ends unfinished, it is tried once more."""
    await _add(store, item("a", due=clock.now()))
    await _claim(store)
    clock.advance(CLAIM - timedelta(microseconds=1))
    assert await _claim(store, "replica-2") == []

    clock.advance(timedelta(microseconds=1))
    taken = await _claim(store, "replica-2")

    assert [(one.owner, one.attempts) for one in taken] == [("replica-2", 2)]


async def test_a_finished_item_is_gone(store: Store, clock: ManualClock) -> None:
    """Finishing removes it; finishing again is harmless."""
    await _add(store, item("a", due=clock.now()))
    (claimed,) = await _claim(store)

    for _ in range(2):
        await store.transact(lambda tx: tx.work.finish(claimed))

    assert await _get(store) is None


async def test_an_item_asked_for_again_is_not_finished(store: Store, clock: ManualClock) -> None:
    """Asked for while it was worked on, it is due again at once, as new work."""
    await _add(store, item("a", due=clock.now()))
    (claimed,) = await _claim(store)
    await _add(store, item("a", due=clock.now() + MINUTE))
    clock.advance(timedelta(seconds=1))

    await store.transact(lambda tx: tx.work.finish(claimed))

    expected = replace(item("a", due=clock.now()), generation=1)
    assert await _get(store) == expected
    (again,) = await _claim(store)
    await store.transact(lambda tx: tx.work.finish(again))
    assert await _get(store) is None


async def test_many_items_are_added_at_once(store: Store, clock: ManualClock) -> None:
    """Each as if it was added alone: one that is there keeps its row and counts the asking."""
    now = clock.now()
    await _add(store, item("b", due=now))

    many = [item(key, due=now + MINUTE) for key in ("c", "b", "a")]
    await store.transact(lambda tx: tx.work.add_all(many))
    await store.transact(lambda tx: tx.work.add_all([]))

    assert await _get(store, "a") == item("a", due=now + MINUTE)
    assert await _get(store, "b") == replace(item("b", due=now), generation=1)
    assert await _get(store, "c") == item("c", due=now + MINUTE)


async def test_many_items_are_finished_at_once(store: Store, clock: ManualClock) -> None:
    """Each as if it was finished alone: asked for again it is due, a lost claim ends nothing."""
    for key in ("a", "b", "c"):
        await _add(store, item(key, due=clock.now()))
        clock.advance(timedelta(seconds=1))
    done, again, lost = await _claim(store)
    await _add(store, item("b", due=clock.now() + MINUTE))
    taken = replace(lost, owner="replica-2")

    await store.transact(lambda tx: tx.work.finish_all([taken, again, done]))
    await store.transact(lambda tx: tx.work.finish_all([]))

    assert await _get(store, "a") is None
    assert await _get(store, "b") == replace(item("b", due=clock.now()), generation=1)
    assert await _get(store, "c") == lost


async def test_a_lost_claim_finishes_nothing(store: Store, clock: ManualClock) -> None:
    """Who was too slow neither removes nor postpones what another one works on now."""
    await _add(store, item("a", due=clock.now()))
    (old,) = await _claim(store)
    clock.advance(CLAIM)
    (new,) = await _claim(store)

    await store.transact(lambda tx: tx.work.finish(old))
    await store.transact(lambda tx: tx.work.postpone(old, clock.now() + MINUTE))

    assert await _get(store) == new


async def test_a_postponed_item_waits(store: Store, clock: ManualClock) -> None:
    """It is given back, due later, its attempts remembered."""
    await _add(store, item("a", due=clock.now()))
    (claimed,) = await _claim(store)
    later = clock.now() + MINUTE

    await store.transact(lambda tx: tx.work.postpone(claimed, later))

    assert await _get(store) == replace(item("a", due=later), attempts=1)
    assert await _claim(store) == []
    clock.advance(MINUTE)
    assert [one.attempts for one in await _claim(store)] == [2]


async def test_an_item_asked_for_again_is_not_postponed(store: Store, clock: ManualClock) -> None:
    """Asked for while it was worked on, it is due now instead of later."""
    await _add(store, item("a", due=clock.now()))
    (claimed,) = await _claim(store)
    await _add(store, item("a", due=clock.now()))

    await store.transact(lambda tx: tx.work.postpone(claimed, clock.now() + MINUTE))

    assert await _get(store) == replace(item("a", due=clock.now()), attempts=1, generation=1)


async def test_only_an_unclaimed_item_is_hastened(store: Store, clock: ManualClock) -> None:
    """It becomes due earlier, never later; a claimed one and a missing one stay as they are."""
    now = clock.now()
    await _add(store, item("a", due=now + MINUTE), item("claimed", due=now - MINUTE))
    (claimed,) = await _claim(store)

    await each(
        store,
        (now + 2 * MINUTE, now + timedelta(seconds=1), now + MINUTE),
        lambda tx, at: tx.work.hasten("a", at),
    )
    await store.transact(lambda tx: tx.work.hasten("claimed", now - 2 * MINUTE))
    await store.transact(lambda tx: tx.work.hasten("missing", now))

    assert await _get(store) == item("a", due=now + timedelta(seconds=1))
    assert await _get(store, "claimed") == claimed
    clock.advance(CLAIM)
    await store.transact(lambda tx: tx.work.hasten("claimed", now - 2 * MINUTE))
    hastened = await _get(store, "claimed")
    assert hastened is not None
    assert hastened.due_at == now - 2 * MINUTE


async def test_a_removed_item_is_gone(store: Store, clock: ManualClock) -> None:
    """Claimed or not; removing again is harmless."""
    await _add(store, item("a", due=clock.now()))
    await _claim(store)

    for _ in range(2):
        await store.transact(lambda tx: tx.work.remove("a"))

    assert await _get(store) is None


async def test_the_next_due_time_is_that_of_an_unclaimed_item(
    store: Store, clock: ManualClock
) -> None:
    """Nothing to do has no due time; a claimed item counts again when its claim has ended."""
    now = clock.now()
    assert await store.read(lambda tx: tx.work.next_due()) is None

    await _add(store, item("a", due=now), item("b", due=now + MINUTE))
    assert await store.read(lambda tx: tx.work.next_due()) == now
    await _claim(store)
    assert await store.read(lambda tx: tx.work.next_due()) == now + MINUTE
    clock.advance(CLAIM)
    assert await store.read(lambda tx: tx.work.next_due()) == now


async def test_claims_of_a_dead_owner_are_given_back(store: Store, clock: ManualClock) -> None:
    """All claims of one owner, or of all owners, end at once; attempts stay counted."""
    await _add(store, item("a", due=clock.now()))
    await _claim(store, "replica-1")
    await _add(store, item("b", due=clock.now()))
    await _claim(store, "replica-2")

    assert await store.transact(lambda tx: tx.work.release_claims("replica-1")) == 1
    assert [(one.key, one.attempts) for one in await _claim(store, "replica-3")] == [("a", 2)]
    assert await store.transact(lambda tx: tx.work.release_claims()) == 2
    assert await store.transact(lambda tx: tx.work.release_claims()) == 0
    assert [one.key for one in await _claim(store)] == ["a", "b"]


async def test_the_backlog_is_counted_by_kind(store: Store, clock: ManualClock) -> None:
    """Claimed and waiting items count alike; kinds without items are left out."""
    now = clock.now()
    await _add(
        store,
        item("a", due=now),
        item("b", due=now + MINUTE),
        item("c", due=now, kind=WorkKind.LOOK),
    )
    await _claim(store, limit=1)

    backlog = await store.read(lambda tx: dict(tx.work.backlog()))
    assert backlog == {WorkKind.EXECUTE_STEP: 2, WorkKind.LOOK: 1}
