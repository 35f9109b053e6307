"""When an object really goes: finalizers, grace periods, namespaces that empty first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Key, Kind
from gitopsd.sandbox.fields import (
    field_at,
    number_at,
    object_at,
    objects_at,
    text_at,
    texts_at,
)
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

PODS = Kind("", "pods")
NAMESPACES = Kind("", "namespaces")
DEFINITIONS = Kind("apiextensions.k8s.io", "customresourcedefinitions")
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"
DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE asks for.

    Attributes:
        uid: Only the object with this uid; empty: any.
        version: Only at this resourceVersion; empty: at any.
        grace_seconds: Time a pod gets to end; None: what the pod says.
        propagation: ``Background``, ``Foreground`` or ``Orphan``; empty: the kind's default.
    """

    uid: str = ""
    version: str = ""
    grace_seconds: int | None = None
    propagation: str = ""


def is_held(kind: Kind, obj: JsonObject) -> bool:
    """Whether something still holds a deleted object: a finalizer, a grace period, its content."""
    if texts_at(obj, "metadata", "finalizers"):
        return True
    if kind == NAMESPACES:
        return bool(texts_at(obj, "spec", "finalizers"))
    return kind == PODS and number_at(obj, "metadata", "deletionGracePeriodSeconds") > 0


def is_deleted(obj: JsonObject) -> bool:
    """Whether somebody has asked for the object's deletion."""
    return field_at(obj, "metadata", "deletionTimestamp") is not None


def mark_deleted(key: Key, obj: JsonObject, options: DeleteOptions, now: datetime) -> JsonObject:
    """The object as a DELETE leaves it; one that nothing holds then (`is_held`) goes at once.

    An object that was marked before keeps its mark; a pod's grace period can only get shorter.
    """
    meta: dict[str, Json] = dict(object_at(obj, "metadata"))
    grace = _grace_seconds(key.kind, obj, options)
    if is_deleted(obj):
        if key.kind == PODS and grace < number_at(meta, "deletionGracePeriodSeconds"):
            meta["deletionGracePeriodSeconds"] = grace
            meta["deletionTimestamp"] = stamp(now + timedelta(seconds=grace))
        return {**obj, "metadata": meta}
    finalizers = _finalizers(texts_at(meta, "finalizers"), options.propagation)
    if key.kind == DEFINITIONS and CLEANUP_FINALIZER not in finalizers:
        finalizers = (*finalizers, CLEANUP_FINALIZER)
    meta["finalizers"] = list(finalizers)
    if not meta["finalizers"]:
        del meta["finalizers"]
    meta["deletionTimestamp"] = stamp(now + timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    # As the real server does: asking for the deletion is a change of what is wanted.
    if number_at(meta, "generation") > 0:
        meta["generation"] = int(number_at(meta, "generation")) + 1
    marked: dict[str, Json] = {**obj, "metadata": meta}
    if key.kind == NAMESPACES:
        marked["status"] = {**object_at(obj, "status"), "phase": "Terminating"}
    if key.kind == DEFINITIONS:
        conditions = (*objects_at(obj, "status", "conditions"), _ending(stamp(now)))
        marked["status"] = {**object_at(obj, "status"), "conditions": list(conditions)}
    return marked


def _ending(now: str) -> JsonObject:
    said = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    return {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "InstanceDeletionPending",
        "message": said,
    }


def _grace_seconds(kind: Kind, obj: JsonObject, options: DeleteOptions) -> int:
    if kind != PODS:
        return 0
    ended = text_at(obj, "status", "phase") in {"Succeeded", "Failed"}
    if ended or not text_at(obj, "spec", "nodeName"):
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    said = number_at(obj, "spec", "terminationGracePeriodSeconds", default=DEFAULT_GRACE_SECONDS)
    return int(said)


def _finalizers(present: tuple[str, ...], propagation: str) -> tuple[str, ...]:
    if not propagation:
        return present
    ours = {ORPHAN_FINALIZER, FOREGROUND_FINALIZER}
    kept = tuple(item for item in present if item not in ours)
    added = {"Orphan": (ORPHAN_FINALIZER,), "Foreground": (FOREGROUND_FINALIZER,)}
    return (*kept, *added.get(propagation, ()))
