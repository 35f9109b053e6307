"""What new objects take of their namespace together, and which quota has no room for it.

Theory: a dry-run takes nothing, so a server lets each of several objects pass that a quota has
room for only one of; the second is refused when the first was written. Here their needs are added
up before anything is. Counted is what a server counts when an object is created: objects by kind,
volumes by size, ports of services. What pods need of processors and memory is counted when their
pods are made, long after the apply, and is health's to find.

Rules: ``pkg/quota/v1/evaluator/core`` of Kubernetes, and its documentation of resource quotas.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gitopsd.domain.quantities import COUNTED_BY_NAME, parse_quantity, say_quantity
from gitopsd.kube.objects import (
    annotations_of,
    mapping_at,
    mappings_at,
    name_of,
    namespace_of,
    string_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gitopsd.domain.manifests import Json, JsonObject, ObjectKey

_OLD_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new object takes of its namespace.

    Attributes:
        key: The object.
        needs: Name of what is limited, e.g. ``count/jobs.batch`` -> how much of it.
    """

    key: ObjectKey
    needs: Mapping[str, Fraction]


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A quota without room for all new objects.

    Attributes:
        namespace: Its namespace.
        quota: Its name.
        objects: The new objects that take of what there is too little of.
        lacks: (name, requested, used, limit) of everything there is too little of.
    """

    namespace: str
    quota: str
    objects: tuple[ObjectKey, ...]
    lacks: tuple[tuple[str, Fraction, Fraction, Fraction], ...]

    @property
    def message(self) -> str:
        """Say it in the words of an API server, and by how much."""
        first, more = self.objects[0], len(self.objects) - 1
        others = f" and {more} more new object{'s' if more > 1 else ''}" if more else ""
        requested = ",".join(f"{name}={_say(name, asked)}" for name, asked, _, _ in self.lacks)
        used = ",".join(f"{name}={_say(name, used)}" for name, _, used, _ in self.lacks)
        limited = ",".join(f"{name}={_say(name, limit)}" for name, _, _, limit in self.lacks)
        over = ",".join(
            f"{name}={_say(name, asked + used - limit)}" for name, asked, used, limit in self.lacks
        )
        return (
            f"{first}{others}: exceeded quota: {self.quota}, requested: {requested}, "
            f"used: {used}, limited: {limited}; too much by {over}"
        )


def needs_of(group: str, plural: str, obj: JsonObject) -> dict[str, Fraction]:
    """Tell what a server counts when it creates an object.

    Args:
        group: The object's API group; empty for the core.
        plural: The resource name of its kind.
        obj: The object, best as the server would store it.
    """
    needs = {f"count/{plural}.{group}" if group else f"count/{plural}": _ONE}
    if group or plural not in COUNTED_BY_NAME:
        return needs
    needs[plural] = _ONE
    if plural == "services":
        needs |= _needs_of_service(obj)
    if plural == "persistentvolumeclaims":
        needs |= _needs_of_claim(obj)
    return needs


def _needs_of_service(obj: JsonObject) -> dict[str, Fraction]:
    kind, ports = string_at(obj, "spec", "type"), mappings_at(obj, "spec", "ports")
    balanced = kind == "LoadBalancer"
    asked = [port for port in ports if port.get("nodePort")]
    unasked = balanced and value_at(obj, "spec", "allocateLoadBalancerNodePorts") is False
    opened = asked if unasked else ports if balanced or kind == "NodePort" else ()
    needs = {"services.loadbalancers": _ONE} if balanced else {}
    return {**needs, "services.nodeports": Fraction(len(opened))} if opened else needs


def _needs_of_claim(obj: JsonObject) -> dict[str, Fraction]:
    size = parse_quantity(value_at(obj, "spec", "resources", "requests", "storage"))
    needs = {"requests.storage": size} if size is not None else {}
    named = string_at(obj, "spec", "storageClassName")
    storage_class = annotations_of(obj).get(_OLD_STORAGE_CLASS, named)
    if not storage_class:
        return needs
    prefix = f"{storage_class}.storageclass.storage.k8s.io"
    of_class = {f"{prefix}/{name}": amount for name, amount in needs.items()}
    return {**needs, **of_class, f"{prefix}/persistentvolumeclaims": _ONE}


def find_exceeded(
    quotas: Iterable[JsonObject], wishes: Sequence[Wish], changed: Iterable[JsonObject] = ()
) -> tuple[Exceeded, ...]:
    """Find the quotas that have no room for all new objects, in the order of their names.

    Quotas of certain pods only are left out, and those that no controller has counted yet. Where a
    release changes a quota, the larger of both limits holds, since either may when its objects
    come.

    Args:
        quotas: Live ResourceQuotas of the objects' namespaces.
        wishes: What the new objects take.
        changed: ResourceQuotas as the release has them.
    """
    raised = {(namespace_of(obj), name_of(obj)): mapping_at(obj, "spec", "hard") for obj in changed}
    by_namespace: dict[str, list[Wish]] = defaultdict(list)
    for wish in wishes:
        by_namespace[wish.key.namespace].append(wish)
    found = (
        _exceed(
            quota,
            raised.get((namespace_of(quota), name_of(quota)), {}),
            by_namespace[namespace_of(quota)],
        )
        for quota in sorted(quotas, key=lambda obj: (namespace_of(obj), name_of(obj)))
        if not mapping_at(quota, "spec").get("scopes")
        and not mapping_at(quota, "spec", "scopeSelector")
    )
    return tuple(exceeded for exceeded in found if exceeded is not None)


def _exceed(
    quota: JsonObject, raised: Mapping[str, Json], wishes: Sequence[Wish]
) -> Exceeded | None:
    hard, used = mapping_at(quota, "status", "hard"), mapping_at(quota, "status", "used")
    lacks = []
    for name in sorted(hard):
        asked = sum((wish.needs.get(name, Fraction(0)) for wish in wishes), Fraction(0))
        limits = [parse_quantity(limit.get(name)) for limit in (hard, raised)]
        limit = max((amount for amount in limits if amount is not None), default=None)
        taken = parse_quantity(used.get(name))
        if asked and limit is not None and taken is not None and taken + asked > limit:
            lacks.append((name, asked, taken, limit))
    if not lacks:
        return None
    names = [name for name, *_ in lacks]
    objects = tuple(wish.key for wish in wishes if any(wish.needs.get(name) for name in names))
    return Exceeded(namespace_of(quota), name_of(quota), objects, tuple(lacks))


def _say(name: str, amount: Fraction) -> str:
    return say_quantity(amount, binary=name.endswith("storage"))
