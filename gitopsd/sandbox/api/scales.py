"""The ``scale`` subresource: replicas of a workload, seen and set as a Scale. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import say_selector
from gitopsd.sandbox.fields import field_at, number_at, object_at, objects_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a kind keeps its numbers.

    Attributes:
        wanted: Path of the replicas that are wanted.
        present: Path of those that there are.
        selector: Path of a selector as text; empty: ``spec.selector`` is an object.
    """

    wanted: tuple[str, ...] = ("spec", "replicas")
    present: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ()


def custom_paths(definition: JsonObject, version: str) -> ScalePaths:
    """Where a custom kind keeps them, by its definition."""
    for item in objects_at(definition, "spec", "versions"):
        if text_at(item, "name") == version:
            scale = object_at(item, "subresources", "scale")
            return ScalePaths(
                _path(text_at(scale, "specReplicasPath")),
                _path(text_at(scale, "statusReplicasPath")),
                _path(text_at(scale, "labelSelectorPath")),
            )
    return ScalePaths()


def make_scale(obj: JsonObject, paths: ScalePaths) -> JsonObject:
    """An object as a Scale."""
    meta = object_at(obj, "metadata")
    status: dict[str, Json] = {"replicas": int(number_at(obj, *paths.present))}
    selector = field_at(obj, *paths.selector) if paths.selector else None
    if isinstance(selector, str):
        status["selector"] = selector
    elif not paths.selector:
        status["selector"] = say_selector(object_at(obj, "spec", "selector"), empty="")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in _SHOWN if name in meta},
        "spec": {"replicas": int(number_at(obj, *paths.wanted))},
        "status": status,
    }


def with_replicas(obj: JsonObject, paths: ScalePaths, replicas: int) -> JsonObject:
    """The object with another number of wanted replicas."""
    return _with(obj, paths.wanted, replicas)


def _with(value: Json, path: tuple[str, ...], replicas: int) -> dict[str, Json]:
    made = dict(value) if isinstance(value, Mapping) else {}
    first, *rest = path
    made[first] = _with(made.get(first), tuple(rest), replicas) if rest else replicas
    return made


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.strip(".").split(".")) if text else ()
