"""Keeps what the objects of a stage were like before a Rollback writes to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT
from gitopsd.domain.manifests import InventoryEntry, JsonObject, ObjectKey
from gitopsd.domain.work import LiveState
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.live_objects import INVENTORY, LiveObjects, ReadAhead
from gitopsd.engine.services import Handed
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_object
from gitopsd.store_ports import Transaction

PATIENCE = timedelta(seconds=10)
"""For so long a restore is held up to read what it replaces."""


@dataclass(slots=True)
class LiveReading:
    """What a Rollback replaces, while it is being read.

    Attributes:
        context: The step.
        reading: Reads it.
        kept: Whether it was kept along with something else.
    """

    context: StepContext
    reading: asyncio.Task[LiveObjects]
    kept: bool = False

    async def keep(self) -> Mapping[ObjectKey, JsonObject]:
        """Wait for what is read, and keep it, redacted, with the run.

        Safe to repeat: what was kept first stays, which is from before anything was written.

        Returns:
            Every object that was read, as it was.

        Raises:
            TemporaryError: The cluster refuses our credential, or we its certificate.
        """
        seen = await self.reading
        if not self.kept:
            await self.context.services.store.transact(self._keeping(seen))
        return seen.objects

    def along(self) -> Callable[[Transaction], None] | None:
        """Keep it along with what a transaction does anyway; None while it is still being read."""
        done = self.reading.done() and not self.reading.cancelled()
        if not done or self.reading.exception() is not None:
            return None
        return self._keeping(self.reading.result())

    def _keeping(self, seen: LiveObjects) -> Callable[[Transaction], None]:
        run = self.context.run.id
        said = tuple(seen.unread[name] for name in sorted(seen.unread))
        found = tuple(redact_object(seen.objects[key]) for key in sorted(seen.objects, key=str))

        def work(tx: Transaction) -> None:
            if tx.runs.live_state(run) is None:
                tx.runs.put_live_state(LiveState(run, tx.now, found, said))
            self.kept = True

        return work


@asynccontextmanager
async def reading_live_state(context: StepContext) -> AsyncIterator[LiveReading]:
    """Read every object of the inventory, as it is now, beside what is done meanwhile.

    A reading that was begun with the verdict is gone on with, unless it failed. What cannot be read
    is named instead: a restore is never held up for long by its own records. Where the cluster
    lets us ask nothing, it cannot be restored either.

    Safe to repeat: it only reads.

    Raises:
        TemporaryError: The cluster refuses our credential, or we its certificate.
    """
    ahead = context.ahead
    reading = ahead.reading if ahead is not None and ahead.is_good else await _begin(context)
    try:
        yield LiveReading(context, reading)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def begin_ahead(context: StepContext) -> ReadAhead:
    """Begin to read every object of the inventory before it is certain that this is needed.

    Safe to repeat: it only reads.
    """
    until = _patience_ends()
    return ReadAhead(asyncio.create_task(_read_all(context, until), name="live state"), until)


async def _begin(context: StepContext) -> asyncio.Task[LiveObjects]:
    """Read the inventory, which is written to soon, then begin with the objects."""
    seen, until = LiveObjects(), _patience_ends()
    entries = await _list_entries(context, seen, until)
    return asyncio.create_task(_read(context, entries, seen, until), name="live state")


def _patience_ends() -> float:
    return asyncio.get_running_loop().time() + PATIENCE.total_seconds()


async def _read_all(context: StepContext, until: float) -> LiveObjects:
    seen = LiveObjects()
    return await _read(context, await _list_entries(context, seen, until), seen, until)


async def _list_entries(
    context: StepContext, seen: LiveObjects, until: float
) -> tuple[InventoryEntry, ...]:
    try:
        async with asyncio.timeout_at(until):
            return (await read_inventory(context)).entries
    except TimeoutError:
        seen.unread[INVENTORY] = f"the inventory: no answer within {PATIENCE.seconds} s"
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        seen.unread[INVENTORY] = f"the inventory: {error.message}"
    return ()


async def _read(
    context: StepContext, entries: Sequence[InventoryEntry], seen: LiveObjects, until: float
) -> LiveObjects:
    try:
        async with asyncio.timeout_at(until):
            await run_all(entries, lambda entry: seen.read(context.cluster(), entry))
    except TimeoutError:
        seen.name_rest(entries)
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        seen.unread[INVENTORY] = f"the inventory: {error.message}"
    return seen


def hand_on(context: StepContext, objects: Mapping[ObjectKey, JsonObject]) -> None:
    """Hand what Prepare read to the run's Apply, so that it need not look once more."""
    context.services.handed[context.run.stage] = Handed(context.run.id, objects)


def take_handed(context: StepContext) -> Mapping[ObjectKey, JsonObject]:
    """Take what the run's Prepare has read; nothing when that was not in this process.

    Live objects are only ever believed where the server is asked to make sure: see `applying`.
    """
    handed = context.services.handed.pop(context.run.stage, None)
    return handed.objects if handed is not None and handed.run == context.run.id else {}
