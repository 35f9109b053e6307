"""What a stage may write: its boundary, its own objects, a set without contradictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.errors import PermanentError
from gitopsd.kube import names
from gitopsd.kube.objects import (
    annotations_of,
    group_of,
    kind_of,
    labels_of,
    mappings_at,
    name_of,
    namespace_of,
    parse_ref,
    string_at,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
    from gitopsd.domain.verifications import Destination

MAX_DEPTH = 64

_OWNED = (
    "metadata.ownerReferences name objects by uid, which no manifest can know, and Kubernetes "
    "deletes what it does not find the owner of; leave them out"
)

_RBAC_KINDS = frozenset({"ClusterRole", "ClusterRoleBinding"})
_CLUSTERS_OWN = frozenset({"cluster-admin", "admin", "edit", "view"})
_CLUSTERS_OWN_PREFIX = "system:"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an object, or a set, may not be applied.

    Attributes:
        reason: PascalCase word: ``OutsideBoundary``, ``OwnedElsewhere``, ``ManagedBy``,
            ``InvalidObject``, ``DuplicateObject``, ``BadAnnotation`` or ``ImmutableField``.
        message: One sentence with the object's kind and name and what to do.
    """

    reason: str
    message: str


def check_boundary(
    ref: ObjectRef, *, namespaced: bool, destination: Destination, cluster_scoped: Collection[str]
) -> Refusal | None:
    """Check that an object is inside what the stage may write.

    Args:
        ref: The object; without a namespace, a namespaced one means the stage's namespace.
        namespaced: Whether the cluster says that its kind lives in namespaces.
        destination: Where the stage writes.
        cluster_scoped: Cluster-scoped kinds, and objects as ``Kind/name``, it may write.

    Returns:
        The refusal, or None when the object is inside.
    """
    key = ref.key
    if not namespaced:
        if is_given(key.kind, key.name, destination, cluster_scoped):
            return None
        return Refusal(
            "OutsideBoundary",
            f"{key.kind} {key.name}: the stage may not write this cluster-scoped object; "
            f"add {key.kind}/{key.name} to clusterScoped of the stage to allow it",
        )
    if key.namespace in ("", *namespaces_of(destination)):
        return None
    return Refusal(
        "OutsideBoundary",
        f"{key}: the stage writes to namespace {destination.namespace} only; "
        f"add {key.namespace} to namespaces of the stage to allow it",
    )


def namespaces_of(destination: Destination) -> tuple[str, ...]:
    """Tell the namespaces inside the boundary, the stage's own first."""
    return (destination.namespace, *destination.namespaces)


def is_given(
    kind: str, name: str, destination: Destination, cluster_scoped: Collection[str]
) -> bool:
    """Tell whether a stage may write a cluster-scoped object.

    A kind alone stands for all objects of it but those that are plainly others': Namespaces
    outside of the boundary, and the roles that every cluster has. These are given by name only.

    Args:
        kind: The object's.
        name: The object's.
        destination: Where the stage writes.
        cluster_scoped: Kinds, and objects as ``Kind/name``.
    """
    if f"{kind}/{name}" in cluster_scoped:
        return True
    if kind not in cluster_scoped:
        return False
    if kind == "Namespace":
        return name in namespaces_of(destination)
    is_clusters = name in _CLUSTERS_OWN or name.startswith(_CLUSTERS_OWN_PREFIX)
    return kind not in _RBAC_KINDS or not is_clusters


def check_owner(
    live: JsonObject | None, *, application: str, stage: str, adopt: bool
) -> Refusal | None:
    """Check that a live object is not another's.

    Args:
        live: The object as it is; None when it does not exist.
        application: Application that wants to write it.
        stage: Its stage.
        adopt: Whether the manifest carries ``gitopsd.io/adopt: "true"``. On the live object it
            counts as long as no stage has it: one that took it over left its annotation there.

    Returns:
        The refusal, or None when the object may be written.
    """
    if live is None or adopt:
        return None
    labels = labels_of(live)
    owner = (labels.get(names.APPLICATION_LABEL, ""), labels.get(names.STAGE_LABEL, ""))
    if owner == (application, stage) or (not any(owner) and names.parse_adopt(live)):
        return None
    remedy = f'annotate it {names.ADOPT_ANNOTATION}: "true" to take it over'
    said = f"{kind_of(live)} {_place(live)}"
    if any(owner):
        return Refusal(
            "OwnedElsewhere",
            f"{said}: it belongs to stage {owner[1]} of application {owner[0]}; {remedy}",
        )
    manager = find_manager(live)
    if manager:
        return Refusal("ManagedBy", f"{said}: it is managed by {manager}; {remedy}")
    return None


def find_manager(live: JsonObject) -> str:
    """Name the other tool that manages a live object, e.g. ``Argo CD``; empty when none does."""
    labels = labels_of(live)
    managers = {
        string_at(item, "manager") for item in mappings_at(live, "metadata", "managedFields")
    }
    if (
        names.ARGO_INSTANCE_LABEL in labels
        or _is_tracked_by_argo(live)
        or managers & names.ARGO_MANAGERS
    ):
        return "Argo CD"
    if (
        names.FLUX_KUSTOMIZATION_LABEL in labels
        or names.FLUX_HELM_LABEL in labels
        or managers & names.FLUX_MANAGERS
    ):
        return "Flux"
    return ""


def _is_tracked_by_argo(live: JsonObject) -> bool:
    """Whether Argo CD's tracking id speaks of this very object.

    The id is ``<application>:<group>/<kind>:<namespace>/<name>``; on a copy of an object it still
    names the original, so Argo CD itself compares it with the object, and so does this. Of an
    object without a namespace it names the one that its application is deployed to.
    """
    tracking = annotations_of(live).get(names.ARGO_TRACKING_ID, "")
    namespace, slash, name = tracking.rpartition(":")[2].partition("/")
    if namespace_of(live) not in ("", namespace):
        return False
    own = f":{group_of(live)}/{kind_of(live)}:{namespace}{slash}{name_of(live)}"
    return tracking.endswith(own) and name == name_of(live)


def _place(obj: JsonObject) -> str:
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def validate_set(objects: Iterable[JsonObject]) -> tuple[Refusal, ...]:
    """Find what makes a rendered set impossible to apply, without asking a cluster.

    Looked for are documents that are no objects, missing or impossible identities, values that
    are not JSON, two objects of one identity, and annotations of ours that mean nothing.
    """
    refusals: list[Refusal] = []
    seen: dict[ObjectKey, int] = {}
    for number, obj in enumerate(objects, start=1):
        try:
            ref = parse_ref(obj)
        except PermanentError as error:
            refusals.append(Refusal(error.reason, f"document {number}: {error.message}"))
            continue
        problem = find_foreign(obj)
        if problem:
            refusals.append(Refusal("InvalidObject", f"{ref.key}: {problem}"))
        if mappings_at(obj, "metadata", "ownerReferences"):
            refusals.append(Refusal("InvalidObject", f"{ref.key}: {_OWNED}"))
        if ref.key in seen:
            said = f"{ref.key}: documents {seen[ref.key]} and {number} are the same object"
            refusals.append(Refusal("DuplicateObject", f"{said}; keep one"))
        seen.setdefault(ref.key, number)
        refusals += [
            Refusal("BadAnnotation", f"{ref.key}: annotation {problem}")
            for problem in names.list_bad_instructions(obj)
        ]
    return tuple(refusals)


def find_foreign(value: Json) -> str:
    """Say where a value stops being JSON that a cluster could take; empty when it is fine."""
    waiting: list[tuple[object, str, int]] = [(value, "", 0)]
    while waiting:
        current, path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"{path[:80]}... is nested deeper than {MAX_DEPTH} levels"
        if isinstance(current, Mapping):
            odd = [key for key in current if not isinstance(key, str)]
            if odd:
                return f"{path or 'the object'} has the key {odd[0]!r}; quote it to make a string"
            waiting += [
                (inner, f"{path}.{key}" if path else key, depth + 1)
                for key, inner in current.items()
            ]
        elif isinstance(current, list | tuple):
            waiting += [
                (inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(current)
            ]
        elif not _is_scalar(current):
            return f"{path} is {current!r:.40}, which JSON does not have"
    return ""


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)
