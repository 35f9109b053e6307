"""Stages, their leases and fences, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import RunId
from gitopsd.domain.stages import AppliedSet, Condition, Lease, Observation, Soak, Stage, Stall
from gitopsd.domain.verifications import Destination, StallReason, VerificationId
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store
from gitopsd.testing.clock import ManualClock
from tests.support.store_steps import each
from tests.support.store_values import NOON, PRODUCTION, STAGING, digest_of

LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)

FULL = Stage(
    STAGING,
    spec=3,
    destination=Destination("east", "shop", ("monitoring",), "deployer"),
    front=RunId("run-1"),
    next=RunId("run-2"),
    applied=AppliedSet(ReleaseId("r-1"), digest_of("set"), RunId("run-1"), NOON),
    verified=VerificationId("v-1"),
    requested=ReleaseId("r-0"),
    suspended=Condition("ana", "holiday", NOON),
    hold=Condition("gitopsd", "rolled back by hand", NOON),
    stall=Stall(
        StallReason.RESTORED_DATABASE,
        "the cluster has fence 7",
        NOON,
        RunId("run-1"),
        7,
        release="r-2",
        rendered=digest_of("other set"),
    ),
    rewind_accepted=4,
    kept_offer=3,
    superseded_waiting=1,
    observation=Observation(Health.DEGRADED, None, "CrashLoopBackOff", NOON),
    soaks=(
        Soak(VerificationId("v-1"), ReleaseId("r-1"), digest_of("set"), 90 * SECOND, NOON),
        Soak(VerificationId("v-0"), ReleaseId("r-0"), digest_of("old"), failed="it crashed"),
    ),
    retired_at=NOON,
)


async def _stage(store: Store) -> Stage:
    stage = await store.read(lambda tx: tx.stages.get(STAGING))
    assert stage is not None
    return stage


async def _claim(store: Store, owner: str, cluster_fence: int = 0) -> Lease | None:
    return await store.transact(
        lambda tx: tx.stages.claim(STAGING, owner, LEASE, cluster_fence=cluster_fence)
    )


async def test_a_stage_comes_back_as_it_was_stored(store: Store) -> None:
    """Slots, applied set and conditions are kept; a new stage begins at version 0."""
    await store.transact(lambda tx: tx.stages.add(replace(FULL, version=5)))

    assert await _stage(store) == replace(FULL, version=0)
    assert await store.read(lambda tx: tx.stages.get(PRODUCTION)) is None


async def test_a_stage_is_made_once(store: Store) -> None:
    """A second one of the same key conflicts and changes nothing."""
    await store.transact(lambda tx: tx.stages.add(FULL))

    with pytest.raises(ConflictError, match="shop/staging"):
        await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))

    assert await _stage(store) == FULL


async def test_a_save_raises_the_version(store: Store) -> None:
    """What was read is saved once: the version that it was read at is used up."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    read = await _stage(store)

    saved = await store.transact(lambda tx: tx.stages.save(replace(read, spec=2)))

    assert saved == replace(read, spec=2, version=1)
    assert await _stage(store) == saved
    with pytest.raises(ConflictError, match="version 0"):
        await store.transact(lambda tx: tx.stages.save(replace(read, spec=3)))
    assert await _stage(store) == saved


async def test_saving_a_stage_that_is_not_there_conflicts(store: Store) -> None:
    """A save never makes a stage."""
    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.stages.save(Stage(STAGING)))

    assert await store.read(lambda tx: tx.stages.page()) == []


async def test_a_save_leaves_the_lease_alone(store: Store) -> None:
    """Owner, fence and lease belong to the lease's methods, which leave the version alone."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    read = await _stage(store)
    lease = await _claim(store, "replica-1")
    assert lease is not None

    forged = replace(read, owner="forged", fence=99, lease_until=NOON)
    saved = await store.transact(lambda tx: tx.stages.save(forged))

    assert (saved.owner, saved.fence, saved.lease_until) == ("replica-1", 1, lease.until)
    assert await _stage(store) == saved


async def test_stages_are_listed_by_key(store: Store) -> None:
    """All stages, or those of one application, retired ones too."""
    other = StageKey(ApplicationName("another"), StageName("staging"))
    await each(
        store,
        [Stage(key, retired_at=NOON) for key in (STAGING, other, PRODUCTION)],
        lambda tx, stage: tx.stages.add(stage),
    )

    everything = await store.read(lambda tx: tx.stages.page())
    assert [stage.key for stage in everything] == [other, PRODUCTION, STAGING]
    of_shop = await store.read(lambda tx: tx.stages.page(STAGING.application))
    assert [stage.key for stage in of_shop] == [PRODUCTION, STAGING]


async def test_a_lease_excludes_others_until_it_ends(store: Store, clock: ManualClock) -> None:
    """While a lease runs nobody else gets it; at its end the next one does, with a higher fence."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))

    first = await _claim(store, "replica-1")
    assert first == Lease(STAGING, "replica-1", 1, clock.now() + LEASE)
    clock.advance(LEASE - timedelta(microseconds=1))
    assert await _claim(store, "replica-2") is None
    clock.advance(timedelta(microseconds=1))

    second = await _claim(store, "replica-2")
    assert second == Lease(STAGING, "replica-2", 2, clock.now() + LEASE)
    stage = await _stage(store)
    assert (stage.owner, stage.fence, stage.lease_until) == ("replica-2", 2, second.until)


async def test_the_same_owner_may_claim_again(store: Store) -> None:
    """Each claim has a fence of its own; the earlier lease of the same owner is over."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    first = await _claim(store, "replica-1")
    second = await _claim(store, "replica-1")

    assert first is not None
    assert second is not None
    assert second.fence == first.fence + 1
    assert await store.transact(lambda tx: tx.stages.renew(first, LEASE)) is None


async def test_the_fence_exceeds_that_of_the_cluster(store: Store) -> None:
    """A database that was restored from a backup never gives out a fence of the past."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING, fence=3)))

    fences = []
    for cluster_fence in (0, 40, 7):
        lease = await _claim(store, "replica-1", cluster_fence)
        assert lease is not None
        fences.append(lease.fence)

    assert fences == [4, 41, 42]


async def test_a_lease_is_renewed_by_its_owner(store: Store, clock: ManualClock) -> None:
    """A renewal runs from now; even a late one holds as long as nobody took the lease."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    lease = await _claim(store, "replica-1")
    assert lease is not None
    clock.advance(2 * LEASE)

    renewed = await store.transact(lambda tx: tx.stages.renew(lease, LEASE))

    assert renewed == replace(lease, until=clock.now() + LEASE)
    assert (await _stage(store)).lease_until == renewed.until
    assert await _claim(store, "replica-2") is None


async def test_a_lost_lease_is_neither_renewed_nor_released(
    store: Store, clock: ManualClock
) -> None:
    """Once another owner has it, the old lease can do nothing any more."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    old = await _claim(store, "replica-1")
    clock.advance(LEASE)
    new = await _claim(store, "replica-2")
    assert old is not None
    assert new is not None

    assert await store.transact(lambda tx: tx.stages.renew(old, LEASE)) is None
    await store.transact(lambda tx: tx.stages.release(old))

    assert (await _stage(store)).owner == "replica-2"


async def test_a_released_lease_is_free_at_once(store: Store) -> None:
    """The next owner need not wait; the fence still grows; releasing again is harmless."""
    await store.transact(lambda tx: tx.stages.add(Stage(STAGING)))
    first = await _claim(store, "replica-1")
    assert first is not None
    for _ in range(2):
        await store.transact(lambda tx: tx.stages.release(first))
    stage = await _stage(store)
    assert (stage.owner, stage.lease_until, stage.fence) == ("", None, 1)

    second = await _claim(store, "replica-2")

    assert second is not None
    assert second.fence == 2


async def test_a_stage_that_is_not_there_has_no_lease(store: Store) -> None:
    """Nothing is claimed, and nothing is made."""
    assert await _claim(store, "replica-1") is None
    assert await store.read(lambda tx: tx.stages.page()) == []
