"""PodDisruptionBudgets: how many pods may be taken away now. Pure.

Rules: ``pkg/controller/disruption/disruption.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.amounts import scaled
from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    conditions_of,
    make_condition,
    set_in_place,
)
from gitopsd.sandbox.controllers.deployment_numbers import wanted
from gitopsd.sandbox.controllers.facts import (
    DISRUPTION_BUDGET,
    NOTHING,
    POD,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
)
from gitopsd.sandbox.controllers.ownership import controller_of
from gitopsd.sandbox.controllers.pods import is_active, is_ready
from gitopsd.sandbox.controllers.reading import (
    count_at,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_status,
)
from gitopsd.sandbox.controllers.selectors import is_empty, matches
from gitopsd.sandbox.fields import field_at, object_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Write how many pods of one budget are healthy, and how many have to stay so."""
    found = facts.find(DISRUPTION_BUDGET.resource, *key)
    if found is None or is_deleted(found):
        return NOTHING
    if refusals:
        return Plan(failed=True)
    pods = [
        pod
        for pod in facts.among(POD.resource, key.namespace)
        if is_active(pod) and _covers(found, pod)
    ]
    expected, desired = _expected_and_desired(found, pods, facts)
    healthy = sum(is_ready(pod) for pod in pods)
    allowed = max(healthy - desired, 0) if expected else 0
    generation = count_at(found, "metadata", "generation")
    reason = "SufficientPods" if allowed else "InsufficientPods"
    condition = {
        **make_condition("DisruptionAllowed", TRUE if allowed else FALSE, reason, "", stamp(now)),
        "observedGeneration": generation,
    }
    status: dict[str, Json] = {
        "observedGeneration": generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": set_in_place(conditions_of(found), condition),
    }
    if status == object_at(found, "status"):
        return NOTHING
    return Plan((Replace(DISRUPTION_BUDGET.resource, with_status(found, status), "status"),))


def concerned(item: JsonObject, before: JsonObject | None, facts: Facts) -> set[Key]:
    """The budgets that cover a pod, or did."""
    states = [state for state in (item, before) if state is not None]
    return {
        Key(namespace_of(budget), name_of(budget))
        for budget in facts.among(DISRUPTION_BUDGET.resource, namespace_of(item))
        if any(_covers(budget, state) for state in states)
    }


def _covers(budget: JsonObject, pod: JsonObject) -> bool:
    """An empty selector covers all, none at all covers nothing."""
    selector = object_at(budget, "spec", "selector")
    if "selector" not in object_at(budget, "spec"):
        return False
    return is_empty(selector) or matches(selector, labels_of(pod))


def _expected_and_desired(
    budget: JsonObject, pods: Sequence[JsonObject], facts: Facts
) -> tuple[int, int]:
    least = field_at(budget, "spec", "minAvailable")
    if isinstance(least, int):
        return len(pods), least
    expected = _scale(pods, facts)
    if least is not None:
        return expected, scaled(least, expected, up=True)
    most = field_at(budget, "spec", "maxUnavailable")
    return expected, max(expected - scaled(most, expected, up=True), 0)


def _scale(pods: Sequence[JsonObject], facts: Facts) -> int:
    """What the pods' owners want together; a pod without one counts for itself."""
    total = 0
    owners: dict[str, int] = {}
    for pod in pods:
        owner = _top_owner(pod, facts)
        if owner is None:
            total += 1
        else:
            owners[uid_of(owner)] = wanted(owner)
    return total + sum(owners.values())


def _top_owner(item: JsonObject, facts: Facts) -> JsonObject | None:
    """The workload above a pod: the Deployment rather than its ReplicaSet."""
    found: JsonObject | None = None
    while (reference := controller_of(item)) is not None:
        owner = facts.by_uid(text_at(reference, "uid"))
        if owner is None or field_at(owner[1], "spec", "replicas") is None:
            break
        found = item = owner[1]
    return found
