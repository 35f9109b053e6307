"""Compares fences once when a process starts, so that a restored database is found before a write.

One GET for each stage that was ever written to. A cluster that does not answer is passed over: the
next write to it compares again.
"""

from __future__ import annotations

import asyncio

from gitopsd.domain.releases import StageKey
from gitopsd.engine.inventories import fetch_inventory_of
from gitopsd.engine.restored import find_restored
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.store_ports import Transaction

AT_ONCE = 16
"""Requests under way at once, over all clusters."""


async def check_fences(services: Services) -> None:
    """Compare the fence of every stage that was ever written to with its cluster's.

    Safe to repeat: it reads, and the same stall is stored once.
    """
    stages = await services.store.read(_list_written)
    places, silent = asyncio.Semaphore(AT_ONCE), set[str]()

    async def check(key: StageKey, cluster: str) -> None:
        async with places:
            if cluster in silent:
                return
            try:
                await _check_one(services, key, cluster)
            except TemporaryError:
                silent.add(cluster)
            except PermanentError:
                return  # the next write says what is the matter with it

    async with asyncio.TaskGroup() as group:
        for key, cluster in stages:
            group.create_task(check(key, cluster), name=f"fence of {key}")


def _list_written(tx: Transaction) -> list[tuple[StageKey, str]]:
    return [
        (stage.key, stage.destination.cluster)
        for stage in tx.stages.page()
        if stage.fence and stage.retired_at is None and stage.destination is not None
    ]


async def _check_one(services: Services, key: StageKey, cluster: str) -> None:
    found = await fetch_inventory_of(services, key, cluster)

    def work(tx: Transaction) -> None:
        # Another installation's fence tells nothing about ours.
        if found.installation in ("", tx.installation):
            find_restored(tx, key, found, services.configuration())

    known = await services.store.read(lambda tx: tx.stages.get(key))
    if known is not None and found.fence > known.fence:
        await retry_conflicts(services.store, work)
