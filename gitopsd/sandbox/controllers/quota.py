"""ResourceQuotas: what a namespace uses, and what it may not have more of. Pure.

Rules: ``pkg/quota/v1/evaluator/core``, ``k8s.io/apiserver/pkg/admission/plugin/resourcequota``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from gitopsd.domain.quantities import COUNTED_BY_NAME, say_quantity
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    NOTHING,
    POD,
    RESOURCE_QUOTA,
    SERVICE,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Resource,
)
from gitopsd.sandbox.controllers.pod_resources import pod_total
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.quantities import ZERO, read_quantity
from gitopsd.sandbox.controllers.reading import name_of, namespace_of, with_status
from gitopsd.sandbox.fields import field_at, object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

_SIDES = {"requests": "requests", "limits": "limits"}
_OF_PODS = ("cpu", "memory", "ephemeral-storage")


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Write what a quota allows and what is used."""
    del now
    found = facts.find(RESOURCE_QUOTA.resource, *key)
    if found is None:
        return NOTHING
    if refusals:
        return Plan(failed=True)
    hard = object_at(found, "spec", "hard")
    used = {name: _say(name, number) for name, number in usage(found, facts).items()}
    status: dict[str, Json] = {"hard": dict(hard), "used": used}
    if object_at(found, "status") == status:
        return NOTHING
    return Plan((Replace(RESOURCE_QUOTA.resource, with_status(found, status), "status"),))


def usage(quota: JsonObject, facts: Facts) -> dict[str, Fraction]:
    """How much of each thing that a quota limits is used in its namespace."""
    namespace = namespace_of(quota)
    total = dict.fromkeys(object_at(quota, "spec", "hard"), ZERO)
    for resource in facts.resources():
        items = facts.among(resource, namespace)
        _add(total, _cost_of_all(quota, resource, items, total))
    return total


def objection(resource: Resource, namespace: str, item: JsonObject, facts: Facts) -> str:
    """Why quotas forbid a new object; empty when they do not.

    The answer is the end of a sentence that begins with ``pods "web" is forbidden: ``.
    """
    for quota in facts.among(RESOURCE_QUOTA.resource, namespace):
        hard = object_at(quota, "spec", "hard")
        asked = _cost(quota, resource, item, hard)
        if not asked:
            continue
        missing = _unsaid(resource, item, hard)
        if missing:
            return f"failed quota: {name_of(quota)}: must specify {missing}"
        used = usage(quota, facts)
        over = sorted(
            name
            for name, number in asked.items()
            if number and used[name] + number > read_quantity(hard.get(name))
        )
        if over:
            limits = {name: read_quantity(hard.get(name)) for name in over}
            said = (
                f"requested: {_list(over, asked)}, used: {_list(over, used)}, "
                f"limited: {_list(over, limits)}"
            )
            return f"exceeded quota: {name_of(quota)}, {said}"
    return ""


def concerned(item: JsonObject, facts: Facts) -> set[Key]:
    """The quotas of an object's namespace."""
    namespace = namespace_of(item)
    if not namespace:
        return set()
    quotas = facts.among(RESOURCE_QUOTA.resource, namespace)
    return {Key(namespace, name_of(quota)) for quota in quotas}


def _cost_of_all(
    quota: JsonObject, resource: Resource, items: Iterable[JsonObject], names: Iterable[str]
) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    wanted = dict.fromkeys(names)
    for item in items:
        _add(total, _cost(quota, resource, item, wanted))
    return total


def _cost(
    quota: JsonObject, resource: Resource, item: JsonObject, names: Iterable[str]
) -> dict[str, Fraction]:
    """What one object takes of what a quota limits."""
    scopes = texts_at(quota, "spec", "scopes")
    if scopes and (resource != POD.resource or not all(_in_scope(item, each) for each in scopes)):
        return {}
    counted = f"count/{resource}"
    one = Fraction(1)
    found: dict[str, Fraction] = {}
    for name in names:
        if name == counted or (name in COUNTED_BY_NAME and resource == Resource("", name)):
            found[name] = one
    if resource == POD.resource:
        if is_finished(item):
            return {name: one for name in found if name == counted}
        found.update(_cost_of_pod(item, names))
    if resource == CLAIM.resource and "requests.storage" in names:
        asked = field_at(item, "spec", "resources", "requests", "storage")
        found["requests.storage"] = read_quantity(asked)
    if resource == SERVICE.resource:
        kinds = {"LoadBalancer": "services.loadbalancers", "NodePort": "services.nodeports"}
        limited = kinds.get(text_at(item, "spec", "type"), "")
        if limited in names:
            found[limited] = one
    return found


def _cost_of_pod(pod: JsonObject, names: Iterable[str]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    totals = {side: pod_total(pod, side) for side in _SIDES}
    for name in names:
        side, thing = _side_of(name)
        if side and thing in totals[side]:
            found[name] = totals[side][thing]
        elif side:
            found[name] = ZERO
    return found


def _side_of(name: str) -> tuple[str, str]:
    """What a limit on pods is about: ``requests`` or ``limits``, and of which resource."""
    side, _, thing = name.partition(".")
    if side in _SIDES and (thing in _OF_PODS or "/" in thing):
        return side, thing
    return ("requests", name) if name in _OF_PODS else ("", "")


def _unsaid(resource: Resource, item: JsonObject, hard: Mapping[str, object]) -> str:
    """What a pod has to say because it is limited, and does not; empty when it says all."""
    if resource != POD.resource:
        return ""
    containers = (
        *objects_at(item, "spec", "initContainers"),
        *objects_at(item, "spec", "containers"),
    )
    missing: dict[str, list[str]] = {}
    for name in sorted(hard):
        side, thing = _side_of(name)
        if not side or thing not in _OF_PODS:
            continue
        silent = [
            text_at(container, "name")
            for container in containers
            if thing not in object_at(container, "resources", side)
        ]
        if silent:
            missing[name] = sorted(silent)
    return "; ".join(f"{name} for: {','.join(names)}" for name, names in missing.items())


def _in_scope(pod: JsonObject, scope: str) -> bool:
    ends = field_at(pod, "spec", "activeDeadlineSeconds") is not None
    best_effort = not pod_total(pod, "requests") and not pod_total(pod, "limits")
    return {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
    }.get(scope, True)


def _add(total: dict[str, Fraction], part: Mapping[str, Fraction]) -> None:
    for name, number in part.items():
        total[name] = total.get(name, ZERO) + number


def _say(name: str, number: Fraction) -> str:
    return say_quantity(number, binary="memory" in name or "storage" in name)


def _list(names: Sequence[str], numbers: Mapping[str, Fraction]) -> str:
    return ",".join(f"{name}={_say(name, numbers[name])}" for name in names)
