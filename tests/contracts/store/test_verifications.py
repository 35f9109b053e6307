"""Verifications and quarantines, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.verifications import RestoreTarget, VerificationId
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import (
    MINUTE,
    NOON,
    PRODUCTION,
    STAGING,
    digest_of,
    quarantine,
    verification,
)


async def test_a_verification_comes_back_with_its_number(store: Store) -> None:
    """The store numbers verifications in their order; everything else is kept."""
    target = RestoreTarget(VerificationId("v-0"), ReleaseId("r-0"), digest_of("r-0"), 1)
    first = replace(verification("v-1"), restore=target)

    stored = await store.transact(lambda tx: tx.verifications.add(first))
    later = await store.transact(lambda tx: tx.verifications.add(verification("v-2")))

    assert (stored, later.sequence) == (replace(first, sequence=1), 2)
    assert await store.read(lambda tx: tx.verifications.get(first.id)) == stored
    assert await store.read(lambda tx: tx.verifications.get(VerificationId("v-3"))) is None


async def test_verifications_are_listed_newest_first(store: Store) -> None:
    """A stage's own verifications, revoked ones too, up to the limit."""

    def fill(tx: Transaction) -> None:
        for name in ("v-1", "v-2", "v-3"):
            tx.verifications.add(verification(name))
        tx.verifications.add(verification("v-4", stage=PRODUCTION))
        tx.verifications.revoke(VerificationId("v-2"), NOON)

    await store.transact(fill)

    listed = await store.read(lambda tx: tx.verifications.page(STAGING))
    assert [str(one.id) for one in listed] == ["v-3", "v-2", "v-1"]
    assert [one.revoked_at for one in listed] == [None, NOON, None]
    assert await store.read(lambda tx: tx.verifications.page(STAGING, 1)) == listed[:1]


async def test_a_revocation_keeps_its_first_time(store: Store) -> None:
    """Revoking again changes nothing; revoking what is not there is harmless."""
    await store.transact(lambda tx: tx.verifications.add(verification("v-1")))

    once = VerificationId("v-1")
    times = (NOON, NOON + MINUTE)
    await each(store, times, lambda tx, moment: tx.verifications.revoke(once, moment))
    await store.transact(lambda tx: tx.verifications.revoke(VerificationId("v-2"), NOON))

    stored = await store.read(lambda tx: tx.verifications.get(VerificationId("v-1")))
    assert stored is not None
    assert stored.revoked_at == NOON


async def test_a_verification_is_stored_once(store: Store) -> None:
    """The same id again conflicts, and takes no number."""
    await store.transact(lambda tx: tx.verifications.add(verification("v-1")))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.verifications.add(verification("v-1")))

    later = await store.transact(lambda tx: tx.verifications.add(verification("v-2")))
    assert later.sequence == 2


async def test_bytes_are_quarantined_once(store: Store) -> None:
    """While one is in force, another for the same stage and bytes gives back the first."""
    first = await store.transact(lambda tx: tx.quarantines.add(quarantine("q-1")))
    again = await store.transact(lambda tx: tx.quarantines.add(quarantine("q-2")))

    assert first == again == quarantine("q-1")
    assert await store.read(lambda tx: tx.quarantines.in_force(STAGING)) == [quarantine("q-1")]
    assert await store.read(lambda tx: tx.quarantines.get("q-1")) == quarantine("q-1")
    assert await store.read(lambda tx: tx.quarantines.get("q-2")) is None


async def test_quarantines_are_per_stage_and_digest(store: Store) -> None:
    """Other bytes and other stages have quarantines of their own, oldest first."""

    def fill(tx: Transaction) -> None:
        tx.quarantines.add(quarantine("q-1"))
        tx.quarantines.add(quarantine("q-2", of="other bytes"))
        tx.quarantines.add(quarantine("q-3", stage=PRODUCTION))

    await store.transact(fill)

    in_force = await store.read(lambda tx: tx.quarantines.in_force(STAGING))
    assert [one.id for one in in_force] == ["q-1", "q-2"]
    page = await store.read(lambda tx: tx.quarantines.page(Page(limit=2)))
    assert [one.id for one in page] == ["q-3", "q-2"]
    rest = await store.read(lambda tx: tx.quarantines.page(Page(limit=2, before="q-2")))
    assert [one.id for one in rest] == ["q-1"]


async def test_a_lifted_quarantine_is_over(store: Store) -> None:
    """The first who lifts it is remembered; the same bytes can be quarantined anew."""
    await store.transact(lambda tx: tx.quarantines.add(quarantine("q-1")))
    await store.transact(lambda tx: tx.quarantines.lift("q-1", "ana", NOON))
    await store.transact(lambda tx: tx.quarantines.lift("q-1", "ben", NOON + MINUTE))

    lifted = replace(quarantine("q-1"), lifted_at=NOON, lifted_by="ana")
    assert await store.read(lambda tx: tx.quarantines.get("q-1")) == lifted
    assert await store.read(lambda tx: tx.quarantines.in_force(STAGING)) == []

    anew = await store.transact(lambda tx: tx.quarantines.add(quarantine("q-2")))
    assert anew == quarantine("q-2")
    assert await store.read(lambda tx: tx.quarantines.in_force(STAGING)) == [anew]


async def test_a_quarantine_id_is_used_once(store: Store) -> None:
    """The id of another quarantine conflicts instead of hiding the new one."""
    await store.transact(lambda tx: tx.quarantines.add(quarantine("q-1")))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.quarantines.add(quarantine("q-1", of="other bytes")))
