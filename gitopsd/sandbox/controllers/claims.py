"""Claims and volumes: each claim gets a volume of its own, which is nowhere in particular. Pure.

Rules: ``pkg/controller/volume/persistentvolume``, ``pkg/controller/volume/pvcprotection``. A claim
that names a volume, or finds one of its class that is free, takes that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    NOTHING,
    POD,
    STORAGE_CLASS,
    VOLUME,
    Announcement,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
)
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.quantities import read_quantity
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    created_order,
    finalizers_of,
    is_deleted,
    name_of,
    namespace_of,
    uid_of,
    with_annotations,
    with_finalizers,
    with_spec,
    with_status,
)
from gitopsd.sandbox.fields import field_at, object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PROVISIONER = "gitopsd.io/hostless"
_BOUND_BY = "pv.kubernetes.io/bound-by-controller"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

STANDARD_CLASS: JsonObject = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS: "true"}},
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}
"""The class that a cluster begins with; claims that name none get it."""


def bind(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Give a claim its class, its volume and, at its end, leave to go."""
    del now
    claim = facts.find(CLAIM.resource, *key)
    if claim is None or refusals:
        return Plan(failed=bool(refusals))
    if is_deleted(claim):
        return _let_go(claim, facts)
    volume_name = text_at(claim, "spec", "volumeName")
    if volume_name:
        volume = facts.find(VOLUME.resource, "", volume_name)
        return _finish(claim, volume) if volume is not None else _lost(claim)
    if field_at(claim, "spec", "storageClassName") is None:
        default = _default_class(facts)
        if default:
            named = with_spec(claim, {"storageClassName": default})
            return Plan((Replace(CLAIM.resource, named),))
    return _find_volume(claim, facts)


def reclaim(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """See to a volume whose claim is gone, and to one that is deleted."""
    del now
    volume = facts.find(VOLUME.resource, "", key.name)
    if volume is None or refusals:
        return Plan(failed=bool(refusals))
    reference = object_at(volume, "spec", "claimRef")
    claim = facts.find(CLAIM.resource, text_at(reference, "namespace"), text_at(reference, "name"))
    wanted = text_at(reference, "uid")
    claimed = claim is not None and (not wanted or uid_of(claim) == wanted)
    if is_deleted(volume):
        if claimed or VOLUME_PROTECTION not in finalizers_of(volume):
            return NOTHING
        kept = tuple(text for text in finalizers_of(volume) if text != VOLUME_PROTECTION)
        return Plan((Replace(VOLUME.resource, with_finalizers(volume, kept)),))
    if not reference:
        return _say_phase(volume, "Available")
    if claimed:
        return _say_phase(volume, "Bound") if wanted else NOTHING
    if not wanted:
        return _say_phase(volume, "Available")
    ours = annotations_of(volume).get(_PROVISIONED_BY) == PROVISIONER
    if ours and text_at(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete":
        return Plan((Delete(VOLUME.resource, volume),))
    return _say_phase(volume, "Released")


def mounted_by(pod: JsonObject) -> set[Key]:
    """The claims that a pod mounts."""
    names = (
        text_at(volume, "persistentVolumeClaim", "claimName")
        for volume in objects_at(pod, "spec", "volumes")
    )
    return {Key(namespace_of(pod), name) for name in names if name}


def _let_go(claim: JsonObject, facts: Facts) -> Plan:
    """A deleted claim stays while a pod that has not ended mounts it."""
    if CLAIM_PROTECTION not in finalizers_of(claim):
        return NOTHING
    key = Key(namespace_of(claim), name_of(claim))
    in_use = any(
        key in mounted_by(pod) and text_at(pod, "spec", "nodeName") and not is_finished(pod)
        for pod in facts.among(POD.resource, key.namespace)
    )
    if in_use:
        return NOTHING
    kept = tuple(text for text in finalizers_of(claim) if text != CLAIM_PROTECTION)
    return Plan((Replace(CLAIM.resource, with_finalizers(claim, kept)),))


def _default_class(facts: Facts) -> str:
    """The newest class that is marked as the default; empty when none is."""
    found = [
        item
        for item in facts.among(STORAGE_CLASS.resource)
        if annotations_of(item).get(DEFAULT_CLASS) == "true"
    ]
    return name_of(max(found, key=created_order)) if found else ""


def _find_volume(claim: JsonObject, facts: Facts) -> Plan:
    class_name = text_at(claim, "spec", "storageClassName")
    free = [item for item in facts.among(VOLUME.resource) if _suits(item, claim, class_name)]
    if free:
        smallest = min(free, key=lambda item: (_size(item), name_of(item)))
        return _take(claim, smallest)
    if not class_name:
        said = "no persistent volumes available for this claim and no storage class is set"
        return _wait(claim, Announcement(claim, "FailedBinding", said))
    found = facts.find(STORAGE_CLASS.resource, "", class_name)
    if found is None:
        said = f'storageclass.storage.k8s.io "{class_name}" not found'
        return _wait(claim, Announcement(claim, "ProvisioningFailed", said, warning=True))
    if text_at(found, "volumeBindingMode") == "WaitForFirstConsumer" and not _is_wanted(
        claim, facts
    ):
        said = "waiting for first consumer to be created before binding"
        return _wait(claim, Announcement(claim, "WaitForFirstConsumer", said))
    return _provision(claim, found)


def _suits(volume: JsonObject, claim: JsonObject, class_name: str) -> bool:
    reference = object_at(volume, "spec", "claimRef")
    if reference:
        return (
            text_at(reference, "name") == name_of(claim)
            and text_at(reference, "namespace") == namespace_of(claim)
            and text_at(reference, "uid") in {"", uid_of(claim)}
        )
    return (
        not is_deleted(volume)
        and text_at(volume, "spec", "storageClassName") == class_name
        and set(texts_at(claim, "spec", "accessModes"))
        <= set(texts_at(volume, "spec", "accessModes"))
        and _size(volume)
        >= read_quantity(field_at(claim, "spec", "resources", "requests", "storage"))
    )


def _size(volume: JsonObject) -> float:
    return float(read_quantity(field_at(volume, "spec", "capacity", "storage")))


def _provision(claim: JsonObject, found: JsonObject) -> Plan:
    """Make a volume for a claim. It has no place: nodes give each pod a folder of its own."""
    name = f"pvc-{uid_of(claim)}"
    spec: dict[str, Json] = {
        "capacity": {"storage": field_at(claim, "spec", "resources", "requests", "storage")},
        "accessModes": list(texts_at(claim, "spec", "accessModes")),
        "persistentVolumeReclaimPolicy": text_at(found, "reclaimPolicy", default="Delete"),
        "storageClassName": name_of(found),
        "volumeMode": text_at(claim, "spec", "volumeMode", default="Filesystem"),
        "claimRef": _reference(claim),
        "csi": {"driver": PROVISIONER, "volumeHandle": name},
    }
    annotations = {_PROVISIONED_BY: PROVISIONER}
    manifest: JsonObject = {"metadata": {"name": name, "annotations": annotations}, "spec": spec}
    said = f"Successfully provisioned volume {name}"
    news = Announcement(claim, "ProvisioningSucceeded", said)
    return Plan((Create(VOLUME, manifest, done=news), _bound(claim, name)))


def _take(claim: JsonObject, volume: JsonObject) -> Plan:
    taken = with_spec(volume, {"claimRef": _reference(claim)})
    marked = with_annotations(taken, {**annotations_of(volume), _BOUND_BY: "yes"})
    return Plan((Replace(VOLUME.resource, marked), _bound(claim, name_of(volume))))


def _bound(claim: JsonObject, volume_name: str) -> Replace:
    annotations = {**annotations_of(claim), _BIND_COMPLETED: "yes", _BOUND_BY: "yes"}
    named = with_spec(claim, {"volumeName": volume_name})
    return Replace(CLAIM.resource, with_annotations(named, annotations))


def _reference(claim: JsonObject) -> dict[str, Json]:
    return {
        "kind": CLAIM.kind,
        "apiVersion": CLAIM.api_version,
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "resourceVersion": text_at(claim, "metadata", "resourceVersion"),
    }


def _finish(claim: JsonObject, volume: JsonObject) -> Plan:
    if not text_at(volume, "spec", "claimRef", "uid"):
        return _take(claim, volume)
    if text_at(volume, "spec", "claimRef", "uid") != uid_of(claim):
        return _wait(claim, None)
    status: dict[str, Json] = {
        "phase": "Bound",
        "accessModes": list(texts_at(volume, "spec", "accessModes")),
        "capacity": dict(object_at(volume, "spec", "capacity")),
    }
    return _say(claim, status)


def _lost(claim: JsonObject) -> Plan:
    """A claim that was bound to a volume which is gone has lost its data."""
    if text_at(claim, "status", "phase") != "Bound":
        return _wait(claim, None)
    said = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    news = Announcement(claim, "ClaimLost", said, warning=True)
    status = {**object_at(claim, "status"), "phase": "Lost"}
    return Plan((*_say(claim, status).writes, news))


def _wait(claim: JsonObject, news: Announcement | None) -> Plan:
    writes = _say(claim, {"phase": "Pending"}).writes
    return Plan((*writes, news) if news is not None else writes)


def _say(claim: JsonObject, status: dict[str, Json]) -> Plan:
    if object_at(claim, "status") == status:
        return NOTHING
    return Plan((Replace(CLAIM.resource, with_status(claim, status), "status"),))


def _say_phase(volume: JsonObject, phase: str) -> Plan:
    status = object_at(volume, "status")
    if text_at(status, "phase") == phase:
        return NOTHING
    changed = with_status(volume, {**status, "phase": phase})
    return Plan((Replace(VOLUME.resource, changed, "status"),))


def _is_wanted(claim: JsonObject, facts: Facts) -> bool:
    key = Key(namespace_of(claim), name_of(claim))
    return any(key in mounted_by(pod) for pod in facts.among(POD.resource, key.namespace))
