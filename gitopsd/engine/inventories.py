"""The inventory of a stage: read from its cluster, remembered, swapped by its version.

What this process wrote last is remembered. It is gone by while the database says that nobody has
taken the stage since; whatever else changed the ConfigMap shows at the next swap, whose
resourceVersion is refused then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.manifests import Inventory, JsonObject, ObjectKey, ObjectRef
from gitopsd.domain.releases import StageKey
from gitopsd.domain.verifications import StallReason
from gitopsd.engine.effects import mark_stalled
from gitopsd.engine.refusals import raise_if_temporary, sentence
from gitopsd.engine.restored import find_restored
from gitopsd.engine.services import Services
from gitopsd.engine.step_context import StepContext, inventory_namespace
from gitopsd.errors import LeaseLostError, PermanentError, TemporaryError
from gitopsd.kube.inventory import (
    begin_anew,
    decode_inventory,
    encode_inventory,
    encode_retired,
    inventory_name,
)
from gitopsd.store_ports import Transaction

_CONFLICT = 409
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of a stage's right to write.

    Attributes:
        installation: Id of this installation.
        fence: The stage's fence; None when the stage is not there.
    """

    installation: str
    fence: int | None


def read_known(tx: Transaction, key: StageKey) -> Known:
    """Read what the database knows of a stage."""
    stage = tx.stages.get(key)
    return Known(tx.installation, stage.fence if stage is not None else None)


async def read_inventory(context: StepContext) -> Inventory:
    """Read the stage's inventory; an empty one when there is none yet.

    Raises:
        TemporaryError: The cluster does not answer.
        PermanentError: The server refuses to let gitopsd read its own namespace.
    """
    held = recall(context, context.stage.fence) or await fetch_inventory(context)
    return begin_anew(held, destination_words(context))[0]


def recall(context: StepContext, fence: int | None) -> Inventory | None:
    """Recall the inventory as this process wrote it under the stage's newest fence."""
    held = context.services.inventories.get(_spell(context))
    return held if held is not None and held.fence == fence else None


def destination_words(context: StepContext) -> str:
    """Say where the stage writes, the way its inventory remembers it."""
    spec = context.spec
    places = ",".join((spec.namespace, *sorted(spec.namespaces)))
    return f"{places} as {spec.service_account}" if spec.service_account else places


def _ref(context: StepContext) -> ObjectRef:
    key = StageKey(context.application.name, context.spec.name)
    return _ref_of(context.services, key, context.spec.cluster)


def _ref_of(services: Services, key: StageKey, cluster: str) -> ObjectRef:
    name = inventory_name(key.application, key.stage)
    namespace = inventory_namespace(services.configuration(), cluster)
    return ObjectRef(ObjectKey("", "ConfigMap", namespace, name), "v1")


def _spell(context: StepContext) -> str:
    return f"{context.spec.cluster}: {_ref(context).key}"


async def fetch_inventory(context: StepContext) -> Inventory:
    """Read the stage's inventory as the cluster has it now.

    Raises:
        TemporaryError: The cluster does not answer.
        PermanentError: The server refuses to let gitopsd read its own namespace.
    """
    key = StageKey(context.application.name, context.spec.name)
    return await fetch_inventory_of(context.services, key, context.spec.cluster)


async def fetch_inventory_of(services: Services, key: StageKey, cluster: str) -> Inventory:
    """Read a stage's inventory in a cluster; an empty one when there is none.

    Raises:
        TemporaryError: The cluster does not answer.
        PermanentError: The server refuses to let gitopsd read its own namespace, or the cluster is
            not configured.
    """
    ref = _ref_of(services, key, cluster)
    found = await services.clusters.get(cluster).get(ref)
    if isinstance(found, ApiRefusal):
        raise_if_temporary(ref, found)
        raise PermanentError(f"cannot read the inventory: {sentence(ref, found)}")
    if found is None:
        return Inventory("", key.application, key.stage)
    return decode_inventory(found)


async def refuse_foreign(context: StepContext, found: Inventory, known: Known) -> None:
    """Stop before a stage that another installation, a restored database or a person holds.

    Raises:
        TemporaryError: It is held; but for a person's pause the stage is stalled.
    """
    key, mine = context.run.stage, known.installation
    if found.paused:
        message = f'a person paused {key}: its inventory is annotated gitopsd.io/paused: "true"'
        raise TemporaryError(message, retry_after=timedelta(seconds=15), reason="Paused")
    if found.installation and found.installation != mine:
        message = (
            f"the inventory of {key} belongs to another gitopsd installation "
            f"({found.installation}). To take it over: gitopsd adopt {key.application} {key.stage}"
        )
        await _stall(context, StallReason.INVENTORY, message)
    if known.fence is not None and found.fence > known.fence:
        await _stall_if_restored(context, found)


async def _stall_if_restored(context: StepContext, found: Inventory) -> None:
    configuration = context.services.configuration()
    run = context.run
    message = await context.services.store.transact(
        lambda tx: find_restored(tx, run.stage, found, configuration, run=run)
    )
    if message:
        reason = StallReason.RESTORED_DATABASE.value
        raise TemporaryError(message, retry_after=timedelta(seconds=60), reason=reason)


async def _stall(context: StepContext, reason: StallReason, message: str) -> None:
    configuration = context.services.configuration()
    run = context.run

    def work(tx: Transaction) -> None:
        mark_stalled(tx, run.stage, reason, message, configuration, run=run)

    await context.services.store.transact(work)
    raise TemporaryError(message, retry_after=timedelta(seconds=60), reason=reason.value)


async def retire_inventory(context: StepContext, left: Inventory | None) -> None:
    """Keep the list of a destination that was left, for people. Safe to repeat: made once."""
    if left is not None:
        await context.own_cluster().create(encode_retired(left, context.inventory_namespace()))


async def swap_inventory(context: StepContext, wanted: Inventory) -> Inventory:
    """Create or replace the ConfigMap; the resourceVersion makes a loser stop here.

    Safe to repeat: a stale version is refused.

    Raises:
        LeaseLostError: Somebody else changed it first.
        TemporaryError: The cluster does not answer.
        PermanentError: It may not be written.
    """
    cluster, ref = context.own_cluster(), _ref(context)
    body = encode_inventory(wanted, context.inventory_namespace())
    if wanted.resource_version:
        answer = await cluster.replace(body)
    else:
        answer = await cluster.create(body)
        if isinstance(answer, ApiRefusal) and answer.code == _NOT_FOUND:
            await _create_namespace(context)
            answer = await cluster.create(body)
    if isinstance(answer, ApiRefusal):
        context.services.inventories.pop(_spell(context), None)
        gone = answer.code == _NOT_FOUND and bool(wanted.resource_version)
        if answer.code == _CONFLICT or gone:
            message = f"another owner changed the inventory of {context.run.stage} first"
            raise LeaseLostError(message)
        raise_if_temporary(ref, answer)
        raise PermanentError(f"cannot write the inventory: {sentence(ref, answer)}")
    written = decode_inventory(answer.live)
    context.services.inventories[_spell(context)] = written
    return written


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
