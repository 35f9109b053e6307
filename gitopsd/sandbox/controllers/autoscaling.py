"""HorizontalPodAutoscalers in a cluster without metrics: bounds are kept, the rest is told. Pure.

Rules: ``pkg/controller/podautoscaler/horizontal.go``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    conditions_of,
    make_condition,
    set_in_place,
)
from gitopsd.sandbox.controllers.deployment_numbers import wanted
from gitopsd.sandbox.controllers.facts import (
    DEPLOYMENT,
    NOTHING,
    POD_AUTOSCALER,
    REPLICA_SET,
    STATEFUL_SET,
    Announcement,
    Facts,
    Key,
    Kind,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.reading import (
    count_at,
    is_deleted,
    name_of,
    namespace_of,
    with_spec,
    with_status,
)
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

_SCALED = {kind.kind: kind for kind in (DEPLOYMENT, REPLICA_SET, STATEFUL_SET)}
_NO_METRICS = (
    "unable to get metrics for resource {name}: unable to fetch metrics from resource metrics "
    "API: the server could not find the requested resource (get pods.metrics.k8s.io)"
)


@dataclass(slots=True)
class _Look:
    """One look at an autoscaler."""

    scaler: JsonObject
    now: datetime
    conditions: list[JsonObject]
    status: dict[str, Json]
    writes: list[Write] = field(default_factory=list)

    def say(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition."""
        condition = make_condition(kind, status, reason, message, stamp(self.now))
        self.conditions = set_in_place(self.conditions, condition)

    def tell(self, reason: str, message: str, *, warning: bool = True) -> None:
        """Tell of it, with the status that says it."""
        self.writes.append(Announcement(self.scaler, reason, message, warning=warning))


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Keep the target within its bounds, and say that there are no metrics to go by."""
    scaler = facts.find(POD_AUTOSCALER.resource, *key)
    if scaler is None or is_deleted(scaler):
        return NOTHING
    if refusals:
        return Plan(failed=True)
    status: dict[str, Json] = {
        "observedGeneration": count_at(scaler, "metadata", "generation", default=1)
    }
    look = _Look(scaler, now, conditions_of(scaler), status)
    kind = _SCALED.get(text_at(scaler, "spec", "scaleTargetRef", "kind"))
    name = text_at(scaler, "spec", "scaleTargetRef", "name")
    target = facts.find(kind.resource, key.namespace, name) if kind is not None else None
    if kind is None or target is None:
        _miss(look, name, str(kind.resource) if kind is not None else "")
    else:
        _scale(look, target, kind)
    if "lastScaleTime" not in look.status and "lastScaleTime" in object_at(scaler, "status"):
        look.status["lastScaleTime"] = text_at(scaler, "status", "lastScaleTime")
    look.status["conditions"] = look.conditions
    if look.status == object_at(scaler, "status"):
        return NOTHING
    return Plan(
        (
            *look.writes,
            Replace(POD_AUTOSCALER.resource, with_status(scaler, look.status), "status"),
        )
    )


def concerned(item: JsonObject, facts: Facts) -> set[Key]:
    """The autoscalers whose target is an object."""
    return {
        Key(namespace_of(scaler), name_of(scaler))
        for scaler in facts.among(POD_AUTOSCALER.resource, namespace_of(item))
        if text_at(scaler, "spec", "scaleTargetRef", "name") == name_of(item)
        and text_at(scaler, "spec", "scaleTargetRef", "kind") == text_at(item, "kind")
    }


def _miss(look: _Look, name: str, resource: str) -> None:
    problem = f'{resource} "{name}" not found'
    message = f"the HPA controller was unable to get the target's current scale: {problem}"
    look.say("AbleToScale", FALSE, "FailedGetScale", message)
    look.status.update({"currentReplicas": 0, "desiredReplicas": 0, "currentMetrics": None})
    look.tell("FailedGetScale", problem)


def _scale(look: _Look, target: JsonObject, kind: Kind) -> None:
    has = wanted(target)
    least = count_at(look.scaler, "spec", "minReplicas", default=1)
    most = count_at(look.scaler, "spec", "maxReplicas", default=1)
    metrics: list[JsonObject] = [{"type": ""} for _ in objects_at(look.scaler, "spec", "metrics")]
    look.status.update({"currentReplicas": has, "desiredReplicas": 0, "currentMetrics": metrics})
    said = "the HPA controller was able to get the target's current scale"
    if has == 0 and least != 0:
        look.say("AbleToScale", TRUE, "SucceededGetScale", said)
        message = "scaling is disabled since the replica count of the target is zero"
        look.say("ScalingActive", FALSE, "ScalingDisabled", message)
        look.status["desiredReplicas"] = 0
        return
    if least <= has <= most:
        look.say("AbleToScale", TRUE, "SucceededGetScale", said)
        _lament(look)
        return
    size = most if has > most else least
    why = "above Spec.MaxReplicas" if has > most else "below Spec.MinReplicas"
    done = Announcement(
        look.scaler,
        "SuccessfulRescale",
        f"New size: {size}; reason: Current number of replicas {why}",
    )
    look.writes.append(
        Replace(kind.resource, with_spec(target, {"replicas": size}), "scale", done=done)
    )
    message = f"the HPA controller was able to update the target scale to {size}"
    look.say("AbleToScale", TRUE, "SucceededRescale", message)
    look.status.update({"desiredReplicas": size, "lastScaleTime": stamp(look.now)})


def _lament(look: _Look) -> None:
    """Say that there are no metrics, of the first metric that is asked for."""
    metrics = objects_at(look.scaler, "spec", "metrics")
    if not metrics:
        return
    kind = text_at(metrics[0], "type", default="Resource")
    thing = text_at(metrics[0], "resource", "name")
    source = _NO_METRICS.format(name=thing)
    utilization = text_at(metrics[0], "resource", "target", "type") == "Utilization"
    failed = f"failed to get {thing} {'utilization' if utilization else 'usage'}: {source}"
    reason = f"FailedGet{kind}Metric"
    message = f"the HPA was unable to compute the replica count: {failed}"
    before = look.conditions
    look.say("ScalingActive", FALSE, reason, message)
    if before == look.conditions:
        return
    look.tell(reason, failed)
    first = f"failed to get {thing} resource metric value: {failed}"
    count = len(metrics)
    look.tell(
        "FailedComputeMetricsReplicas",
        f"invalid metrics ({count} invalid out of {count}), first error is: {first}",
    )
