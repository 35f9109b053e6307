"""How much selection reads, however long the history of a line is.

Real: the engine's loading of facts and the rule. In memory: the store.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import cast

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, OfferKind, Release, ReleaseId
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.domain.verifications import Quarantine
from gitopsd.engine.facts import OFFERS_CONSIDERED, load_selection_facts
from gitopsd.pipeline.selection import Selection, select
from gitopsd.store_ports import Transaction
from tests.support.engine_world import MAIN, SHOP, STAGING, World, running_world
from tests.support.store_values import NOON

pytestmark = pytest.mark.looptime

BAD = Digest("sha256:bad")
LAST, BEFORE = (ReleaseId(f"r-{OFFERS_CONSIDERED + number}") for number in (19, 18))


class NotingReleases:
    """Counts what the releases of a transaction are asked."""

    def __init__(self, tx: Transaction) -> None:
        self.asked: Counter[str] = Counter()
        self._tx = tx

    def __getattr__(self, name: str) -> object:
        """Note the question and pass it on."""
        self.asked[name] += 1
        return getattr(self._tx.releases, name)


class NotingTransaction:
    """A transaction whose releases are noted."""

    def __init__(self, tx: Transaction) -> None:
        self.releases = NotingReleases(tx)
        self._tx = tx

    def __getattr__(self, name: str) -> object:
        """Hand out any other part."""
        return getattr(self._tx, name)


def fill(tx: Transaction) -> None:
    """Offer more releases than are considered, each with an image; the newest has the bad one."""
    for number in range(OFFERS_CONSIDERED + 20):
        name = ReleaseId(f"r-{number}")
        image = BAD if name == LAST else Digest(f"sha256:{number}")
        commit = Commit(CommitSha(f"{number:040x}"))
        tx.releases.add(Release(name, SHOP, commit, images={"api": image}))
        tx.releases.offer(Line(SHOP, MAIN), name, tx.now, OfferKind.ADVANCED)


async def choose(world: World) -> tuple[Selection, Counter[str]]:
    """Select for staging; returns the choice and what it asked of the releases."""

    def work(tx: Transaction) -> tuple[Selection, Counter[str]]:
        stage, application = tx.stages.get(STAGING), tx.specs.current(SHOP)
        assert stage is not None
        assert application is not None
        noting = NotingTransaction(tx)
        facts = load_selection_facts(
            cast("Transaction", noting), stage, application, application.stages[0]
        )
        return select(facts), noting.releases.asked

    return await world.store.read(work)


async def test_a_long_line_is_read_in_one_question() -> None:
    """Releases are read together, and not at all while no image is in quarantine."""
    async with running_world() as world:
        await world.clock.sleep(timedelta(seconds=1))
        await world.store.transact(fill)
        free, asked_when_free = await choose(world)
        held = Quarantine("q-1", STAGING, Digest("sha256:x"), (BAD,), LAST, "it crashes", NOON)
        await world.store.transact(lambda tx: tx.quarantines.add(held))
        choice, asked = await choose(world)

    assert free.release == LAST
    assert asked_when_free == {"offers": 1, "renderings": 1}
    assert choice.release == BEFORE
    assert [release for release, _ in choice.skipped] == [LAST]
    assert asked == {"offers": 1, "renderings": 1, "get_many": 1}
