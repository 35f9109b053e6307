"""A node for a test cluster: the sandbox's node agent, as a process in the cluster's network."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import ServerProcess, inherited_environment, wait_until

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

_REPOSITORY = Path(__file__).resolve().parents[2]
_READY_WITHIN = timedelta(seconds=30)
_BACK_OFF_BASE_SECONDS = 1
_BACK_OFF_CAP_SECONDS = 4


def start_node(cluster: ControlPlane, *, registry: str, name: str = "node") -> ServerProcess:
    """Start a node and return it once it is registered and Ready.

    It has a kubelet's rights and no more. Stop it before the cluster; its pods end with it.
    Waits between restarts are a tenth of a kubelet's, so that a crash loop shows within a test.

    Args:
        cluster: Where it registers.
        registry: URL of the registry that every image is pulled from, whatever host its reference
            names; it must be reachable from inside the cluster's network.
        name: The node's name.

    Raises:
        ServerEndedError: It ended while starting.
        WaitTimeoutError: It was not Ready in time.
    """
    ready = cluster.paths.private / f"{name}.json"
    kubeconfig = cluster.kubeconfig_for(f"system:node:{name}", ("system:nodes",))
    command = [
        *(sys.executable, "-m", "gitopsd.sandbox.agent"),
        f"--kubeconfig={kubeconfig}",
        f"--node-name={name}",
        f"--node-ip={cluster.network.nodes[1]}",
        f"--pod-cidr={cluster.network.pods}",
        f"--registry={registry}",
        f"--info={ready}",
        f"--back-off-base={_BACK_OFF_BASE_SECONDS}",
        f"--back-off-cap={_BACK_OFF_CAP_SECONDS}",
    ]
    environment = {"PYTHONPATH": str(_REPOSITORY), **inherited_environment("HOME", "PATH")}
    server = ServerProcess.start(
        name,
        command,
        cluster.paths.records / f"{name}.log",
        prefix=cluster.network.prefix,
        environment=environment,
    )
    try:
        wait_until(ready.exists, what=f"node {name}", within=_READY_WITHIN, servers=[server])
    except BaseException:
        server.stop()
        raise
    return server
