"""Prune: objects that left Git are deleted, after the new set was verified."""

from __future__ import annotations

from gitopsd.cluster_ports import (
    Cluster,
)
from gitopsd.domain.manifests import Json, ObjectKey
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.deletions import find_remaining, plan_deletions
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.outcomes import Done, Outcome
from gitopsd.engine.placing import place_objects
from gitopsd.engine.refusals import raise_if_temporary, sentence
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import WritePermit, write_permit
from gitopsd.kube.inventory import PrunePlan, survivors, union
from gitopsd.kube.ordering import prune_order


async def run_prune(context: StepContext) -> Outcome:
    """Delete what left Git, and keep on the list whatever could not be deleted.

    Safe to repeat: deletions carry uid preconditions; an object that is gone is done. An empty
    set never comes here: Render refuses it.

    Raises:
        TemporaryError: The cluster did not answer.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    rendered = await context.load_rendered()
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    refs = tuple(item.ref for item in placed)
    wanted = {ref.key for ref in refs}
    inventory = await read_inventory(context)
    if all(entry.ref.key in wanted for entry in inventory.entries):
        return Done()
    async with write_permit(context) as permit:
        deletions = await plan_deletions(context, cluster, permit.inventory, refs)
        plan = deletions.plan
        failed = await _delete(cluster, permit, plan)
        deleted = [item.entry.ref for item in plan.delete if item.entry.ref.key not in failed]
        held = await find_remaining(
            cluster, [ref for ref in deleted if ref.key in deletions.lingering]
        )
        kept = [entry for entry in permit.inventory.entries if entry.ref.key in wanted]
        await permit.save_inventory(union(kept, survivors(plan, held | failed.keys())))
    await _keep(context, plan, failed)
    return Done()


async def _delete(cluster: Cluster, permit: WritePermit, plan: PrunePlan) -> dict[ObjectKey, str]:
    """Delete in reverse apply order; returns why some could not be deleted."""
    failed: dict[ObjectKey, str] = {}
    by_ref = {item.entry.ref: item.entry for item in plan.delete}
    for ref in prune_order(by_ref):
        entry = by_ref[ref]
        permit.check()
        propagation = "Foreground" if ref.key.kind == "Job" else "Background"
        refusal = await cluster.delete(ref, uid=entry.uid, propagation=propagation)
        if refusal is not None:
            raise_if_temporary(ref, refusal)
            failed[ref.key] = sentence(ref, refusal)
    return failed


async def _keep(context: StepContext, plan: PrunePlan, failed: dict[ObjectKey, str]) -> None:
    content: dict[str, Json] = {
        "deleted": [
            str(item.entry.ref.key) for item in plan.delete if item.entry.ref.key not in failed
        ],
        "failed": list(failed.values()),
        "kept": [f"{item.entry.ref.key}: {item.reason}" for item in plan.keep],
        "dropped": [f"{item.entry.ref.key}: {item.reason}" for item in plan.drop],
    }
    await context.keep(EvidenceKind.PRUNE, content, key="prune")
