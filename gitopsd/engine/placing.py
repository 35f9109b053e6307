"""Puts every object of a set where it goes: kind looked up, namespace filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gitopsd.domain.manifests import JsonObject, ObjectKey, ObjectRef
from gitopsd.kube.objects import mapping_at, parse_ref, string_at
from gitopsd.ports import Cluster, KindInfo


@dataclass(frozen=True, slots=True)
class Placed:
    """An object with its final address.

    Attributes:
        obj: The manifest as it is sent.
        ref: Its address.
        namespaced: Whether its kind lives in a namespace; None when nobody knows the kind.
        served: Whether the server serves its kind now.
    """

    obj: JsonObject
    ref: ObjectRef
    namespaced: bool | None
    served: bool


async def place_objects(
    cluster: Cluster, objects: tuple[JsonObject, ...], namespace: str
) -> tuple[Placed, ...]:
    """Place a set, in its own order.

    Raises:
        TemporaryError: The server's discovery does not answer.
        PermanentError: An object has no identity.
    """
    own = _kinds_of_definitions(objects)
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
    if namespaced and not ref.key.namespace:
        metadata = {**mapping_at(obj, "metadata"), "namespace": namespace}
        obj = {**obj, "metadata": metadata}
        key = ObjectKey(ref.key.group, ref.key.kind, namespace, ref.key.name)
        ref = replace(ref, key=key)
    return Placed(obj, ref, namespaced, served=info is not None)


def _kinds_of_definitions(objects: tuple[JsonObject, ...]) -> dict[tuple[str, str], bool]:
    """Read which kinds the set's own CustomResourceDefinitions bring, and their scope."""
    kinds = {}
    for obj in objects:
        if string_at(obj, "kind") == "CustomResourceDefinition":
            group = string_at(obj, "spec", "group")
            kind = string_at(obj, "spec", "names", "kind")
            kinds[group, kind] = string_at(obj, "spec", "scope") == "Namespaced"
    return kinds
