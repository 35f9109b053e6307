"""Keeps what the objects of a stage were like before a Rollback writes to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT, ApiRefusal, Cluster
from gitopsd.domain.manifests import InventoryEntry, JsonObject, ObjectKey
from gitopsd.domain.work import LiveState
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.refusals import sentence
from gitopsd.engine.services import Handed
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_object
from gitopsd.store_ports import Transaction

PATIENCE = timedelta(seconds=10)
"""For so long a restore is held up to read what it replaces."""


@dataclass(frozen=True, slots=True)
class LiveReading:
    """What a Rollback replaces, while it is being read.

    Attributes:
        context: The step.
        reading: Reads it.
    """

    context: StepContext
    reading: asyncio.Task[_Found]

    async def keep(self) -> Mapping[ObjectKey, JsonObject]:
        """Wait for what is read, and keep it, redacted, with the run.

        Safe to repeat: what was kept first stays, which is from before anything was written.

        Returns:
            Every object that was read, as it was.

        Raises:
            TemporaryError: The cluster refuses our credential, or we its certificate.
        """
        seen, run = await self.reading, self.context.run
        said = tuple(seen.unread[name] for name in sorted(seen.unread))
        found = tuple(redact_object(seen.objects[key]) for key in sorted(seen.objects, key=str))

        def work(tx: Transaction) -> None:
            if tx.runs.live_state(run.id) is None:
                tx.runs.put_live_state(LiveState(run.id, tx.now, found, said))

        await self.context.services.store.transact(work)
        return seen.objects


@asynccontextmanager
async def reading_live_state(context: StepContext) -> AsyncIterator[LiveReading]:
    """Read every object of the inventory, as it is now, beside what is done meanwhile.

    What cannot be read is named instead: a restore is never held up for long by its own records.
    Where the cluster lets us ask nothing, it cannot be restored either.

    Safe to repeat: it only reads.

    Raises:
        TemporaryError: The cluster refuses our credential, or we its certificate.
    """
    seen, until = _Found({}, {}), asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    entries: tuple[InventoryEntry, ...] = ()
    try:
        async with asyncio.timeout_at(until):
            entries = (await read_inventory(context)).entries
    except TimeoutError:
        seen.unread["inventory"] = f"the inventory: no answer within {PATIENCE.seconds} s"
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        seen.unread["inventory"] = f"the inventory: {error.message}"
    reading = asyncio.create_task(_read(context, entries, seen, until), name="live state")
    try:
        yield LiveReading(context, reading)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(
    context: StepContext, entries: Sequence[InventoryEntry], seen: _Found, until: float
) -> _Found:
    try:
        async with asyncio.timeout_at(until):
            await run_all(entries, lambda entry: seen.read(context.cluster(), entry))
    except TimeoutError:
        seen.name_rest(entries)
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        seen.unread["inventory"] = f"the inventory: {error.message}"
    return seen


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read, and why the rest was not, by name."""

    objects: dict[ObjectKey, JsonObject]
    unread: dict[str, str]

    async def read(self, cluster: Cluster, entry: InventoryEntry) -> None:
        name = str(entry.ref.key)
        try:
            live = await cluster.get(entry.ref)
        except GitopsdError as error:
            if error.reason in LOCKED_OUT:
                raise
            self.unread[name] = f"{name}: {error.message}"
            return
        if isinstance(live, ApiRefusal):
            self.unread[name] = sentence(entry.ref, live)
        elif live is None:
            self.unread[name] = f"{name}: it does not exist"
        else:
            self.objects[entry.ref.key] = live

    def name_rest(self, entries: Sequence[InventoryEntry]) -> None:
        for entry in entries:
            name = str(entry.ref.key)
            if entry.ref.key not in self.objects and name not in self.unread:
                self.unread[name] = f"{name}: there was no time to read it"


def hand_on(context: StepContext, objects: Mapping[ObjectKey, JsonObject]) -> None:
    """Hand what Prepare read to the run's Apply, so that it need not look once more."""
    context.services.handed[context.run.stage] = Handed(context.run.id, objects)


def take_handed(context: StepContext) -> Mapping[ObjectKey, JsonObject]:
    """Take what the run's Prepare has read; nothing when that was not in this process.

    Live objects are only ever believed where the server is asked to make sure: see `applying`.
    """
    handed = context.services.handed.pop(context.run.stage, None)
    return handed.objects if handed is not None and handed.run == context.run.id else {}
