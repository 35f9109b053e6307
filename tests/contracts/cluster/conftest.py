"""The Cluster port thrice: in memory, and the adapter against the sandbox and a real API server.

Tests that memory cannot pass (pods, schemas, borrowed identities) run on the two API servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.cluster_ports import (
    Cluster,
)
from gitopsd.domain.config import ClusterSpec
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.cluster_site import Site
from tests.support.control_plane import ControlPlane
from tests.support.widening import widen_rights

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess
    from tests.support.registry import RegistryServer
    from tests.support.sandbox_server import SandboxServer

PAGE = 3
NAMESPACES = {"real": "namespace", "sandbox": "sandbox_namespace"}
REGISTRIES = {"real": "cluster_registry", "sandbox": "sandbox_registry"}
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


@dataclass(frozen=True, slots=True)
class Plane:
    """A cluster with an API server.

    Attributes:
        access: What tests may do with it.
        specs: gitopsd's own account, and a reader's.
    """

    access: ClusterAccess
    specs: dict[str, ClusterSpec]


def make_plane(access: ClusterAccess) -> Plane:
    """Accounts on a cluster: gitopsd, with the right to custom kinds, and a reader."""
    paths = {"gitopsd": access.gitopsd_kubeconfig()}
    widen_rights(access, "contract", GROUP)
    reading = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    paths["reader"] = access.make_account("gitopsd", "reader", [reading])
    specs = {name: ClusterSpec(name, kubeconfig=str(path)) for name, path in paths.items()}
    return Plane(access, specs)


@pytest.fixture(scope="session")
def real_plane(control_plane: ControlPlane) -> Plane:
    """The session's real control plane."""
    return make_plane(control_plane)


@pytest.fixture(scope="session")
def sandbox_plane(sandbox_server: SandboxServer) -> Plane:
    """The session's simulated cluster."""
    return make_plane(sandbox_server)


@pytest.fixture(params=["memory", "sandbox", "real"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig for each implementation."""
    if request.param == "memory":
        yield memory_rig()
        return
    plane: Plane = request.getfixturevalue(f"{request.param}_plane")
    namespace: str = request.getfixturevalue(NAMESPACES[request.param])
    clusters = ConfiguredClusters(lambda: plane.specs, MemoryTelemetry(), page=PAGE)
    yield Rig(clusters.get("gitopsd"), clusters.get("reader"), namespace)
    await clusters.close()


@pytest.fixture(params=["sandbox", "real"])
def plane(request: pytest.FixtureRequest) -> Plane:
    """Each cluster that has an API server and runs pods."""
    found: Plane = request.getfixturevalue(f"{request.param}_plane")
    return found


@pytest.fixture
def site(request: pytest.FixtureRequest, plane: Plane) -> Site:
    """A fresh namespace of that cluster, beside its node and its registry."""
    kind = "real" if isinstance(plane.access, ControlPlane) else "sandbox"
    registry: RegistryServer = request.getfixturevalue(REGISTRIES[kind])
    if kind == "real":
        request.getfixturevalue("node")
    return Site(plane.access, registry, request.getfixturevalue(NAMESPACES[kind]))


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
