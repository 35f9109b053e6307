"""Deliveries whose processing fails in ways that nobody foresaw: three tries, and no crash loop.

Real: intake and the worker. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import pytest

from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.sources import Delivery, DeliveryState
from gitopsd.domain.work import Page, WorkKind
from gitopsd.engine.scope import current_scope
from gitopsd.errors import TemporaryError
from gitopsd.record_ports import Refs
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import (
    STAGING,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

T = TypeVar("T")

GOOD = "registry.example/api:1"


class PoisonError(Exception):
    """What a bug raises."""


class _PoisonedRefs:
    """Refs that no delivery can ask to be looked at."""

    def __init__(self, inner: Refs, poison: PoisonedStore) -> None:
        self._inner = inner
        self._poison = poison

    def want(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - passed on as they are
        """Fail in the middle of the work on a delivery."""
        if current_scope().work != WorkKind.PROCESS_DELIVERY.value:
            return self._inner.want(*args, **kwargs)
        self._poison.tried += 1
        raise PoisonError

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _PoisonedTransaction:
    def __init__(self, inner: Transaction, poison: PoisonedStore) -> None:
        self._inner = inner
        self.refs = _PoisonedRefs(inner.refs, poison)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@dataclass
class PoisonedStore:
    """A store in which a hint cannot be stored.

    Attributes:
        inner: The real one.
        deadly: Whether the process stands still there, for good, instead of hearing an error.
        poisonous: Whether it is so.
        tried: How often it was.
        dying: Set while the process stands still.
    """

    inner: Store
    deadly: bool
    dying: asyncio.Event
    poisonous: bool = True
    tried: int = 0
    dead: bool = False

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction; a dead process does nothing more, and tells nobody."""
        if self.dead:
            raise TemporaryError("the process is dead")
        try:
            return await self.inner.transact(
                lambda tx: (
                    work(cast("Transaction", _PoisonedTransaction(tx, self)))
                    if self.poisonous
                    else work(tx)
                )
            )
        except PoisonError:
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


def poison(world: World, *, deadly: bool) -> PoisonedStore:
    """Let no delivery of a world be worked on to its end."""
    store = PoisonedStore(world.services.store, deadly, asyncio.Event())
    world.services = replace(world.services, store=store)
    return store


async def deliveries(world: World) -> list[Delivery]:
    """Read what is stored, oldest first."""
    return list(reversed(await world.store.read(lambda tx: tx.deliveries.page(Page()))))


async def settled(world: World) -> bool:
    """Whether every delivery was worked on or given up."""
    return all(one.state is not DeliveryState.STORED for one in await deliveries(world))


async def goes_on(world: World) -> None:
    """The next delivery is worked on as if nothing had been."""
    await world.push("two", deployment(GOOD))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_bug_is_met_three_times() -> None:
    """Reported each time, then the delivery is a dead letter that says where to look."""
    world = make_world(shop_spec())
    store = poison(world, deadly=False)
    async with started(world):
        await world.push("one", deployment(GOOD))
        await world.until(lambda: settled(world), "the dead letter")
        [dead] = await deliveries(world)
        store.poisonous = False
        await goes_on(world)

    assert store.tried == 3
    assert dead.state is DeliveryState.DEAD_LETTERED
    assert dead.attempts == 3
    assert dead.reason == "given up after 3 tries, none of which came to an end; see the log"
    assert [type(error) for error, _ in world.telemetry.reports] == [PoisonError] * 3


async def test_what_kills_the_process_kills_it_three_times() -> None:
    """A try is counted before the work, so a process that dies in it cannot forget it."""
    world = make_world(shop_spec())
    store = poison(world, deadly=True)
    for death in range(1, 4):
        async with started(world):
            if death == 1:
                await world.push("one", deployment(GOOD))
            async with asyncio.timeout(3600):
                await store.dying.wait()
        assert store.tried == death
        store.dead = False
        store.dying.clear()
    async with started(world):
        await world.until(lambda: settled(world), "the dead letter")
        [dead] = await deliveries(world)
        store.poisonous = False
        await goes_on(world)

    assert store.tried == 3
    assert dead.state is DeliveryState.DEAD_LETTERED
    assert dead.attempts == 3
