"""Which objects a stage's inventory still holds that its new set does not."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.cluster_ports import (
    ApiRefusal,
    Cluster,
)
from gitopsd.domain.manifests import Inventory, JsonObject, ObjectKey, ObjectRef
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.refusals import raise_if_temporary
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.inventory import PrunePlan, compute_prune
from gitopsd.kube.objects import mapping_at

LINGERING = frozenset({"Job", "Namespace", "Pod"})
"""Kinds whose objects end gracefully, or after what they own."""


@dataclass(frozen=True, slots=True)
class Deletions:
    """What happens to the objects that left a set.

    Attributes:
        plan: What is deleted, kept and dropped.
        lingering: Objects that may still be there for a while after their deletion.
    """

    plan: PrunePlan
    lingering: frozenset[ObjectKey]


async def plan_deletions(
    context: StepContext, cluster: Cluster, inventory: Inventory, wanted: tuple[ObjectRef, ...]
) -> Deletions:
    """Look at every object that left the set and decide what happens to it.

    An object that may not be looked at stays, and stays on the list.

    Raises:
        TemporaryError: The cluster did not answer for one of them.
    """
    keys = {ref.key for ref in wanted}
    gone = [entry.ref for entry in inventory.entries if entry.ref.key not in keys]

    async def look(ref: ObjectRef) -> tuple[ObjectKey, JsonObject | ApiRefusal | None]:
        live = await cluster.get(ref)
        if isinstance(live, ApiRefusal):
            raise_if_temporary(ref, live)
        return ref.key, live

    seen = await run_all(gone, look, patience=context.services.clock)
    live = {key: obj for key, obj in seen if not isinstance(obj, ApiRefusal)}
    plan = compute_prune(
        inventory.entries,
        wanted,
        live,
        application=context.application.name,
        stage=context.spec.name,
    )
    lingering = frozenset(
        key for key, obj in live.items() if obj is not None and _lingers(key, obj)
    )
    return Deletions(plan, lingering)


def _lingers(key: ObjectKey, live: JsonObject) -> bool:
    return key.kind in LINGERING or bool(mapping_at(live, "metadata").get("finalizers"))


async def find_remaining(cluster: Cluster, refs: list[ObjectRef]) -> frozenset[ObjectKey]:
    """Find which of some deleted objects are still there, held by finalizers or their pods.

    Raises:
        TemporaryError: The cluster did not answer for one of them.
    """

    async def look(ref: ObjectRef) -> tuple[ObjectKey, bool]:
        return ref.key, await cluster.get(ref) is not None

    return frozenset(key for key, there in await run_all(refs, look) if there)
