"""What an object reaches beyond itself: rights for others, and roles that others hold.

Theory: the boundary says where a stage writes. A few kinds have an effect elsewhere although they
are inside: a binding gives rights to accounts of any namespace, a label adds a role's rules to a
role of somebody else. The API server checks only that whoever writes them holds those rights, and
gitopsd, which serves many applications, holds more than any of them. So they are held to the
boundary too. Source: Kubernetes, "Using RBAC Authorization", subjects and aggregated ClusterRoles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.kube.boundary import Refusal, is_given, namespaces_of
from gitopsd.kube.objects import labels_of, mappings_at, string_at

if TYPE_CHECKING:
    from collections.abc import Collection

    from gitopsd.domain.manifests import JsonObject, ObjectRef
    from gitopsd.domain.verifications import Destination

_RBAC = "rbac.authorization.k8s.io"
BINDINGS = frozenset({"RoleBinding", "ClusterRoleBinding"})
"""Kinds that give the rights of a role to somebody."""

_AGGREGATES = f"{_RBAC}/aggregate-to-"
_ACCOUNT_USER = "system:serviceaccount:"
_ACCOUNT_GROUP = "system:serviceaccounts:"
_SYSTEM = "system:"


def check_reach(
    obj: JsonObject, ref: ObjectRef, *, destination: Destination, cluster_scoped: Collection[str]
) -> Refusal | None:
    """Check that an object inside the boundary changes nobody's rights outside of it.

    A binding may name people, and service accounts of the stage's namespaces, in whatever way it
    names them; not accounts of other namespaces, and no group of Kubernetes' own, because every
    account of the cluster is in one. A ClusterRole may be aggregated only to roles that the stage
    was given.

    Args:
        obj: The object.
        ref: Its address.
        destination: Where the stage writes.
        cluster_scoped: Cluster-scoped kinds, and objects as ``Kind/name``, it may write.

    Returns:
        The refusal, or None when there is nothing against it.
    """
    key = ref.key
    if key.group != _RBAC:
        return None
    if key.kind in BINDINGS:
        return _check_subjects(obj, ref, destination)
    if key.kind == "ClusterRole":
        return _check_aggregation(obj, ref, destination, cluster_scoped)
    return None


def _check_subjects(obj: JsonObject, ref: ObjectRef, destination: Destination) -> Refusal | None:
    inside = namespaces_of(destination)
    for subject in mappings_at(obj, "subjects"):
        name, kind = string_at(subject, "name"), string_at(subject, "kind")
        namespace = string_at(subject, "namespace") if kind == "ServiceAccount" else _home_of(name)
        if namespace in inside or (not namespace and not name.startswith(_SYSTEM)):
            continue
        if kind == "ServiceAccount":
            name = f"{namespace}/{name}"
        remedy = (
            f"add {namespace} to namespaces of the stage to allow it"
            if namespace
            else "name service accounts of the stage's namespaces instead"
        )
        return Refusal(
            "OutsideBoundary",
            f"{ref.key}: it gives rights to {kind} {name}, which is outside of the stage; {remedy}",
        )
    return None


def _home_of(name: str) -> str:
    """Read the namespace out of what Kubernetes calls an account, or the accounts of a namespace.

    Empty for everybody else: people, components, and groups that reach across namespaces.
    """
    for prefix in (_ACCOUNT_USER, _ACCOUNT_GROUP):
        if name.startswith(prefix):
            return name.removeprefix(prefix).partition(":")[0]
    return ""


def _check_aggregation(
    obj: JsonObject, ref: ObjectRef, destination: Destination, cluster_scoped: Collection[str]
) -> Refusal | None:
    for label in labels_of(obj):
        role = label.removeprefix(_AGGREGATES)
        if role == label or is_given("ClusterRole", role, destination, cluster_scoped):
            continue
        return Refusal(
            "OutsideBoundary",
            f"{ref.key}: label {label} adds its rules to ClusterRole {role}, which the stage may "
            f"not write; add ClusterRole/{role} to clusterScoped of the stage to allow it",
        )
    return None
