"""Keeps what the objects of a stage were like before a Rollback writes to them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gitopsd.cluster_ports import LOCKED_OUT, ApiRefusal
from gitopsd.domain.manifests import InventoryEntry, JsonObject
from gitopsd.domain.work import LiveState
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.refusals import sentence
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_object

PATIENCE = timedelta(seconds=10)
"""For so long a restore is held up to read what it replaces."""


async def keep_live_state(context: StepContext) -> None:
    """Read every object of the inventory and keep it, redacted, with the run.

    What cannot be read is named instead: a restore is never held up for long by its own records.
    Where the cluster lets us ask nothing, it cannot be restored either.

    Safe to repeat: what was kept first stays, which is from before anything was written.

    Raises:
        TemporaryError: The cluster refuses our credential, or we its certificate.
    """
    run, store = context.run, context.services.store
    if await store.read(lambda tx: tx.runs.live_state(run.id)) is not None:
        return
    objects: dict[str, JsonObject] = {}
    unread: dict[str, str] = {}
    cluster = context.cluster()

    async def read(entry: InventoryEntry) -> None:
        name = str(entry.ref.key)
        try:
            live = await cluster.get(entry.ref)
        except GitopsdError as error:
            if error.reason in LOCKED_OUT:
                raise
            unread[name] = f"{name}: {error.message}"
            return
        if isinstance(live, ApiRefusal):
            unread[name] = sentence(entry.ref, live)
        elif live is None:
            unread[name] = f"{name}: it does not exist"
        else:
            objects[name] = redact_object(live)

    entries: tuple[InventoryEntry, ...] = ()
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            entries = (await read_inventory(context)).entries
            await run_all(entries, read)
    except TimeoutError:
        names = {str(entry.ref.key) for entry in entries} - objects.keys() - unread.keys()
        unread |= {name: f"{name}: there was no time to read it" for name in names}
    except GitopsdError as error:
        if error.reason in LOCKED_OUT:
            raise
        unread["inventory"] = f"the inventory: {error.message}"
    said = tuple(unread[name] for name in sorted(unread))
    found = tuple(objects[name] for name in sorted(objects))

    await store.transact(lambda tx: tx.runs.put_live_state(LiveState(run.id, tx.now, found, said)))
