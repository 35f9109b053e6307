"""What runs on each node, counted as pods come and go, so that nobody has to count it anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gitopsd.sandbox.controllers.pod_resources import pod_total
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.quantities import ZERO
from gitopsd.sandbox.controllers.reading import uid_of
from gitopsd.sandbox.fields import objects_at, text_at

if TYPE_CHECKING:
    from fractions import Fraction

    from gitopsd.domain.manifests import JsonObject


@dataclass(slots=True)
class NodeLoad:
    """What the pods of one node take.

    Attributes:
        pods: How many there are that have not ended.
        requests: What they ask for together, by resource.
        ports: Their ports of the node's own: protocol and number.
    """

    pods: int = 0
    requests: dict[str, Fraction] = field(default_factory=dict)
    ports: Counter[tuple[str, int]] = field(default_factory=Counter)


class _Share(NamedTuple):
    """What one pod takes of its node; no node while it takes nothing."""

    node: str
    requests: dict[str, Fraction]
    ports: frozenset[tuple[str, int]]


_NOTHING = _Share("", {}, frozenset())


class NodeLoads:
    """The loads of all nodes, by the pods that it is told of."""

    def __init__(self) -> None:
        self._loads: dict[str, NodeLoad] = {}
        self._shares: dict[str, _Share] = {}

    def of(self, node: str) -> NodeLoad:
        """What runs on a node."""
        return self._loads.get(node, NodeLoad())

    def put(self, pod: JsonObject) -> None:
        """Take in a pod as it is now. What it asks for does not change while it is on a node."""
        uid = uid_of(pod)
        node = "" if is_finished(pod) else text_at(pod, "spec", "nodeName")
        known = self._shares.get(uid, _NOTHING)
        if known.node == node:
            return
        self.remove(pod)
        if node:
            share = _Share(node, pod_total(pod, "requests"), host_ports(pod))
            self._shares[uid] = share
            self._count(share, 1)

    def remove(self, pod: JsonObject) -> None:
        """Forget a pod."""
        share = self._shares.pop(uid_of(pod), None)
        if share is not None:
            self._count(share, -1)

    def _count(self, share: _Share, sign: int) -> None:
        load = self._loads.setdefault(share.node, NodeLoad())
        load.pods += sign
        for name, number in share.requests.items():
            load.requests[name] = load.requests.get(name, ZERO) + sign * number
        for port in share.ports:
            load.ports[port] += sign
        if not load.pods:
            del self._loads[share.node]


def host_ports(pod: JsonObject) -> frozenset[tuple[str, int]]:
    """The ports of its node that a pod takes."""
    return frozenset(
        (text_at(port, "protocol", default="TCP"), number)
        for container in objects_at(pod, "spec", "containers")
        for port in objects_at(container, "ports")
        if isinstance(number := port.get("hostPort"), int)
    )
