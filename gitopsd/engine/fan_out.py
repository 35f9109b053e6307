"""Does the same for many objects, a bounded number at once, and leaves nothing running behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from gitopsd.errors import LeaseLostError

IN_FLIGHT = 16
"""Requests under way at once to one cluster."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def run_all(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], limit: int = IN_FLIGHT
) -> list[ResultT]:
    """Do ``work`` for each item and return the results in their order.

    After the first failure nothing more is begun; what is under way is waited for, since a write
    that goes on behind its caller's back would outlive the right to write. Cancelled, it cancels
    and waits.

    Raises:
        Exception: The first failure; a lost lease before any other.
    """
    waiting = list(enumerate(items))
    waiting.reverse()
    results: dict[int, ResultT] = {}
    failures: list[Exception] = []

    async def take() -> None:
        while waiting and not failures:
            index, item = waiting.pop()
            try:
                results[index] = await work(item)
            except Exception as error:  # noqa: BLE001 - raised below, when nothing runs any more
                failures.append(error)

    takers = [asyncio.ensure_future(take()) for _ in range(min(limit, len(waiting)))]
    await asyncio.gather(*takers, return_exceptions=True)
    if failures:
        raise next((error for error in failures if isinstance(error, LeaseLostError)), failures[0])
    return [results[index] for index in sorted(results)]
