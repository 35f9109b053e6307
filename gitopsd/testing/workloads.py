"""What controllers would report of Deployments and Jobs in memory: status, ReplicaSet, pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Json, JsonObject


@dataclass(slots=True)
class Workload:
    """How pods with a certain image behave.

    Attributes:
        ready_after: How long after the apply they become ready, or a Job's end; None for never.
        waiting: Container waiting reason, e.g. ``CrashLoopBackOff``; empty when they run.
        message: Message beside it.
        restarts: Restarts they report.
        log: Lines of their log.
        exit_code: What a Job's container exits with.
        pods_refused: Why a Job's pods may not be created, as its event says; empty when they may.
    """

    ready_after: timedelta | None = timedelta(0)
    waiting: str = ""
    message: str = ""
    restarts: int = 0
    log: tuple[str, ...] = ()
    exit_code: int = 0
    pods_refused: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """The objects behind one Deployment.

    Attributes:
        replica_set: Its newest ReplicaSet.
        pod: The one pod of that.
    """

    replica_set: JsonObject
    pod: JsonObject


def metadata_of(obj: Mapping[str, Json]) -> dict[str, Json]:
    """Copy an object's metadata."""
    metadata = obj.get("metadata")
    return dict(metadata) if isinstance(metadata, Mapping) else {}


def stamp(moment: datetime | None) -> str:
    """Write a time as Kubernetes does."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else ""


def deployment_status(body: Mapping[str, Json], *, ready: bool) -> JsonObject:
    """Write the status a Deployment of one replica would have."""
    available = 1 if ready else 0
    progressing = "NewReplicaSetAvailable" if ready else "ReplicaSetUpdated"
    return {
        "observedGeneration": metadata_of(body)["generation"],
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": available,
        "availableReplicas": available,
        "conditions": [
            {"type": "Available", "status": "True" if ready else "False"},
            {"type": "Progressing", "status": "True", "reason": progressing},
        ],
    }


def make_family(
    body: Mapping[str, Json], changed_at: datetime | None, behaviour: Workload, *, ready: bool
) -> Family:
    """Make the ReplicaSet and the pod of a Deployment's present revision."""
    replica_set = _replica_set(body)
    return Family(replica_set, _pod(metadata_of(replica_set), changed_at, behaviour, ready=ready))


def _replica_set(body: Mapping[str, Json]) -> JsonObject:
    spec = body.get("spec")
    template = spec.get("template", {}) if isinstance(spec, Mapping) else {}
    metadata = metadata_of(body)
    generation = str(metadata["generation"])
    labels = metadata_of(template).get("labels") if isinstance(template, Mapping) else None
    labels = labels if isinstance(labels, Mapping) else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{generation}",
            "namespace": metadata.get("namespace"),
            "uid": f"rs-{metadata['uid']}-{generation}",
            "labels": {**labels, "pod-template-hash": generation},
            "annotations": {"deployment.kubernetes.io/revision": generation},
            "ownerReferences": [{"uid": metadata["uid"], "controller": True, "kind": "Deployment"}],
        },
        "spec": {"template": template},
    }


def _pod(
    owner: Mapping[str, Json], changed_at: datetime | None, behaviour: Workload, *, ready: bool
) -> JsonObject:
    state: JsonObject = {"running": {"startedAt": stamp(changed_at)}}
    if behaviour.waiting:
        state = {"waiting": {"reason": behaviour.waiting, "message": behaviour.message}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{owner['name']}-0",
            "namespace": owner.get("namespace"),
            "uid": f"pod-{owner['uid']}",
            "labels": owner.get("labels"),
            "creationTimestamp": stamp(changed_at),
            "ownerReferences": [{"uid": owner["uid"], "controller": True, "kind": "ReplicaSet"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {
                    "name": "api",
                    "ready": ready,
                    "restartCount": behaviour.restarts,
                    "state": state,
                }
            ],
        },
    }


def job_status(behaviour: Workload, *, ended: bool) -> JsonObject:
    """Write the status a Job without retries would have."""
    if not ended:
        return {"active": 1, "ready": 0}
    if not behaviour.exit_code:
        return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
    failed: JsonObject = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }
    return {"failed": 1, "conditions": [failed]}


def job_event(body: Mapping[str, Json], now: datetime, behaviour: Workload) -> JsonObject:
    """Make the event of a Job whose pods may not be created, as of this moment."""
    metadata = metadata_of(body)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.1", "namespace": metadata.get("namespace")},
        "involvedObject": {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]},
        "reason": "FailedCreate",
        "message": f"Error creating: {behaviour.pods_refused}",
        "type": "Warning",
        "firstTimestamp": metadata.get("creationTimestamp"),
        "lastTimestamp": stamp(now),
    }


def job_pod(
    body: Mapping[str, Json], changed_at: datetime | None, behaviour: Workload, *, ended: bool
) -> JsonObject:
    """Make the one pod of a Job."""
    metadata = metadata_of(body)
    uid = metadata["uid"]
    code = behaviour.exit_code
    state: JsonObject = {"running": {"startedAt": stamp(changed_at)}}
    if behaviour.waiting:
        state = {"waiting": {"reason": behaviour.waiting, "message": behaviour.message}}
    elif ended:
        reason = "Error" if code else "Completed"
        state = {"terminated": {"exitCode": code, "reason": reason}}
    phase = ("Failed" if code else "Succeeded") if ended else "Running"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-x",
            "namespace": metadata.get("namespace"),
            "uid": f"pod-{uid}",
            "labels": {"batch.kubernetes.io/controller-uid": uid},
            "creationTimestamp": stamp(changed_at),
            "ownerReferences": [{"uid": uid, "controller": True, "kind": "Job"}],
        },
        "spec": {"containers": [{"name": "job"}]},
        "status": {
            "phase": "Pending" if behaviour.waiting else phase,
            "containerStatuses": [{"name": "job", "restartCount": 0, "state": state}],
        },
    }
