"""The Cluster port twice: the one in memory, and the adapter against a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.domain.config import ClusterSpec
from gitopsd.ports import Cluster
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.widening import widen_rights

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

PAGE = 3
GROUP = "contract.example.com"
"""Custom kinds of these tests; a test removes the definitions that it makes."""


@dataclass(frozen=True, slots=True)
class Rig:
    """One implementation with a place to work in.

    Attributes:
        cluster: As gitopsd's own account.
        reader: As somebody who may only read ConfigMaps.
        namespace: A namespace that exists.
    """

    cluster: Cluster
    reader: Cluster
    namespace: str
    group: str = GROUP


@pytest.fixture(scope="session")
def real_specs(control_plane: ControlPlane) -> dict[str, ClusterSpec]:
    """The session's cluster as gitopsd, with the right to custom kinds, and as a reader."""
    widen_rights(control_plane, "contract", GROUP)
    reading = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    paths = {
        "gitopsd": control_plane.gitopsd_kubeconfig(),
        "reader": control_plane.make_account("gitopsd", "reader", [reading]),
    }
    return {name: ClusterSpec(name, kubeconfig=str(path)) for name, path in paths.items()}


@pytest.fixture(params=["memory", "real"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig for each implementation."""
    if request.param == "memory":
        yield memory_rig()
        return
    specs: dict[str, ClusterSpec] = request.getfixturevalue("real_specs")
    namespace: str = request.getfixturevalue("namespace")
    clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry(), page=PAGE)
    yield Rig(clusters.get("gitopsd"), clusters.get("reader"), namespace)
    await clusters.close()


def memory_rig() -> Rig:
    """Make one in memory."""
    clock = LoopClock()
    cluster, reader = MemoryCluster(clock), MemoryCluster(clock)
    cluster.namespaces = frozenset({"shop"})
    reader.refuse = lambda method, ref, _: (
        None
        if method in ("get", "list") and ref.key.kind == "ConfigMap"
        else forbidden(ref, method, "system:serviceaccount:gitopsd:reader")
    )
    return Rig(cluster, reader, "shop")
