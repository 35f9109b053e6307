"""Takes a stage's inventory over from another installation, because a person says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import StageKey
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import AuditEntry, WorkItem, WorkKind
from gitopsd.engine.actors import ActionDone, ActionResult, Actor
from gitopsd.engine.admission import settle
from gitopsd.engine.inventories import fetch_inventory_of
from gitopsd.engine.services import Services
from gitopsd.engine.slots import parse_stage_key
from gitopsd.engine.step_context import inventory_namespace
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.engine.verb_checks import refuse_for_stage
from gitopsd.engine.verb_states import say_stage_state
from gitopsd.errors import TemporaryError
from gitopsd.kube.inventory import encode_inventory
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction

_CONFLICT = 409


def ask_to_adopt(
    tx: Transaction, actor: Actor, key: StageKey, reason: str, config: Configuration
) -> ActionResult:
    """Have a stage's inventory taken over; the stage goes on when it is this installation's."""
    refusal = refuse_for_stage(tx, Verb.ADOPT, key, config)
    if refusal is not None:
        return refusal
    payload: JsonObject = {
        "by": actor.subject,
        "reason": reason,
        "before": say_stage_state(tx, key),
    }
    tx.work.add(WorkItem(f"adopt:{key}", WorkKind.ADOPT, str(key), tx.now, payload))
    return ActionDone(
        f"the inventory of {key} is taken over, then the stage goes on; how far it is: "
        f"gitopsd explain {key.application} {key.stage}"
    )


async def adopt_stage(services: Services, item: WorkItem) -> None:
    """Write this installation's name into a stage's inventory, and let the stage go on.

    What the inventory lists stays listed, so that the next plan shows what leaves. The fence goes
    on above the one that was found: whoever held the stage writes nothing any more.

    Safe to repeat: what is taken over already is only released.

    Raises:
        TemporaryError: The cluster does not answer, somebody is writing, or the inventory changed
            meanwhile.
        PermanentError: The inventory may not be read, or the cluster is not configured.
    """
    key = parse_stage_key(item.subject)
    place = await services.store.read(lambda tx: _load(tx, key))
    if place is None:
        await services.store.transact(lambda tx: tx.work.finish(item))
        return
    cluster, mine = place
    found = await fetch_inventory_of(services, key, cluster)
    lease = await services.store.transact(
        lambda tx: tx.stages.claim(
            key, services.replica, services.pace.lease, cluster_fence=found.fence
        )
    )
    if lease is None:
        message = f"another replica is writing to {key}; waiting for its lease to end"
        raise TemporaryError(message, retry_after=timedelta(seconds=2), reason="LeaseHeld")
    services.newest_fences[key] = lease.fence
    try:
        if found.installation not in ("", mine):
            wanted = replace(found, installation=mine, fence=lease.fence)
            namespace = inventory_namespace(services.configuration(), cluster)
            answer = await services.clusters.get(cluster).replace(
                encode_inventory(wanted, namespace)
            )
            if isinstance(answer, ApiRefusal):
                what = "changed meanwhile" if answer.code == _CONFLICT else answer.message
                message = f"the inventory of {key} could not be taken over: {what}"
                raise TemporaryError(message, retry_after=timedelta(seconds=2))
    finally:
        await services.store.transact(lambda tx: tx.stages.release(lease))
    await _go_on(services, item, found.installation)


def _load(tx: Transaction, key: StageKey) -> tuple[str, str] | None:
    """Read where a stage writes, and who we are; None when it is not configured any more."""
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    return (spec.cluster, tx.installation) if spec is not None else None


async def _go_on(services: Services, item: WorkItem, taken_from: str) -> None:
    key = parse_stage_key(item.subject)
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        tx.work.finish(item)
        _release(tx, key, configuration)
        details: JsonObject = {
            "reason": item.payload.get("reason"),
            "from": taken_from,
            "before": item.payload.get("before"),
            "after": say_stage_state(tx, key),
        }
        by = str(item.payload.get("by"))
        tx.records.append_audit(AuditEntry(0, tx.now, by, "adopted", str(key), "done", details))

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


def _release(tx: Transaction, key: StageKey, config: Configuration) -> None:
    stage = tx.stages.get(key)
    if stage is None or stage.stall is None or stage.stall.reason is not StallReason.INVENTORY:
        return
    tx.stages.save(replace(stage, stall=None))
    settle(tx, (key,), config)
    front = tx.runs.get(stage.front) if stage.front is not None else None
    if front is not None and front.command is not None:
        tx.work.hasten(front.command, tx.now)
