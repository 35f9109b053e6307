"""Whether the quotas of the cluster have room for all new objects of a set together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitopsd.cluster_ports import ApiRefusal, Cluster
from gitopsd.domain.manifests import JsonObject, ObjectKey, ObjectRef
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.placing import Placed
from gitopsd.kube.quotas import Wish, find_exceeded, needs_of
from gitopsd.ports import Clock

SHOWN = 3
"""Exceeded quotas that the sentence names."""

_QUOTA = ("", "ResourceQuota")


def wish_of(item: Placed, obj: JsonObject) -> Wish:
    """Tell what a new object takes of its namespace.

    Args:
        item: The object.
        obj: The same as the server would store it, where it said so.
    """
    return Wish(item.ref.key, needs_of(item.ref.key.group, item.plural, obj))


async def refuse_by_quotas(
    cluster: Cluster, placed: Iterable[Placed], wishes: Sequence[Wish], clock: Clock
) -> tuple[str, str] | None:
    """Say which quotas have no room for the new objects of a set; None when all have.

    Nothing is said of quotas that may not be read. An object that came to be since it was seen
    missing is counted already, and takes nothing more. Safe to repeat: it only looks.

    Args:
        cluster: The cluster, as the stage's identity.
        placed: The set; quotas in it may change what there is room for.
        wishes: What its new objects take.
        clock: Time of the rests between two tries.

    Returns:
        (reason, sentence), or None.

    Raises:
        TemporaryError: The cluster did not answer.
    """

    async def read(namespace: str) -> tuple[JsonObject, ...]:
        found = await cluster.fetch_list("v1", "ResourceQuota", namespace)
        return () if isinstance(found, ApiRefusal) else found

    namespaces = sorted({wish.key.namespace for wish in wishes} - {""})
    quotas = [quota for found in await run_all(namespaces, read, patience=clock) for quota in found]
    if not quotas:
        return None
    refs = {item.ref.key: item.ref for item in placed}
    changed = [item.obj for item in placed if (item.ref.key.group, item.ref.key.kind) == _QUOTA]
    exceeded = find_exceeded(quotas, wishes, changed)
    if exceeded:
        asked = {key for one in exceeded for key in one.objects}
        there = await _find_there(cluster, [refs[key] for key in asked], clock)
        missing = [wish for wish in wishes if wish.key not in there]
        exceeded = find_exceeded(quotas, missing, changed)
    if not exceeded:
        return None
    more = f"; and {len(exceeded) - SHOWN} more" if len(exceeded) > SHOWN else ""
    return "QuotaExceeded", "; ".join(one.message for one in exceeded[:SHOWN]) + more


async def _find_there(
    cluster: Cluster, refs: Sequence[ObjectRef], clock: Clock
) -> frozenset[ObjectKey]:
    """Find those objects that exist by now."""

    async def look(ref: ObjectRef) -> tuple[ObjectKey, bool]:
        return ref.key, isinstance(await cluster.get(ref), Mapping)

    found = await run_all(refs, look, patience=clock)
    return frozenset(key for key, there in found if there)
