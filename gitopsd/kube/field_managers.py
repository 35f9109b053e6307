"""Who owns which field, and how ownership comes to gitopsd.

Theory: server-side apply removes a field only when nobody else owns it. Fields that kubectl set
before would therefore stay for ever, so their ownership is united into ours before the first
apply; and a field that an autoscaler is to own is handed over before we let go of it, because
the server resets a field that its last owner drops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import ObjectKey
from gitopsd.kube.names import (
    ARGO_MANAGERS,
    FIELD_MANAGER,
    FLUX_MANAGERS,
    LAST_APPLIED_ANNOTATION,
)
from gitopsd.kube.objects import (
    annotations_of,
    group_of,
    int_at,
    kind_of,
    mapping_at,
    mappings_at,
    name_of,
    namespace_of,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.kube.statuses import Status

_CONFLICT = re.compile(r'conflict with "([^"]{1,256})"')
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True, order=True)
class FieldLoser:
    """A field that a forced apply takes away from its manager.

    Attributes:
        manager: Who loses it.
        field: Path of the field, without the leading dot.
    """

    manager: str
    field: str


def needs_migration(live: JsonObject) -> bool:
    """Whether fields of client-side kubectl, or of a tool it was taken from, must become ours."""
    return any(_is_taken(entry) for entry in _entries(live))


def migration_patch(live: JsonObject) -> tuple[dict[str, Json], ...]:
    """Make the JSON patch that unites the ownership of who wrote the object before into ours.

    Every entry without a subresource whose manager begins with ``kubectl``, is
    ``before-first-apply`` (Flux's list), or is Argo CD or Flux, from which the object was adopted,
    becomes part of our Apply entry; others stay as they are. Kubectl's copy of the manifest goes.

    Args:
        live: The object as it is, with its managed fields.

    Returns:
        The operations, the first of which tests the resource version; empty when there is
        nothing to migrate.
    """
    entries = _entries(live)
    taken = [entry for entry in entries if _is_taken(entry)]
    if not taken:
        return ()
    ours = [entry for entry in entries if _is_ours(entry)]
    others = [entry for entry in entries if not (_is_taken(entry) or _is_ours(entry))]
    patch = _replace_entries(live, [_united(ours + taken, string_at(live, "apiVersion")), *others])
    if LAST_APPLIED_ANNOTATION in annotations_of(live):
        escaped = LAST_APPLIED_ANNOTATION.replace("/", "~1")
        patch.append({"op": "remove", "path": f"/metadata/annotations/{escaped}"})
    return tuple(patch)


def version_patch(live: JsonObject) -> tuple[dict[str, Json], ...]:
    """Make the JSON patch that gives every managed-fields entry the object's own API version.

    Needed when an apply fails with "field not declared in schema" for the live object: a version
    that entries were written under is no longer served (Flux's ``MigrateAPIVersion``).

    Args:
        live: The object as it is, with its managed fields.

    Returns:
        The operations, the first of which tests the resource version; empty when every entry has
        the object's version.
    """
    api_version = string_at(live, "apiVersion")
    entries = _entries(live)
    if all(string_at(entry, "apiVersion") == api_version for entry in entries):
        return ()
    rewritten = [{**entry, "apiVersion": api_version} for entry in entries]
    return tuple(_replace_entries(live, rewritten))


def _replace_entries(live: JsonObject, entries: Sequence[JsonObject]) -> list[dict[str, Json]]:
    version = string_at(live, "metadata", "resourceVersion")
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/metadata/managedFields", "value": list(entries)},
    ]


def _entries(live: JsonObject) -> tuple[JsonObject, ...]:
    return mappings_at(live, "metadata", "managedFields")


def _is_taken(entry: JsonObject) -> bool:
    manager = string_at(entry, "manager")
    if string_at(entry, "subresource"):
        return False
    if manager == "before-first-apply":
        return string_at(entry, "operation") == "Update"
    return manager.startswith("kubectl") or manager in ARGO_MANAGERS | FLUX_MANAGERS


def _is_ours(entry: JsonObject) -> bool:
    return (
        string_at(entry, "manager") == FIELD_MANAGER
        and string_at(entry, "operation") == "Apply"
        and not string_at(entry, "subresource")
    )


def _united(entries: list[JsonObject], api_version: str) -> dict[str, Json]:
    fields: dict[str, Json] = {}
    for entry in entries:
        fields = _merge(fields, mapping_at(entry, "fieldsV1"), 0)
    united: dict[str, Json] = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": _without_last_applied(fields),
    }
    time = next((string_at(entry, "time") for entry in entries if string_at(entry, "time")), "")
    if time:
        united["time"] = time
    return united


def _merge(left: JsonObject, right: JsonObject, depth: int) -> dict[str, Json]:
    merged = dict(left)
    for key, value in right.items():
        mine = merged.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping) and depth < _MAX_DEPTH:
            merged[key] = _merge(mine, value, depth + 1)
        else:
            merged.setdefault(key, value)
    return merged


def _without_last_applied(fields: dict[str, Json]) -> dict[str, Json]:
    annotations = mapping_at(fields, "f:metadata", "f:annotations")
    kept = {
        key: value for key, value in annotations.items() if key != f"f:{LAST_APPLIED_ANNOTATION}"
    }
    if len(kept) == len(annotations):
        return fields
    metadata = {**mapping_at(fields, "f:metadata"), "f:annotations": kept}
    if not kept.keys() - {"."}:
        del metadata["f:annotations"]
    return {**fields, "f:metadata": metadata}


def owns(live: JsonObject, manager: str = FIELD_MANAGER) -> bool:
    """Whether a manager has applied the object before."""
    return any(
        string_at(entry, "manager") == manager and string_at(entry, "operation") == "Apply"
        for entry in _entries(live)
    )


def parse_losers(status: Status) -> tuple[FieldLoser, ...]:
    """Read from the conflicts of an apply that was not forced who would lose which field."""
    found = set()
    for cause in status.causes:
        if cause.reason == "FieldManagerConflict":
            said = _CONFLICT.search(cause.message)
            manager = said.group(1) if said else "another manager"
            found.add(FieldLoser(manager, cause.field.removeprefix(".")))
    return tuple(sorted(found))


def describe_losers(losers: Iterable[FieldLoser]) -> str:
    """Say in one clause who loses what: ``kubectl-edit loses spec.replicas``."""
    by_manager: dict[str, list[str]] = {}
    for loser in sorted(losers):
        by_manager.setdefault(loser.manager, []).append(loser.field)
    return "; ".join(
        f"{manager} loses {', '.join(fields)}" for manager, fields in by_manager.items()
    )


def find_scaled(objects: Iterable[JsonObject]) -> frozenset[ObjectKey]:
    """Find the workloads whose replicas an autoscaler of the set decides.

    Read are HorizontalPodAutoscalers and KEDA's ScaledObjects, whose target is a Deployment
    unless it says otherwise.
    """
    targets = set()
    for obj in objects:
        scaler = (group_of(obj), kind_of(obj))
        target = mapping_at(obj, "spec", "scaleTargetRef")
        name = string_at(target, "name")
        if scaler not in _AUTOSCALERS or not name:
            continue
        group, kind = group_of(target), kind_of(target)
        if scaler == _SCALED_OBJECT:
            kind = kind or "Deployment"
            group = group if string_at(target, "apiVersion") else "apps"
        targets.add(ObjectKey(group, kind, namespace_of(obj), name))
    return frozenset(targets)


_SCALED_OBJECT = ("keda.sh", "ScaledObject")
_AUTOSCALERS = frozenset({("autoscaling", "HorizontalPodAutoscaler"), _SCALED_OBJECT})


def strip_replicas(desired: JsonObject) -> JsonObject:
    """Copy a workload without ``spec.replicas``; the workload itself when it has none."""
    spec = mapping_at(desired, "spec")
    if "replicas" not in spec:
        return desired
    kept = {key: value for key, value in spec.items() if key != "replicas"}
    return {**desired, "spec": kept}


def replicas_handover(live: JsonObject) -> dict[str, Json] | None:
    """Make the apply that hands ``spec.replicas`` over before we stop listing it.

    It is to be sent once, with the live number, as manager `names.HANDOVER_MANAGER`; without it,
    a field whose only owner lets go is reset to its default of 1.

    Returns:
        The body, or None when we do not own the field or somebody else owns it too.
    """
    replicas = int_at(live, "spec", "replicas")
    owners = [entry for entry in _entries(live) if _owns_replicas(entry)]
    if replicas is None or not owners or not all(_is_ours(entry) for entry in owners):
        return None
    metadata: dict[str, Json] = {"name": name_of(live)}
    if namespace_of(live):
        metadata["namespace"] = namespace_of(live)
    return {
        "apiVersion": string_at(live, "apiVersion"),
        "kind": kind_of(live),
        "metadata": metadata,
        "spec": {"replicas": replicas},
    }


def _owns_replicas(entry: JsonObject) -> bool:
    return value_at(entry, "fieldsV1", "f:spec", "f:replicas") is not None
