"""The configured clusters, one session each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from gitopsd.adapters.cluster.client import PAGE, KubernetesCluster
from gitopsd.adapters.cluster.discovery import Discovery
from gitopsd.adapters.cluster.requests import REQUEST_TIMEOUT, ApiServer
from gitopsd.adapters.cluster.watching import WatchPace
from gitopsd.domain.config import ClusterSpec
from gitopsd.errors import PermanentError
from gitopsd.ports import Telemetry


class ConfiguredClusters:
    """The Clusters port: sessions are opened at first use and follow the configuration.

    Args:
        specs: The configured clusters now.
        telemetry: Where requests are counted.
        timeout: Bound of one request.
        page: Objects a page of a list has.
        pace: How patient watches are.
    """

    def __init__(
        self,
        specs: Callable[[], Mapping[str, ClusterSpec]],
        telemetry: Telemetry,
        timeout: timedelta = REQUEST_TIMEOUT,
        *,
        page: int = PAGE,
        pace: WatchPace | None = None,
    ) -> None:
        self._specs = specs
        self._telemetry = telemetry
        self._timeout = timeout
        self._page, self._pace = page, pace
        self._open: dict[str, tuple[ClusterSpec, ApiServer, Discovery]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(
        self, name: str, *, service_account: str = "", namespace: str = ""
    ) -> KubernetesCluster:
        """See `gitopsd.ports.Clusters.get`.

        A cluster whose file changed gets a new session; requests under way on the old one end in
        peace.

        Raises:
            PermanentError: No cluster of that name is configured.
        """
        specs = self._specs()
        spec = specs.get(name)
        if spec is None:
            known = ", ".join(sorted(specs)) or "none"
            raise PermanentError(
                f"cluster {name} is not configured (configured: {known}); "
                f"add clusters/{name}.yaml to the configuration folder",
                reason="UnknownCluster",
            )
        held = self._open.get(name)
        if held is None or held[0] != spec:
            server = ApiServer(spec, self._telemetry, self._timeout)
            self._open[name] = (spec, server, Discovery(server))
            if held is not None:
                self._retire(held[1])
        _, server, discovery = self._open[name]
        identity = f"system:serviceaccount:{namespace}:{service_account}" if service_account else ""
        return KubernetesCluster(server, discovery, identity, pace=self._pace, page=self._page)

    def find_renewed(self) -> tuple[str, ...]:
        """See `gitopsd.ports.Clusters.find_renewed`; another file of the cluster counts as well."""
        specs = self._specs()
        found = []
        for name, (spec, server, _) in tuple(self._open.items()):
            replaced = server.is_refused and name in specs and specs[name] != spec
            if replaced:
                self.get(name)
            if replaced or server.find_renewal():
                found.append(name)
        return tuple(found)

    def _retire(self, server: ApiServer) -> None:
        task = asyncio.ensure_future(server.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every session."""
        await asyncio.gather(*self._closing)
        for _, server, _ in self._open.values():
            await server.close()
        self._open = {}
