"""Images, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.images import ImageCandidate, ImageState, ResolvedImage
from gitopsd.domain.releases import ApplicationName, ReleaseId
from gitopsd.store_ports import Store, Transaction
from tests.support.store_values import MINUTE, NOON, SHOP, digest_of

API, WORKER = "registry.example:5000/team/api", "registry.example:5000/team/worker"
OTHER = ApplicationName("other")
ONE, TWO = ReleaseId("r-1"), ReleaseId("r-2")
STATE = ImageState(
    API,
    candidates={
        "digest main": (
            ImageCandidate("main", digest_of("b"), "b" * 40, NOON),
            ImageCandidate("main", digest_of("a")),
        ),
        "semver >=1": (),
    },
    looked_at=NOON,
    next_look_at=NOON + MINUTE,
    tries=2,
    problem="no answer",
)


async def test_what_is_known_of_an_image_is_kept(store: Store) -> None:
    """A state is read as it was saved, and replaced by the next one."""
    assert await store.read(lambda tx: tx.images.get(API)) is None

    await store.transact(lambda tx: tx.images.save(STATE))
    assert await store.read(lambda tx: tx.images.get(API)) == STATE

    later = replace(STATE, tries=0, problem="", candidates={})
    await store.transact(lambda tx: tx.images.save(later))
    assert await store.read(lambda tx: tx.images.get(API)) == later


async def test_images_are_listed_by_name(store: Store) -> None:
    """Every followed image is listed once."""

    def work(tx: Transaction) -> None:
        tx.images.save(ImageState(WORKER))
        tx.images.save(STATE)
        tx.images.save(STATE)

    await store.transact(work)

    assert list(await store.read(lambda tx: tx.images.page())) == [STATE, ImageState(WORKER)]


async def test_the_last_resolution_of_a_reference_is_kept(store: Store) -> None:
    """A later answer replaces the earlier one, for this reference alone."""
    first = ResolvedImage(f"{API}:1", digest_of("a"), NOON)
    second = ResolvedImage(f"{API}:1", digest_of("b"), NOON + MINUTE)

    await store.transact(lambda tx: tx.images.put_resolved(first))
    await store.transact(lambda tx: tx.images.put_resolved(second))

    assert await store.read(lambda tx: tx.images.resolved(f"{API}:1")) == second
    assert await store.read(lambda tx: tx.images.resolved(f"{API}:2")) is None


async def test_a_pin_of_a_release_never_moves(store: Store) -> None:
    """What a release was pinned to first stays; further references are pinned beside it."""
    first = {f"{API}:1": digest_of("a")}
    second = {f"{API}:1": digest_of("b"), f"{WORKER}:1": digest_of("w")}

    assert await store.transact(lambda tx: tx.images.put_pins(ONE, first)) == first
    both = await store.transact(lambda tx: tx.images.put_pins(ONE, second))
    other = await store.transact(lambda tx: tx.images.put_pins(TWO, second))

    assert both == {f"{API}:1": digest_of("a"), f"{WORKER}:1": digest_of("w")}
    assert other == second
    assert await store.read(lambda tx: tx.images.pins(ONE)) == both
    assert await store.transact(lambda tx: tx.images.put_pins(ReleaseId("r-3"), {})) == {}


async def test_releases_are_found_by_their_marks(store: Store) -> None:
    """Each application's releases are found by each of their marks; marking twice is once."""

    def work(tx: Transaction) -> None:
        tx.images.mark(SHOP, TWO, ["tag:1", "tag:1", "revision:a"])
        tx.images.mark(SHOP, ONE, ["tag:1"])
        tx.images.mark(OTHER, ONE, ["tag:1"])
        tx.images.mark(OTHER, TWO, ())

    await store.transact(work)
    await store.transact(work)

    assert list(await store.read(lambda tx: tx.images.marked(SHOP, "tag:1"))) == [ONE, TWO]
    assert list(await store.read(lambda tx: tx.images.marked(SHOP, "revision:a"))) == [TWO]
    assert list(await store.read(lambda tx: tx.images.marked(OTHER, "tag:1"))) == [ONE]
    assert list(await store.read(lambda tx: tx.images.marked(SHOP, "tag:2"))) == []


async def test_an_undone_transaction_leaves_no_image(store: Store) -> None:
    """What a failing transaction wrote about images is gone with it."""

    class BrokenError(Exception):
        """Ends the transaction."""

    def work(tx: Transaction) -> None:
        tx.images.save(STATE)
        tx.images.put_pins(ONE, {f"{API}:1": digest_of("a")})
        tx.images.mark(SHOP, ONE, ["tag:1"])
        raise BrokenError

    with pytest.raises(BrokenError):
        await store.transact(work)

    assert await store.read(lambda tx: tx.images.get(API)) is None
    assert await store.read(lambda tx: tx.images.pins(ONE)) == {}
    assert list(await store.read(lambda tx: tx.images.marked(SHOP, "tag:1"))) == []
