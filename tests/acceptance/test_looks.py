"""When refs are looked at: hints that come early, late or never, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import pytest

from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.sources import DeliveryState, ReceiverName, RefName
from gitopsd.domain.work import Page, WorkKind
from gitopsd.engine.intake import process_delivery
from gitopsd.engine.looks import NOT_SERVED_YET
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import (
    MAIN,
    REPO,
    STAGING,
    World,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

SECOND = timedelta(seconds=1)
POLL = timedelta(seconds=60)
ONE, TWO = "registry.example/api:1", "registry.example/api:2"


@contextmanager
def noting_looks(world: World, ref: RefName = MAIN) -> Iterator[list[datetime]]:
    """Note when each look at a ref from now on ended, without changing anything."""
    ends: list[datetime] = []
    began = world.clock.now()

    def note(tx: Transaction) -> None:
        state = tx.refs.get(REPO, ref)
        at = state.looked_at if state is not None else None
        if at is not None and at >= began and at not in ends:
            ends.append(at)

    world.store.observe = note
    yield ends
    world.store.observe = None


def gaps(ends: list[datetime]) -> list[int]:
    """Tell how many whole seconds lie between looks; a sweep may take up to one of its own."""
    return [int((later - earlier) / SECOND) for earlier, later in pairwise(ends)]


async def test_a_head_that_never_comes_is_looked_for_five_times_and_then_polled() -> None:
    """After 1, 2, 5, 15 and 60 s; then the ref is polled like any other, and not more often."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.repositories.lag(REPO, MAIN, looks=1_000)
        await world.push("two", deployment(TWO), hint=False)
        with noting_looks(world) as ends:
            await world.ring(None, world.head)
            await world.clock.sleep(timedelta(minutes=12))

        assert gaps(ends)[:5] == [1, 2, 5, 15, 60] == [int(gap / SECOND) for gap in NOT_SERVED_YET]
        assert len(gaps(ends)) >= 5 + 9
        assert all(50 <= gap <= 60 for gap in gaps(ends)[5:])


@pytest.mark.parametrize("looks", range(1, 6))
async def test_a_head_that_comes_late_is_live_without_a_poll(looks: int) -> None:
    """Whichever of the five looks finds it, it is the one that brings it."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.repositories.lag(REPO, MAIN, looks=looks)
        with noting_looks(world) as ends:
            await world.push("two", deployment(TWO))
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert gaps(ends) == [1, 2, 5, 15, 60][:looks]


async def test_a_hint_for_a_commit_that_was_forced_away_does_not_tire_the_host() -> None:
    """The deliveries of two force-pushes come in the wrong order: the head is live all the same."""
    async with running_world() as world:
        first = await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        gone = await world.push("gone", deployment("registry.example/api:gone"), hint=False)
        world.head = first
        head = await world.push("two", deployment(TWO))
        with noting_looks(world) as ends:
            await world.ring(first, gone)
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
            await world.clock.sleep(timedelta(minutes=10))

        runs = await world.runs(STAGING)
        assert [run.phase for run in runs] == [Phase.SUCCEEDED] * 2
        release = await world.store.read(lambda tx: tx.releases.get(runs[-1].release))
        assert release is not None
        assert release.commit.sha == head
        assert all(50 <= gap <= 60 for gap in gaps(ends)[-6:])


@pytest.mark.parametrize("number", range(4))
async def test_without_any_webhook_a_push_is_live_within_a_poll_interval(number: int) -> None:
    """Just missed by a look, whatever the ref: one interval, and the rollout by itself."""
    ref = RefName(f"refs/heads/release-{number}")
    spec = shop_spec()
    spec = replace(spec, source=replace(spec.source, ref=ref))
    async with running_world(spec) as world:
        announced = await _live_after(world, ref, ONE, hint=True)
        with noting_looks(world, ref) as ends:
            await world.until(lambda: ends, "a look")
        took = await _live_after(world, ref, TWO, hint=False)

        assert POLL - 10 * SECOND < took <= POLL + announced


async def _live_after(world: World, ref: RefName, image: str, *, hint: bool) -> timedelta:
    """Push to a ref and tell how long it takes until staging runs it."""
    began, before = world.clock.now(), len(await world.runs(STAGING))
    sha = await world.push(image, deployment(image), hint=False)
    world.repositories.push(REPO, ref, sha)
    if hint:
        await world.ring(None, sha, ref=ref)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=before + 1)
    return world.clock.now() - began


T = TypeVar("T")


class Died(BaseException):
    """The process is gone; nothing in it can notice."""


class DyingStore:
    """A store whose process dies with the second transaction."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._done = 0

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run the first; die at the second."""
        self._done += 1
        if self._done > 1:
            raise Died
        return await self._inner.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""


async def _die_while_working(world: World) -> None:
    """Work on whatever is due, as a process that dies at it, and is followed by another."""
    claimed = await world.store.transact(
        lambda tx: tx.work.claim("a dead process", 10, timedelta(minutes=1))
    )
    (item,) = [one for one in claimed if one.kind is WorkKind.PROCESS_DELIVERY]
    if item.attempts > 1:
        with pytest.raises(Died):
            await process_delivery(replace(world.services, store=DyingStore(world.store)), item)
    await world.store.transact(lambda tx: tx.work.release_claims())


@pytest.mark.parametrize(
    "deaths, state", [(2, DeliveryState.DONE), (3, DeliveryState.DEAD_LETTERED)]
)
async def test_a_delivery_that_kills_its_process_is_given_up(
    deaths: int, state: DeliveryState
) -> None:
    """Tries are counted before the work: the third death is the last, and the service goes on."""
    world = make_world(shop_spec())
    assert await world.ring(None, await world.push("one", deployment(ONE), hint=False)) == 202
    for _ in range(deaths):
        await _die_while_working(world)
    async with started(world):
        await world.until(lambda: _is_worked_on(world), "the delivery is worked on")
        (delivery,) = await world.store.read(lambda tx: tx.deliveries.page(Page(5)))
        assert delivery.state is state
        assert delivery.attempts == 3
        assert ("given up after 3 tries" in delivery.reason) is (deaths == 3)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_delivery_that_meets_a_bug_is_given_up() -> None:
    """An error that nobody expected ends no worker, is reported, and is met three times."""
    world = make_world(shop_spec())
    assert await world.ring(None, await world.push("one", deployment(ONE), hint=False)) == 202
    github = ReceiverName("github")
    receiver = world.configuration[0].receivers[github]
    odd = replace(receiver, type="acme")  # type: ignore[arg-type] # which nobody knows: a bug
    world.configuration[0] = replace(world.configuration[0], receivers={github: odd})
    async with started(world):
        await world.until(lambda: _is_worked_on(world), "the delivery is worked on")

    (delivery,) = await world.store.read(lambda tx: tx.deliveries.page(Page(5)))
    assert delivery.state is DeliveryState.DEAD_LETTERED
    assert "given up after 3 tries" in delivery.reason
    met = [context["work"] for _, context in world.telemetry.reports]
    assert met == [WorkKind.PROCESS_DELIVERY.value] * 3


async def _is_worked_on(world: World) -> bool:
    rows = await world.store.read(lambda tx: tx.deliveries.page(Page(5)))
    return all(row.state is not DeliveryState.STORED for row in rows)
