"""Does the same for many objects, a bounded number at once, and leaves nothing running behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from gitopsd.errors import LeaseLostError, TemporaryError
from gitopsd.ports import Clock

IN_FLIGHT = 16
"""Requests under way at once to one cluster."""

RESTS = tuple(timedelta(milliseconds=rest) for rest in (100, 200, 400, 800))
"""Rests before one item is tried again: when every third request fails, all of many seldom pass."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def run_all(
    items: Iterable[ItemT],
    work: Callable[[ItemT], Awaitable[ResultT]],
    limit: int = IN_FLIGHT,
    *,
    patience: Clock | None = None,
) -> list[ResultT]:
    """Do ``work`` for each item and return the results in their order.

    After the first failure nothing more is begun; what is under way is waited for, since a write
    that goes on behind its caller's back would outlive the right to write. Cancelled, it cancels
    and waits.

    Args:
        items: What it is done for.
        work: Safe to repeat where there is patience.
        limit: How many at once.
        patience: Time of the rests before an item is tried again to which the server answered with
            trouble of its own; None to try each once. A connection that broke, or a server that
            asked to be left alone, is for the whole step to wait for.

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
                results[index] = await _try_often(item, work, patience)
            except Exception as error:  # noqa: BLE001 - raised below, when nothing runs any more
                failures.append(error)

    takers = [asyncio.ensure_future(take()) for _ in range(min(limit, len(waiting)))]
    await asyncio.gather(*takers, return_exceptions=True)
    if failures:
        raise next((error for error in failures if isinstance(error, LeaseLostError)), failures[0])
    return [results[index] for index in sorted(results)]


async def _try_often(
    item: ItemT, work: Callable[[ItemT], Awaitable[ResultT]], patience: Clock | None
) -> ResultT:
    for rest in RESTS if patience is not None else ():
        try:
            return await work(item)
        except TemporaryError as error:
            if not _is_passing(error) or patience is None:
                raise
            await patience.sleep(rest)
    return await work(item)


def _is_passing(error: TemporaryError) -> bool:
    """Whether the server said itself that it had trouble with this request."""
    answered = error.__cause__ is None and error.retry_after is None
    return answered and error.reason == TemporaryError.reason
