"""Gates that people let runs pass, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.gates import GateSkip
from gitopsd.domain.runs import RunId
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON, digest_of

RUN, OTHER = RunId("run-1"), RunId("run-2")


def skip(name: str, *, of: RunId = RUN, gate: str = "approval") -> GateSkip:
    """Make a skip."""
    return GateSkip(
        name, of, digest_of("plan"), gate, "abc", "ana", "production is down", NOON, None, "t-1"
    )


async def test_skips_come_back_in_their_order(store: Store) -> None:
    """A run's are read oldest first, with everything that was said, a gate's second one too."""
    mine = [skip("skip-1"), skip("skip-2", gate="soak-2"), skip("skip-3")]
    await each(store, (*mine, skip("skip-4", of=OTHER)), lambda tx, one: tx.skips.add(one))

    assert await store.read(lambda tx: tx.skips.of_run(RUN)) == mine
    assert await store.read(lambda tx: tx.skips.of_run(RunId("run-3"))) == []


async def test_a_skip_id_is_used_once(store: Store) -> None:
    """Another one of the same id conflicts and changes nothing."""
    await store.transact(lambda tx: tx.skips.add(skip("skip-1")))

    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.skips.add(skip("skip-1", of=OTHER)))

    assert await store.read(lambda tx: tx.skips.of_run(RUN)) == [skip("skip-1")]


async def test_void_skips_keep_the_time(store: Store) -> None:
    """Those of one run stop counting at once; the second time nothing is left to void."""

    def fill(tx: Transaction) -> None:
        tx.skips.add(skip("skip-1"))
        tx.skips.add(skip("skip-2", of=OTHER))

    await store.transact(fill)
    times = (NOON, NOON + MINUTE)
    voided = await each(store, times, lambda tx, at: tx.skips.void(RUN, at))

    assert voided == [1, 0]
    assert await store.read(lambda tx: tx.skips.of_run(RUN)) == [
        replace(skip("skip-1"), void_at=NOON)
    ]
    assert await store.read(lambda tx: tx.skips.of_run(OTHER)) == [skip("skip-2", of=OTHER)]


async def test_skips_go_with_their_runs(store: Store) -> None:
    """Dropping is safe to repeat, and dropping nothing drops nothing."""
    await each(store, (skip("skip-1"), skip("skip-2", of=OTHER)), lambda tx, one: tx.skips.add(one))
    drops: tuple[tuple[RunId, ...], ...] = ((), (RUN,), (RUN,))
    await each(store, drops, lambda tx, gone: tx.skips.drop(gone))

    assert await store.read(lambda tx: tx.skips.of_run(RUN)) == []
    assert len(await store.read(lambda tx: tx.skips.of_run(OTHER))) == 1
