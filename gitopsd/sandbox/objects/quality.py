"""A pod's quality of service: how much of what it may use it has asked for."""

from __future__ import annotations

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import object_at, objects_at
from gitopsd.sandbox.objects.amounts import parse_quantity

_COUNTED = ("cpu", "memory")


def quality_of_service(spec: JsonObject) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``, from the containers' resources."""
    containers = (*objects_at(spec, "containers"), *objects_at(spec, "initContainers"))
    amounts = [(_amounts(item, "requests"), _amounts(item, "limits")) for item in containers]
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    if all(requests == limits and set(limits) == set(_COUNTED) for requests, limits in amounts):
        return "Guaranteed"
    return "Burstable"


def _amounts(container: JsonObject, kind: str) -> dict[str, object]:
    listed = object_at(container, "resources", kind)
    parsed = {
        name: parse_quantity(value)
        for name, value in listed.items()
        if name in _COUNTED and isinstance(value, str)
    }
    return {name: value for name, value in parsed.items() if value}
