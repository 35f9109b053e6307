"""Puts every object of a set where it goes: kind looked up, namespace filled in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gitopsd.cluster_ports import (
    Cluster,
    KindInfo,
)
from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.kube.names import ApplyMode, parse_apply_mode, parse_hook_phases
from gitopsd.kube.objects import mapping_at, parse_ref, string_at


@dataclass(frozen=True, slots=True)
class Placed:
    """An object with its final address.

    Attributes:
        obj: The manifest as it is sent.
        ref: Its address.
        namespaced: Whether its kind lives in a namespace; None when nobody knows the kind.
        served: Whether the server serves its kind now.
        has_status: Whether its kind has a status subresource.
        mode: How it is written.
        plural: Resource name of its kind; empty while that is not served.
    """

    obj: JsonObject
    ref: ObjectRef
    namespaced: bool | None
    served: bool
    has_status: bool = False
    mode: ApplyMode = ApplyMode.OVERRIDE
    plural: str = ""


async def place_objects(
    cluster: Cluster, objects: Iterable[JsonObject], namespace: str
) -> tuple[Placed, ...]:
    """Place a set, in its own order, without its hooks.

    As in Argo CD an object with a hook annotation is never part of the ordinary set.

    Raises:
        TemporaryError: The server's discovery does not answer.
        PermanentError: An object has no identity.
    """
    ordinary = [obj for obj in objects if not parse_hook_phases(obj)]
    return await _place_all(cluster, ordinary, namespace)


async def place_hooks(
    cluster: Cluster, hooks: Iterable[JsonObject], namespace: str
) -> tuple[Placed, ...]:
    """Place hooks, in their own order.

    Raises:
        TemporaryError: The server's discovery does not answer.
        PermanentError: An object has no identity.
    """
    return await _place_all(cluster, [*hooks], namespace)


async def _place_all(
    cluster: Cluster, objects: Sequence[JsonObject], namespace: str
) -> tuple[Placed, ...]:
    own = find_defined(objects)
    placed = []
    for obj in objects:
        ref = parse_ref(obj)
        info = await cluster.fetch_kind(ref)
        scope = info.namespaced if info is not None else own.get((ref.key.group, ref.key.kind))
        placed.append(_place(obj, ref, scope, info, namespace))
    return tuple(placed)


def _place(
    obj: JsonObject,
    ref: ObjectRef,
    namespaced: bool | None,  # noqa: FBT001 - three-valued, always passed by position here
    info: KindInfo | None,
    namespace: str,
) -> Placed:
    placed = Placed(
        obj,
        ref,
        namespaced,
        served=info is not None,
        has_status=info is not None and info.has_status,
        mode=parse_apply_mode(obj),
        plural=info.plural if info is not None else "",
    )
    if namespaced and not ref.key.namespace:
        return _move(placed, namespace)
    if namespaced is False and ref.key.namespace:  # kustomize cannot know a custom kind's scope
        return _move(placed, "")
    return placed


def _move(placed: Placed, namespace: str) -> Placed:
    metadata: dict[str, Json] = dict(mapping_at(placed.obj, "metadata"))
    metadata.pop("namespace", None)
    if namespace:
        metadata["namespace"] = namespace
    key = placed.ref.key
    moved = ObjectKey(key.group, key.kind, namespace, key.name)
    return replace(
        placed, obj={**placed.obj, "metadata": metadata}, ref=replace(placed.ref, key=moved)
    )


def find_defined(objects: Iterable[JsonObject]) -> dict[tuple[str, str], bool]:
    """Read which kinds the definitions of a set bring: (group, kind) -> namespaced."""
    kinds = {}
    for obj in objects:
        if string_at(obj, "kind") == "CustomResourceDefinition":
            group = string_at(obj, "spec", "group")
            kind = string_at(obj, "spec", "names", "kind")
            kinds[group, kind] = string_at(obj, "spec", "scope") == "Namespaced"
    return kinds
