"""Which objects a stage's inventory still holds that its new set does not."""

from __future__ import annotations

import asyncio

from gitopsd.domain.manifests import Inventory, JsonObject, ObjectKey, ObjectRef
from gitopsd.engine.assessment import IN_FLIGHT
from gitopsd.engine.refusals import raise_if_temporary
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.inventory import PrunePlan, compute_prune
from gitopsd.ports import ApiRefusal, Cluster


async def plan_deletions(
    context: StepContext, cluster: Cluster, inventory: Inventory, wanted: tuple[ObjectRef, ...]
) -> PrunePlan:
    """Look at every object that left the set and decide what happens to it.

    Raises:
        TemporaryError: The cluster did not answer for one of them.
    """
    keys = {ref.key for ref in wanted}
    gone = [entry.ref for entry in inventory.entries if entry.ref.key not in keys]
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(ref: ObjectRef) -> tuple[ObjectKey, JsonObject | None]:
        async with limit:
            live = await cluster.get(ref)
        if isinstance(live, ApiRefusal):
            raise_if_temporary(ref, live)
            return ref.key, None
        return ref.key, live

    live = dict(await asyncio.gather(*(one(ref) for ref in gone)))
    return compute_prune(
        inventory.entries,
        wanted,
        live,
        application=context.application.name,
        stage=context.spec.name,
    )
