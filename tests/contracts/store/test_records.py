"""Tokens, freezes, audit, notifications, replicas and idempotency keys, whichever store it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.stages import Freeze
from gitopsd.domain.work import AuditEntry, Notification, Page, Replica, Token
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store
from gitopsd.testing.clock import ManualClock
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON

TOKEN = Token("t-1", "hash-1", "ana", ("admins",), "deployer", ("shop",), NOON, NOON + MINUTE)


async def test_a_token_is_found_by_its_hash(store: Store) -> None:
    """Subject, groups, scope and expiry are kept."""
    await store.transact(lambda tx: tx.records.add_token(TOKEN))

    assert await store.read(lambda tx: tx.records.token_by_hash("hash-1")) == TOKEN
    assert await store.read(lambda tx: tx.records.token_by_hash("hash-2")) is None


async def test_saving_a_token_stores_revocation_and_last_use_alone(store: Store) -> None:
    """What a token may do never changes."""
    await store.transact(lambda tx: tx.records.add_token(TOKEN))
    changed = replace(TOKEN, revoked_at=NOON, last_used_at=NOON, role="admin", hashed="other")

    await store.transact(lambda tx: tx.records.save_token(changed))

    expected = replace(TOKEN, revoked_at=NOON, last_used_at=NOON)
    assert await store.read(lambda tx: tx.records.token_by_hash("hash-1")) == expected


async def test_tokens_are_listed_newest_first(store: Store) -> None:
    """All of them, revoked ones too; an id and a hash are used once."""
    second = replace(TOKEN, id="t-2", hashed="hash-2", revoked_at=NOON)
    await each(store, (TOKEN, second), lambda tx, token: tx.records.add_token(token))

    assert await store.read(lambda tx: tx.records.tokens()) == [second, TOKEN]
    for twin in (replace(TOKEN, hashed="new"), replace(TOKEN, id="new")):
        with pytest.raises(ConflictError):
            await each(store, [twin], lambda tx, token: tx.records.add_token(token))


async def test_a_freeze_is_in_force_until_it_ends(store: Store, clock: ManualClock) -> None:
    """It ends by itself at its time, or when a person thaws it; the first thaw is kept."""
    now = clock.now()
    timed = Freeze("f-1", "*", "ana", "sale", now, until=now + MINUTE)
    endless = Freeze("f-2", "application:shop", "ben", "audit", now)
    await each(store, (timed, endless), lambda tx, freeze: tx.records.add_freeze(freeze))

    async def in_force() -> list[str]:
        rows = await store.read(lambda tx: tx.records.freezes(in_force=True))
        return [row.id for row in rows]

    assert await in_force() == ["f-2", "f-1"]
    clock.advance(MINUTE)
    assert await in_force() == ["f-2"]
    await each(store, (NOON, NOON + MINUTE), lambda tx, at: tx.records.thaw("f-2", at))
    assert await in_force() == []
    everything = await store.read(lambda tx: tx.records.freezes(in_force=False))
    assert everything == [replace(endless, thawed_at=NOON), timed]


async def test_a_freeze_is_stored_once(store: Store) -> None:
    """The same id again conflicts."""
    freeze = Freeze("f-1", "*", "ana", "sale", NOON)
    await store.transact(lambda tx: tx.records.add_freeze(freeze))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.records.add_freeze(freeze))


async def test_the_audit_log_is_appended_to(store: Store) -> None:
    """Entries get growing numbers; the list goes newest first, by those numbers."""
    entry = AuditEntry(0, NOON, "ana", "approve", "run-1", details={"plan": "sha256:00"})
    targets = ("run-1", "run-2", "run-3")
    stored = await each(
        store, targets, lambda tx, target: tx.records.append_audit(replace(entry, target=target))
    )

    numbers = [one.sequence for one in stored]
    assert numbers == sorted(set(numbers))
    assert stored[0] == replace(entry, sequence=numbers[0])
    page = await store.read(lambda tx: tx.records.audit(Page(2)))
    assert page == [stored[2], stored[1]]
    cursor = str(page[-1].sequence)
    assert await store.read(lambda tx: tx.records.audit(Page(2, cursor))) == [stored[0]]
    assert await store.read(lambda tx: tx.records.audit(Page(2, "no number"))) == []


async def test_a_notification_is_stored_once(store: Store) -> None:
    """The same event never makes two messages."""
    message = Notification("n-1", "on-deployed", "shop", "staging", "r-1 is live", NOON, {"a": 1})

    assert await store.transact(lambda tx: tx.records.add_notification(message)) is True
    changed = replace(message, message="again")
    assert await store.transact(lambda tx: tx.records.add_notification(changed)) is False

    assert await store.read(lambda tx: tx.records.notification("n-1")) == message
    assert await store.read(lambda tx: tx.records.notification("n-2")) is None


async def test_notifications_are_followed_by_row_number(store: Store) -> None:
    """Who remembers the last number reads on from there, oldest first, missing none."""
    message = Notification("n-1", "on-deployed", "shop", "", "live", NOON)
    await each(
        store,
        [replace(message, id=name) for name in ("n-1", "n-2", "n-2", "n-3")],
        lambda tx, one: tx.records.add_notification(one),
    )

    first = await store.read(lambda tx: tx.records.notifications_after(0, 2))
    rest = await store.read(lambda tx: tx.records.notifications_after(first[-1][0], 2))

    assert [one.id for _, one in (*first, *rest)] == ["n-1", "n-2", "n-3"]
    last = rest[-1][0]
    assert await store.read(lambda tx: tx.records.notifications_after(last, 2)) == []
    assert await store.read(lambda tx: tx.records.last_notification()) == last


async def test_without_notifications_the_last_number_is_zero(store: Store) -> None:
    """A follower of an empty stream begins at its beginning."""
    assert await store.read(lambda tx: tx.records.last_notification()) == 0


async def test_a_heartbeat_is_renewed(store: Store) -> None:
    """Each replica has one row, with its last sign of life."""
    old = Replica("replica-2", NOON, NOON, "1.0")
    new = replace(old, seen_at=NOON + MINUTE, version="1.1")
    other = Replica("replica-1", NOON, NOON)
    await each(store, (old, other, new), lambda tx, one: tx.records.heartbeat(one))

    assert await store.read(lambda tx: tx.records.replicas()) == [other, new]


async def test_a_forgotten_replica_is_gone(store: Store) -> None:
    """Forgetting drops one replica, and is no error when it is not there."""
    one, two = Replica("replica-1", NOON, NOON), Replica("replica-2", NOON, NOON)
    await each(store, (one, two), lambda tx, replica: tx.records.heartbeat(replica))
    await each(store, ("replica-1", "replica-1"), lambda tx, id_: tx.records.forget_replica(id_))

    assert await store.read(lambda tx: tx.records.replicas()) == [two]


async def test_the_first_answer_to_an_idempotency_key_stays(store: Store) -> None:
    """The same request again gets the answer of the first."""
    first: JsonObject = {"status": 201, "body": {"id": "run-1", "tags": ["a"]}}

    assert await store.read(lambda tx: tx.records.answer_of("key")) is None
    assert await store.transact(lambda tx: tx.records.put_answer("key", first, NOON)) is True
    assert await store.transact(lambda tx: tx.records.put_answer("key", {}, NOON)) is False
    assert await store.read(lambda tx: tx.records.answer_of("key")) == first
