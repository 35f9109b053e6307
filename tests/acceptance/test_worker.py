"""The worker between claiming and ending: nothing that it claimed is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.reports import ReleaseReport, Standing
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.work import WorkItem
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import (
    PRODUCTION,
    ObservedStore,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

T = TypeVar("T")


class SlowToAnswer:
    """A store whose answers about finished messages come after the next claim.

    Attributes:
        again: How often an item was claimed while the task that did it waited for its answer.
    """

    def __init__(self, inner: Store) -> None:
        self.again = 0
        self._inner = inner
        self._claimed = asyncio.Event()
        self._waiting = 0

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction."""
        result = await self._inner.transact(work)
        claimed = isinstance(result, list | tuple) and any(
            isinstance(one, WorkItem) for one in result
        )
        if claimed:
            self.again += self._waiting > 0
            self._claimed.set()
        elif result is None and asyncio.current_task() is not None:
            task = asyncio.current_task()
            if task is not None and task.get_name().startswith("work show:"):
                await self._hold()
        return result

    async def _hold(self) -> None:
        self._claimed.clear()
        self._waiting += 1
        try:
            async with asyncio.timeout(1.5):
                await self._claimed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


def _slow_world() -> tuple[World, SlowToAnswer]:
    world = make_world(shop_spec())
    slow = SlowToAnswer(world.store)
    world.store = ObservedStore(slow)
    world.services = replace(world.services, store=world.store)
    channel = ChannelSpec("deploys", ChannelType.SLACK)
    world.configuration[0] = replace(world.configuration[0], channels={"deploys": channel})
    return world, slow


async def test_what_is_claimed_before_its_last_task_ended_is_done_after_it() -> None:
    """It does not wait until the claim runs out, two minutes later."""
    world, slow = _slow_world()
    async with started(world):
        await world.push("good", deployment("registry.example/api:1"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        def told() -> bool:
            shown = world.notifier.shown.get("deploys", {}).values()
            return any(
                isinstance(one, ReleaseReport)
                and all(line.standing is Standing.LIVE for line in one.stages)
                for one in shown
            )

        await world.until(told, "the newest state is shown", timedelta(seconds=30))
    assert slow.again > 0
