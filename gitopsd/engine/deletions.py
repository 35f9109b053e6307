"""Which objects a stage's inventory still holds that its new set does not."""

from __future__ import annotations

from gitopsd.domain.manifests import Inventory, JsonObject, ObjectKey, ObjectRef
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.refusals import raise_if_temporary
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.inventory import PrunePlan, compute_prune
from gitopsd.ports import ApiRefusal, Cluster


async def plan_deletions(
    context: StepContext, cluster: Cluster, inventory: Inventory, wanted: tuple[ObjectRef, ...]
) -> PrunePlan:
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

    seen = await run_all(gone, look)
    return compute_prune(
        inventory.entries,
        wanted,
        {key: live for key, live in seen if not isinstance(live, ApiRefusal)},
        application=context.application.name,
        stage=context.spec.name,
    )


async def find_remaining(cluster: Cluster, refs: list[ObjectRef]) -> frozenset[ObjectKey]:
    """Find which of some deleted objects are still there, held by finalizers or their pods.

    Raises:
        TemporaryError: The cluster did not answer for one of them.
    """

    async def look(ref: ObjectRef) -> tuple[ObjectKey, bool]:
        return ref.key, await cluster.get(ref) is not None

    return frozenset(key for key, there in await run_all(refs, look) if there)
