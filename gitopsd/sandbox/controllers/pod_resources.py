"""What a pod asks for, and what a node has left. Pure.

Rules: ``k8s.io/component-helpers/resource/helpers.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.quantities import ZERO, read_quantity
from gitopsd.sandbox.fields import object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from gitopsd.domain.manifests import JsonObject


def pod_total(pod: JsonObject, side: str) -> dict[str, Fraction]:
    """The sum of a pod's ``requests`` or ``limits``.

    Containers and sidecars run together; of other init containers the greediest counts, with the
    sidecars that run before it.
    """
    running: dict[str, Fraction] = {}
    for container in objects_at(pod, "spec", "containers"):
        _add(running, _said(container, side))
    beside: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in objects_at(pod, "spec", "initContainers"):
        said = _said(container, side)
        if text_at(container, "restartPolicy") == "Always":
            _add(running, said)
            _add(beside, said)
            _raise(peak, beside)
        else:
            _raise(peak, _sum(beside, said))
    _raise(running, peak)
    _add(running, {key: read_quantity(v) for key, v in object_at(pod, "spec", "overhead").items()})
    return running


def _said(container: JsonObject, side: str) -> dict[str, Fraction]:
    said = object_at(container, "resources", side)
    return {name: read_quantity(value) for name, value in said.items()}


def _add(total: dict[str, Fraction], part: Mapping[str, Fraction]) -> None:
    for name, number in part.items():
        total[name] = total.get(name, ZERO) + number


def _raise(total: dict[str, Fraction], least: Mapping[str, Fraction]) -> None:
    for name, number in least.items():
        total[name] = max(total.get(name, ZERO), number)


def _sum(first: Mapping[str, Fraction], second: Mapping[str, Fraction]) -> dict[str, Fraction]:
    total = dict(first)
    _add(total, second)
    return total
