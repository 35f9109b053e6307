"""Many deliveries at once: stored together, worked on together, and each other's trouble never.

Real: intake, the inbox and the worker. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from gitopsd.domain.sources import CommitSha, Delivery, DeliveryState
from gitopsd.domain.work import Page, WorkKind
from gitopsd.engine.inbox import MOST_TOGETHER, Inbox
from gitopsd.engine.scope import current_scope
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import World, make_world, shop_spec, started
from tests.support.store_values import delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.record_ports import Deliveries, Refs

pytestmark = pytest.mark.looptime

T = TypeVar("T")
DEADLY = CommitSha("d" * 40)


@dataclass
class WatchedStore:
    """A store that tells what went into each of its transactions, and may refuse.

    Attributes:
        inner: The real one.
        gate: Transactions wait until it is set.
        together: Ids of the deliveries that each transaction stored, in order.
        refused: Id -> what to raise when it is to be stored.
    """

    inner: Store
    gate: asyncio.Event
    together: list[list[str]] = field(default_factory=list)
    refused: dict[str, Exception] = field(default_factory=dict)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction when the gate is open."""
        await self.gate.wait()

        def watched(tx: Transaction) -> T:
            return work(cast("Transaction", _Watched(tx, deliveries=_WatchedInbox(self, tx))))

        return await self.inner.transact(watched)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self.inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self.inner.close()


class _Watched:
    """Something of which a part is another."""

    def __init__(self, inner: object, **other: object) -> None:
        self._inner = inner
        self._other = other

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - passed on as it is
        return self._other[name] if name in self._other else getattr(self._inner, name)


class _WatchedInbox:
    def __init__(self, store: WatchedStore, tx: Transaction) -> None:
        self._store = store
        self._deliveries: Deliveries = tx.deliveries

    def add_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store, unless one of them is refused."""
        self._store.together.append([one.id for one in deliveries])
        for one in deliveries:
            if one.id in self._store.refused:
                raise self._store.refused[one.id]
        self._deliveries.add_all(deliveries)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - passed on as it is
        return getattr(self._deliveries, name)


def watch(world: World) -> WatchedStore:
    """Look at what an inbox stores."""
    gate = asyncio.Event()
    gate.set()
    return WatchedStore(world.store, gate)


async def beat(world: World) -> None:
    """Let everything that can go on go on."""
    await world.clock.sleep(world.services.pace.sweep / 100)


async def stored(world: World) -> dict[str, Delivery]:
    """Read what is stored, by id."""
    rows = await world.store.read(lambda tx: tx.deliveries.page(Page(1000)))
    return {one.id: one for one in rows}


async def test_what_comes_during_a_commit_is_committed_together_next() -> None:
    """The first is stored at once; the others share one transaction, oldest first."""
    world = make_world(shop_spec())
    store, inbox = watch(world), Inbox()
    store.gate.clear()
    first = asyncio.create_task(inbox.store(store, delivery("d-0")))
    await beat(world)
    others = [asyncio.create_task(inbox.store(store, delivery(f"d-{n}"))) for n in range(1, 5)]
    store.gate.set()
    await asyncio.gather(first, *others)

    assert store.together == [["d-0"], ["d-1", "d-2", "d-3", "d-4"]]
    assert sorted(await stored(world)) == ["d-0", "d-1", "d-2", "d-3", "d-4"]
    assert (await world.store.read(lambda tx: tx.work.backlog()))[WorkKind.PROCESS_DELIVERY] == 5


async def test_a_transaction_is_bounded_by_number_and_bytes() -> None:
    """A flood does not keep the only writer of a database for itself."""
    world = make_world(shop_spec())
    store, inbox = watch(world), Inbox()
    large = [delivery(f"large-{n}", body=bytes(3 * 1024 * 1024)) for n in range(3)]
    small = [delivery(f"small-{n}") for n in range(MOST_TOGETHER + 1)]
    await asyncio.gather(*(inbox.store(store, one) for one in (*large, *small)))

    assert [len(one) for one in store.together] == [2, MOST_TOGETHER, 2]
    assert len(await stored(world)) == len(large) + len(small)


async def test_what_cannot_be_stored_is_no_trouble_of_others() -> None:
    """Only its own sender hears of it; those in the same transaction are stored without it."""
    world = make_world(shop_spec())
    store, inbox = watch(world), Inbox()
    store.refused["d-1"] = PermanentError("it does not fit")
    told = await asyncio.gather(
        *(inbox.store(store, delivery(f"d-{n}")) for n in range(3)), return_exceptions=True
    )

    assert [type(one) for one in told] == [type(None), PermanentError, type(None)]
    assert sorted(await stored(world)) == ["d-0", "d-2"]


async def test_a_store_that_is_down_is_told_to_everybody_who_waits() -> None:
    """Nothing was stored, so nobody is told that it was; the next one finds the store again."""
    world = make_world(shop_spec())
    store, inbox = watch(world), Inbox()
    store.refused["d-1"] = TemporaryError("no answer")
    told = await asyncio.gather(
        *(inbox.store(store, delivery(f"d-{n}")) for n in range(3)), return_exceptions=True
    )
    store.refused.clear()
    await inbox.store(store, delivery("d-3"))

    assert [type(one) for one in told] == [TemporaryError] * 3
    assert list(await stored(world)) == ["d-3"]


async def test_whoever_gives_up_takes_nobody_along() -> None:
    """One that waits no longer is passed over; the transaction under way ends before it goes."""
    world = make_world(shop_spec())
    store, inbox = watch(world), Inbox()
    store.gate.clear()
    tasks = [asyncio.create_task(inbox.store(store, delivery(f"d-{n}"))) for n in range(4)]
    await beat(world)
    late = [asyncio.create_task(inbox.store(store, delivery(f"e-{n}"))) for n in range(3)]
    await beat(world)
    tasks[0].cancel()
    late[1].cancel()
    await beat(world)
    gone = tasks[0].done()
    store.gate.set()
    told = await asyncio.gather(*tasks, *late, return_exceptions=True)

    assert not gone
    assert [isinstance(one, asyncio.CancelledError) for one in told] == [
        *(number == 0 for number in range(4)),
        *(number == 1 for number in range(3)),
    ]
    assert sorted(await stored(world)) == ["d-0", "d-1", "d-2", "d-3", "e-0", "e-2"]


class _DeadlyError(Exception):
    """What a fatal bug raises."""


class _DeadlyRefs:
    """Refs at which one commit ends the process, or meets a bug."""

    def __init__(self, inner: Refs, store: DeadlyStore) -> None:
        self._inner = inner
        self._store = store

    def want(self, *args: Any, expected: CommitSha | None, **kwargs: Any) -> object:  # noqa: ANN401 - passed on as they are
        """Fail in the middle of the work on one delivery."""
        if expected == DEADLY and current_scope().work == WorkKind.PROCESS_DELIVERY.value:
            self._store.tried += 1
            raise _DeadlyError
        return self._inner.want(*args, expected=expected, **kwargs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - passed on as it is
        return getattr(self._inner, name)


@dataclass
class DeadlyStore:
    """A store at which a process stands still for good when it works on one delivery.

    Attributes:
        inner: The real one.
        deadly: Whether the process stands still, or hears an error.
        dying: Set while the process stands still.
        tried: How often the delivery was tried.
        dead: Whether the process does nothing more.
    """

    inner: Store
    deadly: bool
    dying: asyncio.Event = field(default_factory=asyncio.Event)
    tried: int = 0
    dead: bool = False

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction; a dead process does nothing more, and tells nobody."""
        if self.dead:
            raise TemporaryError("the process is dead")
        try:
            return await self.inner.transact(
                lambda tx: work(cast("Transaction", _Watched(tx, refs=_DeadlyRefs(tx.refs, self))))
            )
        except _DeadlyError:
            if not self.deadly:
                raise
            self.dead = True
            self.dying.set()
            await asyncio.Event().wait()
            raise

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self.inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self.inner.close()


async def settled(world: World) -> bool:
    """Whether every delivery was worked on or given up."""
    return all(one.state is not DeliveryState.STORED for one in (await stored(world)).values())


def make_deadly(world: World, *, deadly: bool) -> DeadlyStore:
    """Let one delivery of a world never be worked on to its end."""
    store = DeadlyStore(world.services.store, deadly)
    world.services = replace(world.services, store=store)
    return store


async def fill(world: World) -> None:
    """Let ten deliveries be stored before anybody works; the fifth is deadly."""
    for number in range(10):
        after = DEADLY if number == 4 else CommitSha(f"{number:040x}")
        assert await world.ring(None, after) == 202
        await beat(world)


async def told(world: World) -> Counter[tuple[DeliveryState, int]]:
    """Count deliveries by what became of them, and after how many tries."""
    return Counter((one.state, one.attempts) for one in (await stored(world)).values())


async def test_a_bug_that_one_delivery_meets_is_no_trouble_of_those_beside_it() -> None:
    """They are tried again without it, and it is given up after three tries of its own."""
    world = make_world(shop_spec())
    store = make_deadly(world, deadly=False)
    await fill(world)
    async with started(world):
        await world.until(lambda: settled(world), "everything to be worked on")

    assert store.tried == 3
    assert await told(world) == {(DeliveryState.DONE, 2): 9, (DeliveryState.DEAD_LETTERED, 3): 1}


async def test_a_delivery_that_kills_takes_nobody_along() -> None:
    """The process dies three times; those that were claimed beside it have lost no try for that."""
    world = make_world(shop_spec())
    store = make_deadly(world, deadly=True)
    await fill(world)
    for death in range(1, 4):
        async with started(world):
            async with asyncio.timeout(3600):
                await store.dying.wait()
        assert store.tried == death
        store.dead = False
        store.dying.clear()
    async with started(world):
        await world.until(lambda: settled(world), "everything to be worked on")

    assert store.tried == 3
    found = await told(world)
    assert found[DeliveryState.DEAD_LETTERED, 3] == 1
    assert found[DeliveryState.DONE, 2] == 9
