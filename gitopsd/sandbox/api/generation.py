"""Which kinds count their generations, and when one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.fields import field_at, number_at, object_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

DEPLOYMENTS = Kind("apps", "deployments")
PODS = Kind("", "pods")
# Seen on a real API server: these kinds have no metadata.generation, every other one has.
UNCOUNTED = frozenset(
    {
        Kind("", "configmaps"),
        Kind("", "endpoints"),
        Kind("", "events"),
        Kind("", "limitranges"),
        Kind("", "namespaces"),
        Kind("", "nodes"),
        Kind("", "persistentvolumeclaims"),
        Kind("", "persistentvolumes"),
        Kind("", "resourcequotas"),
        Kind("", "secrets"),
        Kind("", "serviceaccounts"),
        Kind("", "services"),
        Kind("apps", "controllerrevisions"),
        Kind("coordination.k8s.io", "leases"),
        Kind("node.k8s.io", "runtimeclasses"),
        Kind("rbac.authorization.k8s.io", "clusterrolebindings"),
        Kind("rbac.authorization.k8s.io", "clusterroles"),
        Kind("rbac.authorization.k8s.io", "rolebindings"),
        Kind("rbac.authorization.k8s.io", "roles"),
        Kind("storage.k8s.io", "storageclasses"),
    }
)
# Seen likewise: this one has a generation that stays what it was at first.
NEVER_COUNTED_UP = frozenset({Kind("scheduling.k8s.io", "priorityclasses")})
NOT_WANTED = frozenset({"apiVersion", "kind", "metadata", "status"})


def starts_generation(kind: Kind) -> bool:
    """Whether objects of this kind have a generation, which begins with 1."""
    return kind not in UNCOUNTED


def next_generation(kind: Kind, before: JsonObject, after: JsonObject, subresource: str) -> int:
    """The generation after an update; 0 where the kind has none.

    It counts changes of what is wanted: everything but metadata and status, and for Deployments
    the annotations too (which carry over to ReplicaSets), unless the status is what is written.
    Binding a pod to its node is none of them.
    """
    if not starts_generation(kind):
        return 0
    now = int(number_at(before, "metadata", "generation", default=1))
    if kind in NEVER_COUNTED_UP:
        return now
    if _wanted(kind, before) != _wanted(kind, after):
        return now + 1
    annotated = kind == DEPLOYMENTS and subresource != "status"
    path = ("metadata", "annotations")
    if annotated and (field_at(before, *path) or {}) != (field_at(after, *path) or {}):
        return now + 1
    return now


def _wanted(kind: Kind, obj: JsonObject) -> JsonObject:
    wanted = {name: value for name, value in obj.items() if name not in NOT_WANTED}
    if kind == PODS:
        spec = object_at(obj, "spec")
        wanted["spec"] = {name: value for name, value in spec.items() if name != "nodeName"}
    return wanted
