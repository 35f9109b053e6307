"""Health of a Pod that stands in Git itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Health
from gitopsd.kube.findings import HEALTHY, Finding, failed, progressing
from gitopsd.kube.objects import condition_true, string_at
from gitopsd.kube.pod_signals import RANK_SCHEDULING, Signal, find_ends, find_signals
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.kube.findings import HealthSettings


def pod_health(pod: JsonObject, now: datetime, settings: HealthSettings) -> Finding:
    """Judge a Pod that stands in Git itself: kstatus, Argo CD's rules, C3's grace periods.

    A Failed pod is Degraded (kstatus calls it complete); a container in trouble is Degraded, and
    definitely so once its grace period is over.
    """
    phase = string_at(pod, "status", "phase")
    if phase == "Succeeded" or (phase == "Running" and condition_true(pod, "Ready") is not None):
        return HEALTHY
    if phase == "Failed":
        return failed(_say_end(pod))
    if phase not in {"", "Pending", "Running", "Unknown"}:
        return Finding(Health.UNKNOWN, redact_clause(f"the pod is in phase {phase}"))
    signals = find_signals(pod, (), now, settings)
    if signals:
        return _from_signal(signals[0])
    return progressing(f"the pod is {phase or 'new'}, not ready")


def _from_signal(signal: Signal) -> Finding:
    patient = signal.rank == RANK_SCHEDULING and not signal.definite
    health = Health.PROGRESSING if patient else Health.DEGRADED
    return Finding(health, signal.message, definite=signal.definite, since=signal.since)


def _say_end(pod: JsonObject) -> str:
    said = [string_at(pod, "status", "reason"), string_at(pod, "status", "message")]
    said += [end.message for end in find_ends(pod)]
    return redact_clause("; ".join(part for part in said if part)) or "the pod failed"
