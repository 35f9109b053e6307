"""Health of the kinds that run no long-lived pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Health
from gitopsd.kube.findings import HEALTHY, Finding, HealthSettings, failed, progressing
from gitopsd.kube.objects import (
    Condition,
    condition_of,
    condition_true,
    conditions_of,
    flag_at,
    number_at,
    sequence_at,
    string_at,
    value_at,
)
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

_SCALE_FAILURES = frozenset(
    {
        ("AbleToScale", "FailedGetScale"),
        ("AbleToScale", "FailedUpdateScale"),
        ("ScalingActive", "FailedGetResourceMetric"),
        ("ScalingActive", "FailedGetObjectMetric"),
        ("ScalingActive", "FailedGetPodsMetric"),
        ("ScalingActive", "FailedGetExternalMetric"),
        ("ScalingActive", "FailedComputeMetricsReplicas"),
        ("ScalingActive", "InvalidSelector"),
    }
)


def say_condition(condition: Condition) -> str:
    """Say a condition in one clause: its reason, and its message when it has one."""
    said = [part for part in (condition.reason or condition.type, condition.message) if part]
    return redact_clause(": ".join(said))


def job(obj: JsonObject) -> Finding:
    """Judge a Job: kstatus with Flux's override that a running Job is not done yet."""
    if condition_true(obj, "Complete") is not None:
        return HEALTHY
    over = condition_true(obj, "Failed")
    if over is not None:
        return failed(say_condition(over), over.since)
    if condition_true(obj, "Suspended") is not None or flag_at(obj, "spec", "suspend"):
        return Finding(Health.SUSPENDED, "the Job is suspended")
    if not string_at(obj, "status", "startTime"):
        return progressing("the Job has not started")
    counts = (
        f"{number_at(obj, 'status', 'active')} active, "
        f"{number_at(obj, 'status', 'succeeded')} succeeded, "
        f"{number_at(obj, 'status', 'failed')} failed"
    )
    return progressing(f"the Job is running: {counts}")


def volume_claim(obj: JsonObject) -> Finding:
    """Judge a PersistentVolumeClaim."""
    phase = string_at(obj, "status", "phase")
    if phase == "Bound":
        return HEALTHY
    if phase == "Lost":
        return failed("the claim lost its volume")
    return progressing(f"the claim is {phase or 'new'}, not Bound")


def service(obj: JsonObject, settings: HealthSettings) -> Finding:
    """Judge a Service; an address of its load balancer is waited for only when asked."""
    if string_at(obj, "spec", "type") != "LoadBalancer":
        return HEALTHY
    if not string_at(obj, "spec", "clusterIP"):
        return progressing("the Service has no cluster IP")
    if settings.require_load_balancer and not _has_address(obj):
        return progressing("the load balancer has no address")
    return HEALTHY


def ingress(obj: JsonObject, settings: HealthSettings) -> Finding:
    """Judge an Ingress; an address is waited for only when asked."""
    if settings.require_ingress_address and not _has_address(obj):
        return progressing("the Ingress has no address")
    return HEALTHY


def _has_address(obj: JsonObject) -> bool:
    return bool(sequence_at(obj, "status", "loadBalancer", "ingress"))


def custom_resource_definition(obj: JsonObject) -> Finding:
    """Judge a CustomResourceDefinition."""
    names = condition_of(obj, "NamesAccepted")
    if names is not None and names.false:
        return failed(say_condition(names), names.since)
    established = condition_of(obj, "Established")
    if established is None:
        return progressing("the definition is not established")
    if established.true:
        return HEALTHY
    if established.false and established.reason != "Installing":
        return failed(say_condition(established), established.since)
    return progressing("the definition is being established")


def autoscaler(obj: JsonObject) -> Finding:
    """Judge a HorizontalPodAutoscaler, by Argo CD's rules; what it says never decides."""
    conditions = tuple(conditions_of(obj))
    for condition in conditions:
        if (condition.type, condition.reason) in _SCALE_FAILURES:
            return Finding(Health.DEGRADED, say_condition(condition), since=condition.since)
    if any(found.true and found.type in {"AbleToScale", "ScalingLimited"} for found in conditions):
        return HEALTHY
    return progressing("the autoscaler has not looked yet")


def certificate(obj: JsonObject) -> Finding | None:
    """Judge a cert-manager Certificate that is being issued; None leaves it to ``Ready``."""
    issuing = condition_true(obj, "Issuing")
    return None if issuing is None else progressing(say_condition(issuing), issuing.since)


def any_ready(obj: JsonObject) -> Finding | None:
    """Judge by the ``Ready`` condition; None when there is none."""
    ready = condition_of(obj, "Ready")
    if ready is None:
        return None
    return HEALTHY if ready.true else progressing(say_condition(ready), ready.since)


def has_status(obj: JsonObject) -> bool:
    """Whether a controller has written a status."""
    return bool(value_at(obj, "status"))
