"""Releases, offers, seen commits and renderings, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.releases import (
    ApplicationName,
    Line,
    Offer,
    OfferKind,
    Release,
    ReleaseId,
    SeenCommit,
    StageKey,
    StageName,
)
from gitopsd.domain.sources import RefName
from gitopsd.domain.stages import StageRendering
from gitopsd.domain.work import Page
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import (
    MAIN,
    MINUTE,
    NOON,
    PRODUCTION,
    SHOP,
    STAGING,
    commit_of,
    digest_of,
    release,
)

ONE, TWO, THREE = (ReleaseId(name) for name in ("r-1", "r-2", "r-3"))
HOTFIX = Line(SHOP, RefName("refs/heads/hotfix"))


def _fill(tx: Transaction) -> None:
    for name in (ONE, TWO, THREE):
        tx.releases.add(release(name))


def _offer(tx: Transaction, name: ReleaseId, line: Line = MAIN) -> Offer:
    return tx.releases.offer(line, name, NOON, OfferKind.ADVANCED)


async def test_a_release_comes_back_as_it_was_stored(store: Store) -> None:
    """Commit, images and inputs are kept; the id says that it is there already."""
    stored = release(ONE, images={"api": digest_of("image")})

    assert await store.transact(lambda tx: tx.releases.add(stored)) is True
    assert await store.transact(lambda tx: tx.releases.add(replace(stored, alias="x"))) is False

    assert await store.read(lambda tx: tx.releases.get(ONE)) == stored
    assert await store.read(lambda tx: tx.releases.get(TWO)) is None


async def test_several_releases_are_read_at_once(store: Store) -> None:
    """Each as it was stored, named twice or not; one that is not there is left out."""
    stored = [release(name, images={"api": digest_of(name)}) for name in (ONE, TWO, THREE)]
    await each(store, stored, lambda tx, one: tx.releases.add(one))
    unknown = ReleaseId("r-unknown")

    found = await store.read(lambda tx: tx.releases.get_many([THREE, unknown, ONE, THREE]))
    none = await store.read(lambda tx: tx.releases.get_many([]))

    assert dict(found) == {ONE: stored[0], THREE: stored[2]}
    assert dict(none) == {}


async def test_offers_are_numbered_over_all_lines(store: Store) -> None:
    """The number grows by one with each offer of the installation."""
    offers = [
        await store.transact(lambda tx: _offer(tx, ONE)),
        await store.transact(lambda tx: _offer(tx, ONE, HOTFIX)),
        await store.transact(
            lambda tx: tx.releases.offer(MAIN, TWO, NOON + MINUTE, OfferKind.REWOUND)
        ),
    ]

    assert [offer.number for offer in offers] == [1, 2, 3]
    assert offers[2] == Offer(3, MAIN, TWO, NOON + MINUTE, OfferKind.REWOUND)
    assert await store.read(lambda tx: tx.releases.head(MAIN)) == offers[2]
    assert await store.read(lambda tx: tx.releases.head(HOTFIX)) == offers[1]


async def test_a_line_without_offers_has_no_head(store: Store) -> None:
    """Nothing offered, nothing found."""
    await store.transact(lambda tx: _offer(tx, ONE, HOTFIX))

    assert await store.read(lambda tx: tx.releases.head(MAIN)) is None
    assert await store.read(lambda tx: tx.releases.offers(MAIN)) == []
    assert await store.read(lambda tx: tx.releases.last_offer(MAIN, ONE)) is None


async def test_the_last_offer_of_each_release_counts(store: Store) -> None:
    """A release that was offered twice is listed once, by its last offer, newest first."""

    def offer_all(tx: Transaction) -> list[Offer]:
        return [_offer(tx, name) for name in (ONE, TWO, THREE, ONE)]

    offers = await store.transact(offer_all)

    listed = [offers[3], offers[2], offers[1]]
    assert await store.read(lambda tx: tx.releases.offers(MAIN)) == listed
    assert await store.read(lambda tx: tx.releases.offers(MAIN, limit=2)) == listed[:2]
    assert await store.read(lambda tx: tx.releases.last_offer(MAIN, ONE)) == offers[3]
    assert await store.read(lambda tx: tx.releases.last_offer(MAIN, TWO)) == offers[1]


async def test_releases_are_listed_last_offered_first(store: Store) -> None:
    """Pages follow the last offer; releases that were never offered come last."""

    def fill_and_offer(tx: Transaction) -> None:
        _fill(tx)
        tx.releases.add(release("r-4"))
        tx.releases.add(release("r-other", application=ApplicationName("other")))
        for name in (ONE, TWO, ONE):
            _offer(tx, name)

    await store.transact(fill_and_offer)

    async def ids(limit: int, before: str = "") -> list[str]:
        page = Page(limit, before)
        rows = await store.read(lambda tx: tx.releases.page(SHOP, page))
        return [str(row.id) for row in rows]

    assert await ids(10) == ["r-1", "r-2", "r-4", "r-3"]
    assert await ids(2) == ["r-1", "r-2"]
    assert await ids(2, "r-2") == ["r-4", "r-3"]
    assert await ids(2, "r-3") == []
    assert await ids(2, "never stored") == []


async def test_a_seen_commit_leads_to_its_releases(store: Store) -> None:
    """A commit is found in every line that it headed; seen again, its first time stays."""
    sha = commit_of("a")
    seen = SeenCommit(MAIN, sha, ONE, NOON, concerned=True)
    elsewhere = SeenCommit(HOTFIX, sha, TWO, NOON, concerned=False)
    again = replace(seen, release=THREE, at=NOON + MINUTE)

    await each(store, (seen, elsewhere, again), lambda tx, commit: tx.releases.see(commit))

    found = await store.read(lambda tx: tx.releases.seen(sha))
    assert found == [elsewhere, replace(again, at=NOON)]
    assert await store.read(lambda tx: tx.releases.seen(commit_of("b"))) == []


async def test_releases_are_found_by_an_image_digest(store: Store) -> None:
    """A digest leads to every release that carries it, in one application or in all."""
    image = digest_of("image")

    def carrying(name: str, application: str = "shop") -> Release:
        images = {"api": image, "sidecar": image, "web": digest_of(name)}
        return release(name, application=ApplicationName(application), images=images)

    def fill(tx: Transaction) -> None:
        for stored in (carrying("r-1"), release("r-2"), carrying("r-3", "other"), carrying("r-4")):
            tx.releases.add(stored)

    await store.transact(fill)

    everywhere = [carrying("r-4"), carrying("r-3", "other"), carrying("r-1")]
    assert await store.read(lambda tx: tx.releases.find(None, image)) == everywhere
    here = [carrying("r-4"), carrying("r-1")]
    assert await store.read(lambda tx: tx.releases.find(SHOP, image)) == here
    assert await store.read(lambda tx: tx.releases.find(SHOP, digest_of("none"))) == []


async def test_a_rendering_is_replaced_by_the_next(store: Store) -> None:
    """For a stage and a release the last rendering counts; other stages have their own."""
    first = StageRendering(STAGING, ONE, digest_of("old"))
    last = StageRendering(STAGING, ONE, digest_of("new"), "key", (digest_of("image"),))
    other = StageRendering(STAGING, TWO, digest_of("two"))
    elsewhere = StageRendering(PRODUCTION, ONE, digest_of("p"))

    await each(
        store, (first, other, elsewhere, last), lambda tx, one: tx.releases.put_rendering(one)
    )

    assert await store.read(lambda tx: tx.releases.renderings(STAGING)) == {ONE: last, TWO: other}
    nowhere = StageKey(SHOP, StageName("nowhere"))
    assert await store.read(lambda tx: tx.releases.renderings(nowhere)) == {}
