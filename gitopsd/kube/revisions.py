"""Which pods are those of the revision that was applied last.

Theory: only they count; pods of an older revision crash too, and that is why it is being
replaced. The revision is found by the controller's own marks, and while the controller has not
made it, there are no such pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.kube.objects import (
    annotations_of,
    controller_uid,
    is_terminating,
    kind_of,
    labels_of,
    mapping_at,
    name_of,
    number_at,
    parse_integer,
    string_at,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import JsonObject

TEMPLATE_HASH_LABEL = "pod-template-hash"
REVISION_HASH_LABEL = "controller-revision-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
TEMPLATE_GENERATION_LABEL = "pod-template-generation"
TEMPLATE_GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"


def find_new_replica_set(
    deployment: JsonObject, replica_sets: Sequence[JsonObject]
) -> JsonObject | None:
    """Find the ReplicaSet of a Deployment's present template.

    It is the one whose template equals the Deployment's without the hash label, the oldest of
    them (the deployment controller's own rule). Where none does, the highest revision counts, if
    the Deployment already counts updated replicas: before that, the controller may not have made
    the new one, and the highest revision would be the old one.
    """
    uid = uid_of(deployment)
    owned = [found for found in replica_sets if uid and controller_uid(found) == uid]
    template = mapping_at(deployment, "spec", "template")
    equal = [found for found in owned if _template(found) == _without_hash(template)]
    if equal:
        return min(equal, key=_age)
    if number_at(deployment, "status", "updatedReplicas") == 0:
        return None
    return max(owned, key=_revision, default=None)


def _age(obj: JsonObject) -> tuple[str, str]:
    return (string_at(obj, "metadata", "creationTimestamp"), name_of(obj))


def _template(replica_set: JsonObject) -> dict[str, object]:
    return _without_hash(mapping_at(replica_set, "spec", "template"))


def _without_hash(template: JsonObject) -> dict[str, object]:
    metadata = mapping_at(template, "metadata")
    labels = mapping_at(metadata, "labels")
    kept = {key: value for key, value in labels.items() if key != TEMPLATE_HASH_LABEL}
    return {
        "spec": mapping_at(template, "spec"),
        "labels": kept,
        "annotations": mapping_at(metadata, "annotations"),
    }


def _revision(replica_set: JsonObject) -> int:
    return parse_integer(annotations_of(replica_set).get(REVISION_ANNOTATION, "")) or 0


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the pods of one revision have in common: their owner, and a label."""

    owner: str
    label: str = ""
    value: str = ""

    def is_on(self, pod: JsonObject) -> bool:
        if controller_uid(pod) != self.owner or is_terminating(pod):
            return False
        return not self.label or labels_of(pod).get(self.label, "") == self.value


def _mark_of(workload: JsonObject, revisions: Sequence[JsonObject]) -> _Mark | None:
    uid, kind = uid_of(workload), kind_of(workload)
    if not uid:
        return None
    if kind == "Deployment":
        new = find_new_replica_set(workload, revisions)
        if new is None:
            return None
        return _Mark(uid_of(new), TEMPLATE_HASH_LABEL, labels_of(new).get(TEMPLATE_HASH_LABEL, ""))
    if kind == "StatefulSet":
        revision = string_at(workload, "status", "updateRevision")
        return _Mark(uid, REVISION_HASH_LABEL, revision) if revision else None
    if kind == "DaemonSet":
        return _daemon_mark(workload, uid, revisions)
    return _Mark(uid) if kind in {"ReplicaSet", "Job"} else None


def _daemon_mark(workload: JsonObject, uid: str, revisions: Sequence[JsonObject]) -> _Mark | None:
    """Find the newest ControllerRevision, or, where none is known, the template's generation."""
    owned = [
        found
        for found in revisions
        if kind_of(found) == "ControllerRevision" and controller_uid(found) == uid
    ]
    if owned:
        newest = max(owned, key=lambda found: number_at(found, "revision"))
        return _Mark(uid, REVISION_HASH_LABEL, labels_of(newest).get(REVISION_HASH_LABEL, ""))
    generation = annotations_of(workload).get(TEMPLATE_GENERATION_ANNOTATION, "")
    return _Mark(uid, TEMPLATE_GENERATION_LABEL, generation) if generation else None


def find_new_pods(
    workload: JsonObject, revisions: Sequence[JsonObject], pods: Sequence[JsonObject]
) -> tuple[JsonObject, ...]:
    """Find the pods of the revision that was applied last.

    Args:
        workload: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod; of other kinds no
            pods are known.
        revisions: ReplicaSets of the namespace, and ControllerRevisions for DaemonSets.
        pods: Pods of the namespace.

    Returns:
        Its pods that are not being deleted, by name.
    """
    if kind_of(workload) == "Pod":
        return (workload,)
    mark = _mark_of(workload, revisions)
    if mark is None or not mark.owner:
        return ()
    return tuple(sorted((pod for pod in pods if mark.is_on(pod)), key=name_of))
