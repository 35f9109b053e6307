"""The right to write to a stage: row lease, fence, and the inventory that carries it.

A permit is checked before each write. It ends by itself when it could not be renewed for
`Pace.lease_budget` of monotonic time, which also runs while the process is stopped, so an owner
that was suspended for longer than its lease writes nothing when it wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.manifests import (
    Inventory,
    InventoryEntry,
    JsonObject,
    ObjectKey,
    ObjectRef,
)
from gitopsd.domain.stages import Lease
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.effects import mark_stalled
from gitopsd.engine.refusals import raise_if_temporary, sentence
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError, LeaseLostError, PermanentError, TemporaryError
from gitopsd.kube.inventory import (
    begin_anew,
    decode_inventory,
    encode_inventory,
    encode_retired,
    inventory_name,
    union,
)
from gitopsd.kube.names import INSTALLATION_ANNOTATION
from gitopsd.ports import ApiRefusal
from gitopsd.store_ports import Transaction

RENEWAL_RETRY = timedelta(seconds=1)
"""How soon a renewal is tried again that the database did not answer."""

_CONFLICT = 409
_NOT_FOUND = 404


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
        self.inventory = await _swap(self.context, wanted)


@asynccontextmanager
async def write_permit(
    context: StepContext, adding: Iterable[ObjectRef] = ()
) -> AsyncIterator[WritePermit]:
    """Claim the stage, put the fence and ``adding`` into the inventory, and renew while writing.

    Safe to repeat: every claim takes a higher fence.

    Raises:
        TemporaryError: Another owner writes, a person paused the stage, or the inventory belongs
            to another installation (the stage is stalled then).
        LeaseLostError: Another owner swapped its fence in first.
    """
    stored = await _read(context)
    await _refuse_foreign(context, stored)
    found, left = begin_anew(stored, _destination_words(context))
    begun = context.services.clock.monotonic()
    lease = await _claim(context, found.fence)
    context.services.newest_fences[lease.stage] = lease.fence
    run = context.run
    wanted = replace(
        found,
        installation=await _installation(context),
        fence=lease.fence,
        release=run.release,
        rendered=str(run.rendered or ""),
        entries=union(found.entries, (InventoryEntry(ref) for ref in adding)),
    )
    permit = WritePermit(context, lease, wanted, begun)
    renewal = asyncio.create_task(_renew(permit), name=f"renew {lease.stage}")
    try:
        if left is not None:
            await context.own_cluster().create(encode_retired(left, context.inventory_namespace()))
        permit.inventory = await _swap(context, wanted)
        yield permit
    finally:
        permit.void = permit.void or "the step is over"
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        await _release(permit)


async def read_inventory(context: StepContext) -> Inventory:
    """Read the stage's inventory; an empty one when there is none yet.

    Raises:
        TemporaryError: The cluster does not answer.
        PermanentError: The server refuses to let gitopsd read its own namespace.
    """
    found, _ = begin_anew(await _read(context), _destination_words(context))
    return found


def _destination_words(context: StepContext) -> str:
    """Say where the stage writes, the way its inventory remembers it."""
    spec = context.spec
    places = ",".join((spec.namespace, *sorted(spec.namespaces)))
    return f"{places} as {spec.service_account}" if spec.service_account else places


def _inventory_ref(context: StepContext) -> ObjectRef:
    name = inventory_name(context.application.name, context.spec.name)
    return ObjectRef(ObjectKey("", "ConfigMap", context.inventory_namespace(), name), "v1")


async def _read(context: StepContext) -> Inventory:
    ref = _inventory_ref(context)
    found = await context.own_cluster().get(ref)
    if isinstance(found, ApiRefusal):
        raise_if_temporary(ref, found)
        raise PermanentError(f"cannot read the inventory: {sentence(ref, found)}")
    if found is None:
        return Inventory("", context.application.name, context.spec.name)
    return decode_inventory(found)


async def _installation(context: StepContext) -> str:
    return await context.services.store.read(lambda tx: tx.installation)


async def _refuse_foreign(context: StepContext, found: Inventory) -> None:
    """Stop before a stage that another installation, a restored database or a person holds."""
    key = context.run.stage
    mine = await _installation(context)
    if found.paused:
        message = f'a person paused {key}: its inventory is annotated gitopsd.io/paused: "true"'
        raise TemporaryError(message, retry_after=timedelta(seconds=15), reason="Paused")
    if found.installation and found.installation != mine:
        message = (
            f"the inventory of {key} belongs to another gitopsd installation "
            f"({found.installation}). To take it over: kubectl annotate configmap --overwrite "
            f"--namespace {context.inventory_namespace()} "
            f"{inventory_name(key.application, key.stage)} {INSTALLATION_ANNOTATION}={mine}, "
            f"then: gitopsd resume {key.application} {key.stage}"
        )
        await _stall(context, StallReason.INVENTORY, message)
    stage = await context.services.store.read(lambda tx: tx.stages.get(key))
    if stage is not None and found.fence > stage.fence:
        message = (
            f"the cluster has fence {found.fence} for {key} and the database only {stage.fence}: "
            f"the database was restored from an older copy. Look, then: gitopsd resume "
            f"{key.application} {key.stage}"
        )
        await _stall(context, StallReason.RESTORED_DATABASE, message, fence=found.fence)


async def _stall(
    context: StepContext, reason: StallReason, message: str, *, fence: int = 0
) -> None:
    configuration = context.services.configuration()
    run = context.run

    def work(tx: Transaction) -> None:
        mark_stalled(tx, run.stage, reason, message, configuration, run=run, fence=fence)

    await context.services.store.transact(work)
    raise TemporaryError(message, retry_after=timedelta(seconds=60), reason=reason.value)


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


async def _swap(context: StepContext, wanted: Inventory) -> Inventory:
    """Create or replace the ConfigMap; the resourceVersion makes a loser stop here."""
    cluster, ref = context.own_cluster(), _inventory_ref(context)
    body = encode_inventory(wanted, context.inventory_namespace())
    if wanted.resource_version:
        answer = await cluster.replace(body)
    else:
        answer = await cluster.create(body)
        if isinstance(answer, ApiRefusal) and answer.code == _NOT_FOUND:
            await _create_namespace(context)
            answer = await cluster.create(body)
    if isinstance(answer, ApiRefusal):
        if answer.code == _CONFLICT:
            message = f"another owner changed the inventory of {context.run.stage} first"
            raise LeaseLostError(message)
        raise_if_temporary(ref, answer)
        raise PermanentError(f"cannot write the inventory: {sentence(ref, answer)}")
    return decode_inventory(answer.live)


async def _create_namespace(context: StepContext) -> None:
    name = context.inventory_namespace()
    body: JsonObject = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    answer = await context.own_cluster().create(body)
    if isinstance(answer, ApiRefusal) and answer.code != _CONFLICT:
        message = (
            f"namespace {name} for gitopsd's inventories does not exist and cannot be created: "
            f"{answer.message}. Create it with: kubectl create namespace {name}"
        )
        raise PermanentError(message, reason="InventoryNamespaceMissing")


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
