"""Whether a pod may run on a node, and why not in the scheduler's words. Pure.

Rules: the filter plug-ins under ``pkg/scheduler/framework/plugins``; of a node only the first one
that objects is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.node_loads import NodeLoad, host_ports
from gitopsd.sandbox.controllers.pod_resources import pod_total
from gitopsd.sandbox.controllers.quantities import ZERO, read_quantity
from gitopsd.sandbox.controllers.reading import labels_of, name_of
from gitopsd.sandbox.controllers.selectors import compare, has_all
from gitopsd.sandbox.fields import flag_at, object_at, objects_at, text_at, text_map_at, texts_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a node will not do.

    Attributes:
        reasons: In the scheduler's words.
        curable: Whether it would do if other pods were not there.
    """

    reasons: tuple[str, ...]
    curable: bool = False


def object_to(pod: JsonObject, node: JsonObject, load: NodeLoad) -> Objection | None:
    """The first objection to running a pod on a node beside what runs there; None: it fits."""
    tolerations = objects_at(pod, "spec", "tolerations")
    cordon: JsonObject = {"key": _UNSCHEDULABLE, "effect": "NoSchedule"}
    if flag_at(node, "spec", "unschedulable") and not tolerates(tolerations, cordon):
        return Objection(("node(s) were unschedulable",))
    for taint in objects_at(node, "spec", "taints"):
        if text_at(taint, "effect") != "PreferNoSchedule" and not tolerates(tolerations, taint):
            return Objection(("node(s) had untolerated taint(s)",))
    if not is_wanted_by(pod, node):
        return Objection(("node(s) didn't match Pod's node affinity/selector",))
    if any(load.ports[port] for port in host_ports(pod)):
        said = "node(s) didn't have free ports for the requested pod ports"
        return Objection((said,), curable=True)
    return _room(pod, node, load)


def tolerates(tolerations: Sequence[JsonObject], taint: JsonObject) -> bool:
    """Whether one of a pod's tolerations bears a taint."""
    return any(_bears(toleration, taint) for toleration in tolerations)


def is_wanted_by(pod: JsonObject, node: JsonObject) -> bool:
    """Whether a pod's nodeSelector and required node affinity choose a node."""
    if not has_all(text_map_at(pod, "spec", "nodeSelector"), labels_of(node)):
        return False
    required = object_at(
        pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = objects_at(required, "nodeSelectorTerms")
    return not required or any(_term_holds(term, node) for term in terms)


def _bears(toleration: JsonObject, taint: JsonObject) -> bool:
    effect, key = text_at(toleration, "effect"), text_at(toleration, "key")
    if effect and effect != text_at(taint, "effect"):
        return False
    if key and key != text_at(taint, "key"):
        return False
    if text_at(toleration, "operator") == "Exists":
        return True
    return bool(key) and text_at(toleration, "value") == text_at(taint, "value")


def _term_holds(term: JsonObject, node: JsonObject) -> bool:
    expressions = objects_at(term, "matchExpressions")
    fields = objects_at(term, "matchFields")
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    by_label = (
        compare(
            text_at(item, "operator"), labels.get(text_at(item, "key")), texts_at(item, "values")
        )
        for item in expressions
    )
    by_field = (
        compare(text_at(item, "operator"), name_of(node), texts_at(item, "values"))
        for item in fields
    )
    return all(by_label) and all(by_field)


def _room(pod: JsonObject, node: JsonObject, load: NodeLoad) -> Objection | None:
    room = object_at(node, "status", "allocatable")
    reasons: list[str] = []
    curable = True
    if "pods" in room and load.pods + 1 > read_quantity(room["pods"]):
        reasons.append("Too many pods")
    asked = {name: number for name, number in pod_total(pod, "requests").items() if number}
    for name, number in asked.items():
        has = read_quantity(room.get(name))
        if number > has - load.requests.get(name, ZERO):
            reasons.append(f"Insufficient {name}")
            curable = curable and number <= has
    return Objection(tuple(reasons), curable) if reasons else None
