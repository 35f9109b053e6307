"""The inbox, whichever store holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.sources import DeliveryId, DeliveryState, ReceiverName
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import delivery


async def test_a_delivery_comes_back_as_it_was_stored(store: Store) -> None:
    """Every byte, header and time of a delivery is kept."""
    stored = delivery("d-1", body=bytes(range(256)))

    assert await store.transact(lambda tx: tx.deliveries.add(stored)) is True

    assert await store.read(lambda tx: tx.deliveries.get(stored.id)) == stored
    assert await store.read(lambda tx: tx.deliveries.get(DeliveryId("d-2"))) is None


async def test_the_same_delivery_is_stored_once(store: Store) -> None:
    """Receiver, key and body together make a delivery the same; each alone does not."""
    first = delivery("d-1", key="key")

    def add_variants(tx: Transaction) -> list[bool]:
        return [
            tx.deliveries.add(one)
            for one in (
                first,
                replace(first, id=DeliveryId("d-2")),
                replace(first, id=DeliveryId("d-3"), key="other"),
                replace(first, id=DeliveryId("d-4"), body_sha256="other"),
                replace(first, id=DeliveryId("d-5"), receiver=ReceiverName("other")),
            )
        ]

    assert await store.transact(add_variants) == [True, False, True, True, True]


async def test_a_delivery_id_is_used_once(store: Store) -> None:
    """The id of another delivery conflicts and changes nothing."""
    await store.transact(lambda tx: tx.deliveries.add(delivery("d-1")))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.deliveries.add(delivery("d-1", key="other")))

    assert await store.read(lambda tx: tx.deliveries.page(Page())) == [delivery("d-1")]


async def test_a_delivery_is_found_by_its_identity(store: Store) -> None:
    """Receiver, key and body hash lead to the stored delivery."""
    stored = delivery("d-1", key="key")
    await store.transact(lambda tx: tx.deliveries.add(stored))
    body = stored.body_sha256

    assert await store.read(lambda tx: tx.deliveries.find("github", "key", body)) == stored
    assert await store.read(lambda tx: tx.deliveries.find("github", "key", "other")) is None


async def test_saving_changes_state_attempts_and_reason_alone(store: Store) -> None:
    """What was received never changes; what became of it does."""
    stored = delivery("d-1")
    await store.transact(lambda tx: tx.deliveries.add(stored))
    ended = replace(
        stored, state=DeliveryState.DEAD_LETTERED, attempts=3, reason="no JSON", body=b"forged"
    )

    await store.transact(lambda tx: tx.deliveries.save(ended))

    expected = replace(ended, body=stored.body)
    assert await store.read(lambda tx: tx.deliveries.get(stored.id)) == expected


async def test_many_deliveries_are_stored_at_once(store: Store) -> None:
    """What is there already stays as it is; the same one twice is stored once."""
    first = delivery("d-1", key="key")
    await store.transact(lambda tx: tx.deliveries.add(first))
    done = replace(first, state=DeliveryState.DONE)
    await store.transact(lambda tx: tx.deliveries.save(done))
    second = delivery("d-2", body=bytes(range(256)))

    many = [second, first, second, delivery("d-3")]
    await store.transact(lambda tx: tx.deliveries.add_all(many))
    await store.transact(lambda tx: tx.deliveries.add_all([]))

    stored = {one.id: one for one in await store.read(lambda tx: tx.deliveries.page(Page()))}
    assert stored == {one.id: one for one in (done, second, delivery("d-3"))}


async def test_many_deliveries_are_read_and_saved_at_once(store: Store) -> None:
    """Oldest first, without those that are not there; saved, each keeps what was received."""
    values = [delivery(name) for name in ("d-2", "d-1", "d-3")]
    await each(store, values, lambda tx, one: tx.deliveries.add(one))
    names = [DeliveryId(name) for name in ("d-1", "d-2", "d-4")]

    found = await store.read(lambda tx: tx.deliveries.get_all(names))
    ended = [replace(one, state=DeliveryState.DONE, attempts=1, body=b"") for one in found]
    await store.transact(lambda tx: tx.deliveries.save_all(ended))

    assert [one.id for one in found] == ["d-2", "d-1"]
    assert await store.read(lambda tx: tx.deliveries.get_all(names)) == [
        replace(one, state=DeliveryState.DONE, attempts=1) for one in found
    ]
    assert await store.read(lambda tx: tx.deliveries.get_all([])) == []


async def test_refused_requests_are_counted_by_receiver(store: Store) -> None:
    """Of a badly signed request only a number stays."""
    await each(
        store, ("github", "generic", "github"), lambda tx, name: tx.deliveries.count_refused(name)
    )

    assert await store.read(lambda tx: tx.deliveries.refused()) == {"github": 2, "generic": 1}


async def test_deliveries_are_listed_newest_first_page_by_page(store: Store) -> None:
    """The id of a page's last row leads to the next page; the last page leads to nothing."""
    names = [f"d-{number}" for number in range(5)]
    await each(store, names, lambda tx, name: tx.deliveries.add(delivery(name)))

    async def ids(before: str) -> list[str]:
        rows = await store.read(lambda tx: tx.deliveries.page(Page(2, before)))
        return [str(row.id) for row in rows]

    assert await ids("") == ["d-4", "d-3"]
    assert await ids("d-3") == ["d-2", "d-1"]
    assert await ids("d-1") == ["d-0"]
    assert await ids("d-0") == []
    assert await ids("never stored") == []


async def test_deliveries_are_listed_by_state(store: Store) -> None:
    """Dead letters can be listed alone."""
    dead = replace(delivery("d-2"), state=DeliveryState.DEAD_LETTERED)

    def fill(tx: Transaction) -> None:
        tx.deliveries.add(delivery("d-1"))
        tx.deliveries.add(dead)

    await store.transact(fill)

    letters = await store.read(
        lambda tx: tx.deliveries.page(Page(), state=DeliveryState.DEAD_LETTERED)
    )
    assert letters == [dead]


async def test_deliveries_are_listed_without_their_bodies(store: Store) -> None:
    """A list needs no gigabyte: bodies stay where they are, only their length is told."""
    large = replace(delivery("d-2"), body=bytes(1_000), state=DeliveryState.DEAD_LETTERED)
    await each(store, (delivery("d-1"), large), lambda tx, one: tx.deliveries.add(one))

    rows = await store.read(lambda tx: tx.deliveries.page_without_bodies(Page()))
    letters = await store.read(
        lambda tx: tx.deliveries.page_without_bodies(Page(1), state=DeliveryState.DEAD_LETTERED)
    )
    assert rows == [
        (replace(large, body=b""), 1_000),
        (replace(delivery("d-1"), body=b""), len(delivery("d-1").body)),
    ]
    assert letters == rows[:1]
