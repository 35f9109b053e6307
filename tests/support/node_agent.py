"""A node for a test cluster: the node agent as a child process inside the cluster's network.

Registered as a pytest plug-in in ``tests/conftest.py``: every suite may ask for ``node`` (one for
the whole session, on the session's control plane), ``cluster_registry`` (where its images come
from) and ``site`` (a fresh namespace of that cluster).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster_site import Site
from tests.support.processes import ServerProcess, wait_until
from tests.support.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.control_plane import ControlPlane

READY_WITHIN = timedelta(seconds=30)
ROOT = Path(__file__).resolve().parents[2]
# Kubernetes allows no probe period below a second; a fifth of it keeps tests quick.
PROBE_SCALE = 0.2
BACK_OFF_BASE_SECONDS = 0.5
BACK_OFF_CAP_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Node:
    """A running node agent.

    Attributes:
        name: The node's name.
        process: The agent.
    """

    name: str
    process: ServerProcess

    @property
    def resident_bytes(self) -> int:
        """Memory the agent itself holds."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * 4096

    @property
    def cpu_ticks(self) -> int:
        """Processor time the agent has used, in clock ticks (100 a second on Linux)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return int(user) + int(system)

    def stop(self) -> None:
        """Stop the agent and with it everything it runs, as when a machine goes down."""
        self.process.stop()


def start_node(
    cluster: ControlPlane,
    registry_url: str,
    directory: Path,
    *,
    number: int = 0,
    probe_scale: float = PROBE_SCALE,
) -> Node:
    """Start one node and return it once it is registered.

    Args:
        cluster: Its control plane.
        registry_url: Where every image is pulled from, reachable from the cluster's network.
        directory: For its log and its facts.
        number: Each node of one cluster needs its own (0 to 3): it gets a quarter of the addresses.
        probe_scale: Factor on the waits of probes; 1 is a kubelet's time.
    """
    name = f"node-{number}"
    directory.mkdir(parents=True, exist_ok=True)
    info = directory / f"{name}.json"
    info.unlink(missing_ok=True)
    kubeconfig = cluster.kubeconfig_for(f"system:node:{name}", ("system:nodes",))
    network = cluster.network
    pods = list(network.pods.subnets(prefixlen_diff=2))[number]
    process = ServerProcess.start(
        name,
        [
            sys.executable,
            *("-m", "gitopsd.sandbox.agent"),
            *("--kubeconfig", str(kubeconfig)),
            *("--node-name", name),
            *("--node-ip", str(network.nodes[number + 1])),
            *("--pod-cidr", str(pods)),
            *("--registry", registry_url),
            *("--info", str(info)),
            *("--back-off-base", str(BACK_OFF_BASE_SECONDS)),
            *("--back-off-cap", str(BACK_OFF_CAP_SECONDS)),
            *("--probe-scale", str(probe_scale)),
        ],
        directory / f"{name}.log",
        prefix=network.prefix,
        environment={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    try:
        wait_until(info.exists, what="the node agent", within=READY_WITHIN, servers=(process,))
    except BaseException:
        process.stop()
        raise
    return Node(str(json.loads(info.read_text())["node"]), process)


@pytest.fixture(scope="session")
def cluster_registry(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryServer]:
    """A real registry that tests, gitopsd and the nodes of the session's cluster all reach."""
    listen = f"{control_plane.network.host_address}:0"
    with RegistryServer(tmp_path_factory.mktemp("registry"), listen) as registry:
        yield registry


@pytest.fixture(scope="session")
def node(control_plane: ControlPlane, cluster_registry: RegistryServer) -> Iterator[Node]:
    """The session's node: pods of every test run here, with quick probes and back-offs."""
    started = start_node(control_plane, cluster_registry.url, control_plane.paths.records)
    yield started
    started.stop()
    control_plane.client.delete(f"/api/v1/nodes/{started.name}")


@pytest.fixture
def site(
    control_plane: ControlPlane, cluster_registry: RegistryServer, namespace: str, node: Node
) -> Site:
    """A fresh namespace beside the session's node."""
    assert node.name
    return Site(control_plane, cluster_registry, namespace)
