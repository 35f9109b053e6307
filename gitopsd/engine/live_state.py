"""Keeps what the objects of a stage were like before a Rollback writes to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT, ApiRefusal, Cluster
from gitopsd.domain.manifests import InventoryEntry, JsonObject, ObjectKey, RenderedSet
from gitopsd.domain.work import LiveState
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.outcomes import Along
from gitopsd.engine.refusals import sentence
from gitopsd.engine.services import Handed
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_object
from gitopsd.store_ports import Transaction

PATIENCE = timedelta(seconds=10)
"""For so long a restore is held up to read what it replaces."""


async def read_live_state(context: StepContext, rendered: RenderedSet | None) -> Along:
    """Read every object of the inventory; what is returned keeps them, redacted, with the run.

    What cannot be read is named instead: a restore is never held up for long by its own records.
    Where the cluster lets us ask nothing, it cannot be restored either. Apply is handed what was
    read, so that it need not look once more.

    Safe to repeat: what was kept first stays, which is from before anything was written.

    Args:
        context: The step.
        rendered: The set to restore, handed on as well; None when it cannot be read.

    Raises:
        TemporaryError: The cluster refuses our credential, or we its certificate.
    """
    run, seen = context.run, _Found({}, {})
    entries: tuple[InventoryEntry, ...] = ()
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            entries = (await read_inventory(context)).entries
            await run_all(entries, lambda entry: seen.read(context.cluster(), entry))
    except TimeoutError:
        seen.name_rest(entries)
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        seen.unread["inventory"] = f"the inventory: {error.message}"
    context.services.handed[run.stage] = Handed(run.id, seen.objects, rendered)
    said = tuple(seen.unread[name] for name in sorted(seen.unread))
    found = tuple(redact_object(seen.objects[key]) for key in sorted(seen.objects, key=str))

    def keep(tx: Transaction) -> None:
        if tx.runs.live_state(run.id) is None:
            tx.runs.put_live_state(LiveState(run.id, tx.now, found, said))

    return keep


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


def take_handed(context: StepContext) -> Handed:
    """Take what the run's Prepare has just read; nothing when that was not in this process.

    Live objects are only ever believed where the server is asked to make sure: see `applying`.
    """
    handed = context.services.handed.pop(context.run.stage, None)
    run = context.run.id
    return handed if handed is not None and handed.run == run else Handed(run)
