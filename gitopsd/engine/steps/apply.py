"""Apply: staged server-side apply; objects that are known clean are not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.manifests import ChangeAction, Inventory, InventoryEntry, Json, ObjectKey
from gitopsd.domain.runs import RunKind
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.applying import Refused, Sent, apply_object, sent_of, version_of
from gitopsd.engine.assessment import IN_FLIGHT, identity_of, identity_of_placed
from gitopsd.engine.outcomes import Done, Outcome, Verdict, Waiting
from gitopsd.engine.placing import Placed, place_objects
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import WritePermit, write_permit
from gitopsd.kube.canonical import digest_of
from gitopsd.kube.field_managers import find_scaled
from gitopsd.kube.inventory import union
from gitopsd.kube.objects import condition_true, string_at
from gitopsd.kube.ordering import apply_batches
from gitopsd.ports import ApiRefusal, Cluster

READY_TRIES = 60
"""Looks for definitions and namespaces to be ready before what needs them, half a second apart."""


async def run_apply(context: StepContext) -> Outcome:
    """Apply the run's set, batch by batch, under the stage's lease and fence.

    Safe to repeat: applying the same bytes again changes nothing; a crash in the middle leaves
    objects that the inventory already names.

    Raises:
        TemporaryError: The cluster did not answer.
        LeaseLostError: The right to write ended; nothing more was sent.
    """
    rendered = await context.load_rendered()
    cluster = context.cluster()
    known = await _known_clean(context)
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    scaled = find_scaled(item.obj for item in placed)
    async with write_permit(context, (item.ref for item in placed)) as permit:
        sent: list[Sent] = []
        for planned in _batches(placed):
            batch = await _refresh(context, cluster, planned)
            for result in await _apply_batch(context, cluster, permit, batch, known, scaled):
                if isinstance(result, Refused):
                    await _keep(context, sent)
                    return Verdict(result.reason, result.message)
                sent.append(result)
            waiting = await _await_foundations(context, cluster, batch)
            if waiting is not None:
                return waiting
        await _keep(context, sent)
        await permit.save_inventory(_entries(permit.inventory, sent))
    return Done()


def _batches(placed: tuple[Placed, ...]) -> list[tuple[Placed, ...]]:
    by_identity = {id(item.obj): item for item in placed}
    return [
        tuple(by_identity[id(obj)] for obj in batch.objects)
        for batch in apply_batches(item.obj for item in placed)
    ]


async def _refresh(
    context: StepContext, cluster: Cluster, batch: tuple[Placed, ...]
) -> tuple[Placed, ...]:
    """Place objects anew whose kind an earlier batch has just defined."""
    if all(item.served for item in batch):
        return batch
    objects = tuple(item.obj for item in batch)
    return await place_objects(cluster, objects, context.spec.namespace)


async def _known_clean(context: StepContext) -> Mapping[str, tuple[str, str]]:
    """Read which objects Validate saw unchanged: identity -> (resourceVersion, digest)."""
    if context.run.kind is not RunKind.ROLLOUT:
        return {}
    evidence = await context.load_evidence(EvidenceKind.CHANGE_SET, "assessed")
    objects = evidence.get("objects") if evidence is not None else None
    if not isinstance(objects, list):
        return {}
    return {
        identity_of(item): (str(item.get("resourceVersion")), str(item.get("digest")))
        for item in objects
        if isinstance(item, dict) and item.get("action") == ChangeAction.UNCHANGED.value
    }


async def _apply_batch(
    context: StepContext,
    cluster: Cluster,
    permit: WritePermit,
    batch: tuple[Placed, ...],
    known: Mapping[str, tuple[str, str]],
    scaled: frozenset[ObjectKey],
) -> list[Sent | Refused]:
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(item: Placed) -> Sent | Refused:
        async with limit:
            clean = await _still_clean(cluster, item, known.get(identity_of_placed(item)))
            if clean is not None:
                return clean
            is_scaled = item.ref.key in scaled
            return await apply_object(context, cluster, permit, item, scaled=is_scaled)

    return list(await asyncio.gather(*(one(item) for item in batch)))


async def _still_clean(
    cluster: Cluster, item: Placed, known: tuple[str, str] | None
) -> Sent | None:
    """An object is left alone only if its bytes and its live version are those of the dry-run."""
    if known is None or not known[0] or known[1] != digest_of(item.obj):
        return None
    live = await cluster.get(item.ref)
    if live is None or isinstance(live, ApiRefusal) or version_of(live) != known[0]:
        return None
    return sent_of(item, live, known[1], written=False)


async def _await_foundations(
    context: StepContext, cluster: Cluster, batch: tuple[Placed, ...]
) -> Waiting | None:
    """Wait for definitions to be established and namespaces active before the next batch."""
    kinds = {"CustomResourceDefinition", "Namespace"}
    foundations = [item for item in batch if item.ref.key.kind in kinds]
    if any(item.ref.key.kind == "CustomResourceDefinition" for item in foundations):
        cluster.forget_kinds()
    for _ in range(READY_TRIES if foundations else 0):
        missing = [item for item in foundations if not await _is_ready(cluster, item)]
        if not missing:
            cluster.forget_kinds()
            return None
        await context.services.clock.sleep(timedelta(milliseconds=500))
    if foundations:
        return Waiting(timedelta(seconds=1), message=f"{foundations[0].ref.key} is not ready yet")
    return None


async def _is_ready(cluster: Cluster, item: Placed) -> bool:
    live = await cluster.get(item.ref)
    if live is None or isinstance(live, ApiRefusal):
        return False
    if item.ref.key.kind == "Namespace":
        return string_at(live, "status", "phase") == "Active"
    return condition_true(live, "Established") is not None


async def _keep(context: StepContext, sent: list[Sent]) -> None:
    objects: list[Json] = [item.describe() for item in sent]
    at = context.services.clock.now().isoformat()
    await context.keep(EvidenceKind.HEALTH, {"applied": objects, "at": at}, key="applied")


def _entries(inventory: Inventory, sent: list[Sent]) -> tuple[InventoryEntry, ...]:
    fresh = [InventoryEntry(item.placed.ref, item.uid, item.digest) for item in sent]
    keys = {entry.ref.key for entry in fresh}
    others = [replace(entry) for entry in inventory.entries if entry.ref.key not in keys]
    return union(others, fresh)
