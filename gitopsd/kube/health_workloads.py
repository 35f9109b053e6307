"""Health of what runs pods, by kstatus' rules.

Each function's rules stand in kstatus' order and the first that matches answers. Missing numbers
are 0, ``spec.replicas`` is 1 (fluxcd/cli-utils, ``pkg/kstatus/status``). Differences are named.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Health
from gitopsd.kube.findings import HEALTHY, Finding, failed, progressing
from gitopsd.kube.objects import (
    condition_of,
    condition_true,
    flag_at,
    int_at,
    mapping_at,
    number_at,
    string_at,
)
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

_DEFAULT_DEADLINE = timedelta(seconds=600)
"""What the API server fills in (Kubernetes API reference, DeploymentSpec)."""

_NO_DEADLINE = 2_147_483_647
"""Value of ``progressDeadlineSeconds`` that means none (the largest int32)."""


def _wanted(obj: JsonObject) -> int:
    replicas = int_at(obj, "spec", "replicas")
    return 1 if replicas is None else replicas


def _first(*rules: tuple[bool, str]) -> Finding:
    """Answer with the first rule that matches: the object is on its way for that reason."""
    message = next((said for matches, said in rules if matches), None)
    return HEALTHY if message is None else progressing(message)


def deadline_exceeded(obj: JsonObject, applied_at: datetime | None) -> str | None:
    """Say what a Deployment's exceeded progress deadline says; None when it is not exceeded.

    A condition that was last written before the deadline can have passed since the apply speaks of
    an older rollout: the controller keeps it for a moment when it goes back to a ReplicaSet that
    exists. Its times are whole seconds, and a rollback may follow within the same one.
    """
    condition = condition_of(obj, "Progressing")
    if condition is None or condition.reason != DEADLINE_EXCEEDED:
        return None
    if applied_at is not None and condition.updated is not None:
        since_apply = condition.updated - applied_at
        if since_apply < _progress_deadline(obj):
            return None
    return redact_clause(condition.message) or "the progress deadline is exceeded"


def _progress_deadline(obj: JsonObject) -> timedelta:
    seconds = int_at(obj, "spec", "progressDeadlineSeconds")
    if seconds is None:
        return _DEFAULT_DEADLINE
    return timedelta(seconds=min(max(seconds, 1), _NO_DEADLINE))


def deployment(obj: JsonObject, applied_at: datetime | None) -> Finding:
    """Judge a Deployment. A paused one is Suspended, as in Argo CD."""
    if flag_at(obj, "spec", "paused"):
        return Finding(Health.SUSPENDED, "the rollout is paused")
    exceeded = deadline_exceeded(obj, applied_at)
    if exceeded is not None:
        return failed(f"{DEADLINE_EXCEEDED}: {exceeded}")
    wanted = _wanted(obj)
    status = mapping_at(obj, "status")
    replicas = number_at(status, "replicas")
    updated = number_at(status, "updatedReplicas")
    available = number_at(status, "availableReplicas")
    ready = number_at(status, "readyReplicas")
    return _first(
        (wanted > replicas, f"{replicas} of {wanted} replicas exist"),
        (wanted > updated, f"{updated} of {wanted} replicas are updated"),
        (replicas > wanted, f"{replicas - wanted} old replicas are still there"),
        (updated > available, f"{available} of {updated} updated replicas are available"),
        (wanted > ready, f"{ready} of {wanted} replicas are ready"),
        (not _has_progressed(obj), "the new ReplicaSet is not available yet"),
        (condition_true(obj, "Available") is None, "it is not available yet"),
    )


def _has_progressed(obj: JsonObject) -> bool:
    deadline = int_at(obj, "spec", "progressDeadlineSeconds")
    if deadline is None or deadline == _NO_DEADLINE:
        return True
    condition = condition_true(obj, "Progressing")
    return condition is not None and condition.reason == "NewReplicaSetAvailable"


def stateful_set(obj: JsonObject) -> Finding:
    """Judge a StatefulSet."""
    if string_at(obj, "spec", "updateStrategy", "type") == "OnDelete":
        return HEALTHY
    wanted = _wanted(obj)
    status = mapping_at(obj, "status")
    replicas = number_at(status, "replicas")
    ready = number_at(status, "readyReplicas")
    updated = number_at(status, "updatedReplicas")
    current = number_at(status, "currentReplicas")
    partition = int_at(obj, "spec", "updateStrategy", "rollingUpdate", "partition")
    above = wanted - (partition or 0)
    revision = string_at(status, "updateRevision")
    return _first(
        (wanted > replicas, f"{replicas} of {wanted} replicas exist"),
        (wanted > ready, f"{ready} of {wanted} replicas are ready"),
        (replicas > wanted, f"{replicas - wanted} replicas too many are still there"),
        (
            partition is not None and updated < above,
            f"{updated} of {above} replicas above the partition are updated",
        ),
        (
            partition is None and wanted > current,
            f"{current} of {wanted} replicas are of the current revision",
        ),
        (
            partition is None and string_at(status, "currentRevision") != revision,
            f"revision {revision} is not rolled out yet",
        ),
    )


def daemon_set(obj: JsonObject) -> Finding:
    """Judge a DaemonSet. One that is updated on deletion is Healthy, as in Argo CD."""
    status = mapping_at(obj, "status")
    desired = int_at(status, "desiredNumberScheduled")
    if (
        int_at(obj, "metadata", "generation") is None
        or int_at(status, "observedGeneration") is None
    ):
        return progressing("the controller has not seen it yet")
    if string_at(obj, "spec", "updateStrategy", "type") == "OnDelete":
        return HEALTHY
    if desired is None:
        return progressing("it is not known yet how many nodes it wants")
    current = number_at(status, "currentNumberScheduled")
    updated = number_at(status, "updatedNumberScheduled")
    available = number_at(status, "numberAvailable")
    ready = number_at(status, "numberReady")
    return _first(
        (desired > current, f"{current} of {desired} pods are scheduled"),
        (desired > updated, f"{updated} of {desired} pods are updated"),
        (desired > available, f"{available} of {desired} pods are available"),
        (desired > ready, f"{ready} of {desired} pods are ready"),
    )


def replica_set(obj: JsonObject) -> Finding:
    """Judge a ReplicaSet."""
    wanted = _wanted(obj)
    status = mapping_at(obj, "status")
    labelled = number_at(status, "fullyLabeledReplicas")
    available = number_at(status, "availableReplicas")
    ready = number_at(status, "readyReplicas")
    replicas = number_at(status, "replicas")
    failure = condition_true(obj, "ReplicaFailure")
    said = "" if failure is None else redact_clause(f"{failure.reason}: {failure.message}")
    return _first(
        (failure is not None, said),
        (wanted > labelled, f"{labelled} of {wanted} replicas are labelled"),
        (wanted > available, f"{available} of {wanted} replicas are available"),
        (wanted > ready, f"{ready} of {wanted} replicas are ready"),
        (replicas > wanted, f"{replicas - wanted} replicas too many are still there"),
    )
