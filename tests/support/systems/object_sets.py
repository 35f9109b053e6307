"""Sets of objects: what was rendered, what gitopsd owns of what is live, and how they differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.systems.owned_fields import applied_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HOOKS = ("argocd.argoproj.io/hook", "gitopsd.io/hook")
_HASHED = re.compile(r"(.+)-[2456789bcdfghkmt]{10}")

Key = tuple[str, str, str]
"""Kind, namespace and name."""

Object = dict[str, Any]


def key_of(one: Object) -> Key:
    """The key of an object, as it is written."""
    metadata = one["metadata"]
    return (one["kind"], metadata.get("namespace", ""), metadata["name"])


def plain(key: Key) -> Key:
    """A key without the hash of its content that kustomize puts behind a name."""
    kind, namespace, name = key
    hashed = _HASHED.fullmatch(name) if kind in ("ConfigMap", "Secret") else None
    return (kind, namespace, hashed[1]) if hashed else key


def shown(key: Key) -> str:
    """A key as gitopsd and people write it: ``Deployment shop/web``."""
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def is_hook(one: Object) -> bool:
    """Whether an object is a step of a release, and none of its objects."""
    return any(key in one["metadata"].get("annotations", {}) for key in _HOOKS)


def by_key(objects: Iterable[Object]) -> dict[Key, Object]:
    """Objects that are no hooks, whatever the hash of their content in their names."""
    return {plain(key_of(one)): one for one in objects if not is_hook(one)}


def hooks_of(objects: Iterable[Object]) -> dict[Key, Object]:
    """Those that are hooks."""
    return {key_of(one): one for one in objects if is_hook(one)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What gitopsd owns of one stage.

    Attributes:
        objects: By kind, namespace and name: what it applied, field by field.
    """

    objects: Mapping[Key, Object]

    @classmethod
    def of(cls, items: Iterable[Object]) -> Snapshot:
        """Take what gitopsd applied out of live objects with their managed fields."""
        found = {}
        for item in items:
            owned = applied_by(item)
            if owned is not None and not is_hook(item):
                found[key_of(item)] = owned
        return cls(found)

    def keys(self) -> set[Key]:
        """Its objects, as `Comparison.keys` names them."""
        return set(by_key(self.objects.values()))

    def applied_to(self, live: Snapshot) -> list[Object]:
        """Its objects, with the live replicas where gitopsd still decides them."""
        found = _without_scaled(self.objects)
        for key in found.keys() & live.objects.keys():
            spec = live.objects[key].get("spec", {})
            if "replicas" in spec:
                found[key] = {
                    **found[key],
                    "spec": {**found[key]["spec"], "replicas": spec["replicas"]},
                }
        return list(found.values())

    def differences(self, other: Snapshot) -> list[str]:
        """Tell how another snapshot differs from this one."""
        ours, theirs = _without_scaled(self.objects), _without_scaled(other.objects)
        said = [f"{shown(key)} is missing" for key in sorted(ours.keys() - theirs.keys())]
        said += [f"{shown(key)} is left over" for key in sorted(theirs.keys() - ours.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            if ours[key] != theirs[key]:
                said.append(f"{shown(key)} is {theirs[key]}, not {ours[key]}")
        return said


def scaled(objects: Iterable[Object]) -> set[Key]:
    """Workloads whose replicas an autoscaler decides."""
    found = set()
    for one in objects:
        if one["kind"] == "HorizontalPodAutoscaler":
            target = one["spec"]["scaleTargetRef"]
            found.add((target["kind"], one["metadata"].get("namespace", ""), target["name"]))
    return found


def _without_scaled(objects: Mapping[Key, Object]) -> dict[Key, Object]:
    """Leave the replicas out that an autoscaler decides.

    gitopsd lists them when it makes the workload, and hands them over when it comes again.
    """
    found = dict(objects)
    for key in scaled(objects.values()) & objects.keys():
        spec = found[key]["spec"]
        kept = {name: value for name, value in spec.items() if name != "replicas"}
        found[key] = {**found[key], "spec": kept}
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a release differs from another one, by what kustomize renders; hooks are no objects.

    Attributes:
        added: Objects that only the new one has.
        deleted: Objects that only the old one has.
        changed: Objects that both have, differently.
    """

    added: frozenset[Key]
    deleted: frozenset[Key]
    changed: frozenset[Key]

    @classmethod
    def of(cls, old: Iterable[Object], new: Iterable[Object]) -> Comparison:
        """Compare two rendered sets."""
        before, after = by_key(old), by_key(new)
        both = before.keys() & after.keys()
        return cls(
            frozenset(after.keys() - before.keys()),
            frozenset(before.keys() - after.keys()),
            frozenset(key for key in both if before[key] != after[key]),
        )

    @staticmethod
    def keys(rendered: Iterable[Object]) -> set[Key]:
        """Objects of a rendered set, whatever the hash of their content in their names."""
        return set(by_key(rendered))

    def complaints(self, workload: str) -> list[str]:
        """Tell what a bad release lacks that is to be restored object by object."""
        said = []
        if not self.added:
            said.append("the bad release adds no object")
        if not self.deleted:
            said.append("the bad release deletes no object")
        if not any(kind == "ConfigMap" for kind, _, _ in self.changed):
            said.append("the bad release changes no ConfigMap")
        if not any(f"{kind}/{name}" == workload for kind, _, name in self.changed):
            said.append(f"the bad release does not change {workload}")
        return said


def newcomers(old: Iterable[Object], new: Iterable[Object]) -> list[Object]:
    """Objects of a rendered set whose very names the old one does not have; no hooks."""
    before = {key_of(one) for one in old}
    return [one for one in new if not is_hook(one) and key_of(one) not in before]
