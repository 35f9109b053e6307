"""The configured clusters, one session each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitopsd.adapters.cluster.client import KubernetesCluster
from gitopsd.adapters.cluster.discovery import Discovery
from gitopsd.adapters.cluster.requests import ApiServer
from gitopsd.domain.config import ClusterSpec
from gitopsd.errors import PermanentError
from gitopsd.ports import Telemetry


class ConfiguredClusters:
    """The Clusters port: sessions are opened at first use and follow the configuration.

    Args:
        specs: The configured clusters now.
        telemetry: Where requests are counted.
    """

    def __init__(
        self, specs: Callable[[], Mapping[str, ClusterSpec]], telemetry: Telemetry
    ) -> None:
        self._specs = specs
        self._telemetry = telemetry
        self._open: dict[str, tuple[ClusterSpec, ApiServer, Discovery]] = {}
        self._left: list[ApiServer] = []

    def get(
        self, name: str, *, service_account: str = "", namespace: str = ""
    ) -> KubernetesCluster:
        """See `gitopsd.ports.Clusters.get`.

        Raises:
            PermanentError: No cluster of that name is configured.
        """
        spec = self._specs().get(name)
        if spec is None:
            known = ", ".join(sorted(self._specs())) or "none"
            raise PermanentError(
                f"cluster {name} is not configured (configured: {known}); "
                f"add clusters/{name}.yaml to the configuration folder",
                reason="UnknownCluster",
            )
        held = self._open.get(name)
        if held is None or held[0] != spec:
            if held is not None:
                self._left.append(held[1])
            server = ApiServer(spec, self._telemetry)
            held = (spec, server, Discovery(server))
            self._open[name] = held
        identity = f"system:serviceaccount:{namespace}:{service_account}" if service_account else ""
        return KubernetesCluster(held[1], held[2], identity)

    async def close(self) -> None:
        """Close every session."""
        for server in (*self._left, *(held[1] for held in self._open.values())):
            await server.close()
        self._left, self._open = [], {}
