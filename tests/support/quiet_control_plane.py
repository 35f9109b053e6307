"""An API server with etcd and nobody else: what is written stays as it was answered.

    with QuietControlPlane.start("quiet") as cluster:
        cluster.client.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})

Without controllers no status appears by itself and no version is counted up between two requests,
so that its answers can be compared with recorded ones word for word.
"""

from __future__ import annotations

from tests.support import control_plane_commands as commands
from tests.support.control_plane import ControlPlane


class QuietControlPlane(ControlPlane):
    """A control plane that is an API server alone."""

    def _start_servers(self) -> None:
        self._start_server("etcd", commands.etcd_command(self.paths))
        self._start_server(
            "kube-apiserver",
            commands.api_server_command(
                self.paths, self.network.api_address, self.network.services
            ),
        )
        self._wait_until("the API server to be ready", lambda: self.client.answers("/readyz"))
        # Namespaces that the server itself needs come a moment after it is ready.
        self._wait_until(
            "its own namespaces", lambda: self.client.answers("/api/v1/namespaces/default")
        )
