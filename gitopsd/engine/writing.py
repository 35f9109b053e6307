"""The right to write to a stage: row lease, fence, and the inventory that carries it.

A permit is checked before each write. It ends by itself when it could not be renewed for
`Pace.lease_budget` of monotonic time, which also runs while the process is stopped, so an owner
that was suspended for longer than its lease writes nothing when it wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.manifests import (
    Inventory,
    InventoryEntry,
    ObjectRef,
)
from gitopsd.domain.stages import Lease
from gitopsd.engine.inventories import (
    Known,
    destination_words,
    fetch_inventory,
    read_known,
    recall,
    refuse_foreign,
    retire_inventory,
    swap_inventory,
)
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError, LeaseLostError, TemporaryError
from gitopsd.kube.inventory import (
    begin_anew,
    union,
)
from gitopsd.store_ports import Transaction

RENEWAL_RETRY = timedelta(seconds=1)
"""How soon a renewal is tried again that the database did not answer."""


@dataclass(slots=True)
class WritePermit:
    """The right to write to one stage, while it lasts.

    Attributes:
        context: The step that writes.
        lease: The row lease.
        inventory: The inventory as last written.
        renewed: Monotonic time of the last claim or renewal.
        void: Why nothing may be written any more; empty while it may.
    """

    context: StepContext
    lease: Lease
    inventory: Inventory
    renewed: float
    void: str = ""

    def check(self) -> None:
        """Make sure that the next write may be sent.

        Raises:
            LeaseLostError: Another owner may be writing; nothing more is to be sent.
        """
        services = self.context.services
        idle = services.clock.monotonic() - self.renewed
        if services.newest_fences.get(self.lease.stage, 0) > self.lease.fence:
            self.void = "this process has taken a newer one"
        elif idle > services.pace.lease_budget.total_seconds():
            self.void = f"it was not renewed for {idle:.0f} s"
        if self.void:
            stage, fence = self.lease.stage, self.lease.fence
            message = f"the right to write to {stage} under fence {fence} ended: {self.void}"
            raise LeaseLostError(message)

    async def save_inventory(self, entries: Iterable[InventoryEntry]) -> None:
        """Write the inventory with this permit's fence.

        Safe to repeat: the same entries give the same ConfigMap; another writer's is a conflict.

        Raises:
            LeaseLostError: Another owner wrote it since.
        """
        self.check()
        run = self.context.run
        wanted = replace(
            self.inventory,
            fence=self.lease.fence,
            release=run.release,
            rendered=str(run.rendered or ""),
            entries=tuple(entries),
        )
        self.inventory = await swap_inventory(self.context, wanted)


@asynccontextmanager
async def write_permit(
    context: StepContext,
    adding: Iterable[ObjectRef] = (),
    also: Callable[[Transaction], None] | None = None,
) -> AsyncIterator[WritePermit]:
    """Claim the stage, put the fence and ``adding`` into the inventory, and renew while writing.

    Safe to repeat: every claim takes a higher fence.

    Args:
        context: The step that writes.
        adding: Objects that are about to be applied.
        also: What is stored in the transaction that claims the stage, which spares one of its own;
            not done where the inventory has to be read before.

    Raises:
        TemporaryError: Another owner writes, a person paused the stage, or the inventory belongs
            to another installation (the stage is stalled then).
        LeaseLostError: Another owner swapped its fence in first.
    """
    begun = context.services.clock.monotonic()
    known, recalled, lease = await _claim_recalled(context, also)
    held = recalled or await fetch_inventory(context)
    if lease is None:
        await refuse_foreign(context, held, known)
        begun = context.services.clock.monotonic()
        lease = await _claim(context, held.fence)
    context.services.newest_fences[lease.stage] = lease.fence
    permit = WritePermit(context, lease, held, begun)
    renewal = asyncio.create_task(_renew(permit), name=f"renew {lease.stage}")
    try:
        entering = _Entering(context, lease, known, tuple(adding))
        try:
            permit.inventory = await entering.swap(held)
        except LeaseLostError:
            if recalled is None:
                raise
            permit.inventory = await entering.swap(await entering.look_again())
        yield permit
    finally:
        permit.void = permit.void or "the step is over"
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        await _release(permit)


@dataclass(frozen=True, slots=True)
class _Entering:
    """Puts a fence, and what is about to be applied, into the inventory."""

    context: StepContext
    lease: Lease
    known: Known
    adding: tuple[ObjectRef, ...]

    async def swap(self, held: Inventory) -> Inventory:
        """Swap the fence in.

        Raises:
            LeaseLostError: The inventory is no longer as it is held to be.
        """
        found, left = begin_anew(held, destination_words(self.context))
        await retire_inventory(self.context, left)
        run = self.context.run
        wanted = replace(
            found,
            installation=self.known.installation,
            fence=self.lease.fence,
            release=run.release,
            rendered=str(run.rendered or ""),
            entries=union(found.entries, (InventoryEntry(ref) for ref in self.adding)),
        )
        return await swap_inventory(self.context, wanted)

    async def look_again(self) -> Inventory:
        """Read what was only recalled and turned out to be old: a person may have edited it.

        Raises:
            LeaseLostError: It carries a fence as high as ours: another owner was first.
            TemporaryError: It is held by somebody else now, or paused.
        """
        fresh = await fetch_inventory(self.context)
        if fresh.fence >= self.lease.fence:
            message = f"another owner changed the inventory of {self.lease.stage} first"
            raise LeaseLostError(message)
        await refuse_foreign(self.context, fresh, self.known)
        return fresh


async def _claim_recalled(
    context: StepContext, also: Callable[[Transaction], None] | None
) -> tuple[Known, Inventory | None, Lease | None]:
    """Claim the stage in one transaction where its inventory is known, and nobody else's.

    Safe to repeat: every claim takes a higher fence.
    """
    services, key = context.services, context.run.stage

    def work(tx: Transaction) -> tuple[Known, Inventory | None, Lease | None]:
        known = read_known(tx, key)
        held = recall(context, known.fence)
        if held is None or held.paused or held.installation != known.installation:
            return known, held, None
        lease = tx.stages.claim(
            key, services.replica, services.pace.lease, cluster_fence=held.fence
        )
        if lease is not None and also is not None:
            also(tx)
        return known, held, lease

    return await services.store.transact(work)


async def _claim(context: StepContext, cluster_fence: int) -> Lease:
    services, key = context.services, context.run.stage
    lease = await services.store.transact(
        lambda tx: tx.stages.claim(
            key, services.replica, services.pace.lease, cluster_fence=cluster_fence
        )
    )
    if lease is None:
        message = f"another replica is writing to {key}; waiting for its lease to end"
        raise TemporaryError(message, retry_after=timedelta(seconds=2), reason="LeaseHeld")
    return lease


async def _renew(permit: WritePermit) -> None:
    """Renew the lease until cancelled. Safe to repeat: only ever extends our own."""
    services = permit.context.services
    pause = services.pace.lease_renewal
    while True:
        await services.clock.sleep(pause)
        begun = services.clock.monotonic()
        try:
            lease = await services.store.transact(
                lambda tx: tx.stages.renew(permit.lease, services.pace.lease)
            )
        except GitopsdError:
            pause = RENEWAL_RETRY
            continue
        if lease is None:
            permit.void = "another owner has it"
            return
        permit.renewed, pause = begun, services.pace.lease_renewal


async def _release(permit: WritePermit) -> None:
    try:
        await permit.context.services.store.transact(lambda tx: tx.stages.release(permit.lease))
    except GitopsdError:
        return  # it ends by itself
