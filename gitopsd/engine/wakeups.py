"""Ends a rest early when a workload that is waited for changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError

SHORTEST_REST = timedelta(milliseconds=250)
"""Changes come in bursts; looking at each would cost more than it tells."""

WATCHES = 4
"""Collections watched at once; the others are seen by the next look."""


class Wakeups:
    """Watches collections for as long as the block lasts. A watch that breaks costs nothing.

    Args:
        context: The step that waits.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._changed = asyncio.Event()
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def watch(self, collections: Iterable[tuple[str, str, str]]) -> None:
        """Watch collections, given as (API version, kind, namespace). Safe to repeat."""
        for collection in sorted(collections):
            if collection not in self._tasks and len(self._tasks) < WATCHES:
                task = asyncio.create_task(self._follow(collection), name=f"watch {collection}")
                self._tasks[collection] = task

    async def _follow(self, collection: tuple[str, str, str]) -> None:
        with suppress(GitopsdError):
            async for _ in self._context.cluster().watch(*collection):
                self._changed.set()  # the first signal too: something may have changed before it

    async def rest(self, longest: timedelta) -> None:
        """Rest until something changed, or for ``longest``."""
        clock = self._context.services.clock
        shortest = min(SHORTEST_REST, longest)
        await clock.sleep(shortest)
        if longest <= shortest:
            return
        change = asyncio.ensure_future(self._changed.wait())
        over = asyncio.ensure_future(clock.sleep(longest - shortest))
        try:
            await asyncio.wait((change, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            over.cancel()
            await asyncio.gather(change, over, return_exceptions=True)
        self._changed.clear()
