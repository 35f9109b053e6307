"""One simulated cluster: an API server, the controllers behind it, and a node that runs pods."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from gitopsd.sandbox.agent import NodeAgent
from gitopsd.sandbox.api.assembly import Listen, SandboxApi
from gitopsd.sandbox.api.identity import AUTHENTICATED, NODES, User
from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.controllers.assembly import ClusterControllers
from gitopsd.sandbox.kubeconfig import Connection
from gitopsd.sandbox.node_context import NodeSettings
from gitopsd.sandbox.pod_networks import claim_network
from gitopsd.sandbox.restarts import BackOffPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path
    from types import TracebackType


NODE = "sandbox"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a simulated cluster works.

    Attributes:
        directory: Private directory for what pods need on disk.
        listen: Where its API listens.
        registries: Base URL that images of a host are pulled from, by host; ``*`` for every other
            one. What is not listed comes from its own host, on loopback by plain HTTP.
        back_off: The node's waits between restarts and between pulls.
        probe_scale: Factor on the waits of probes; below 1 makes demos and tests quick.
        with_node: Whether there is a node; without one, pods wait for ever.
    """

    directory: Path
    listen: Listen = field(default_factory=Listen)
    registries: Mapping[str, str] = field(default_factory=dict)
    back_off: BackOffPolicy = field(default_factory=BackOffPolicy)
    probe_scale: float = 1.0
    with_node: bool = True


class SandboxCluster:
    """A cluster; an async context manager.

    Attributes:
        api: Its API server.
    """

    def __init__(self, settings: ClusterSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._stack = AsyncExitStack()
        self._services: list[asyncio.Task[None]] = []
        self.api = SandboxApi(settings.listen, self._clock)

    async def __aenter__(self) -> Self:
        """Start; return once the API answers and the node is Ready."""
        try:
            await self._stack.enter_async_context(self.api)
            self._serve(self.api.run())
            self._start_controllers()
            if self._settings.with_node:
                await self._start_node()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every pod, every request, and forget everything."""
        await self._stop()

    async def run(self) -> None:
        """Wait for ever; ends with an exception when a part of the cluster broke."""
        done, _ = await asyncio.wait(self._services, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _start_controllers(self) -> None:
        controllers = ClusterControllers(
            self.api.store, self._clock, certificate=self.api.authority.decode()
        )
        self._stack.enter_context(controllers)
        self.api.admission.also = controllers.admission
        controllers.create_first_objects()
        self._serve(controllers.run())

    async def _start_node(self) -> None:
        claimed = claim_network()
        self._stack.callback(claimed.close)
        user = User(f"system:node:{NODE}", (NODES, AUTHENTICATED))
        connection = Connection(
            server=self.api.url,
            tls=ssl.create_default_context(cadata=self.api.authority.decode()),
            token=self.api.tokens.make(user),
        )
        settings = NodeSettings(
            name=NODE,
            address=str(claimed.network[1]),
            pods=claimed.network,
            registry=self._settings.registries.get("*", ""),
            mirrors=self._settings.registries,
            directory=self._settings.directory,
            back_off=self._settings.back_off,
            probe_scale=self._settings.probe_scale,
        )
        node = NodeAgent(connection, settings, clock=self._clock)
        await self._stack.enter_async_context(node)
        self._serve(node.run())

    def _serve(self, service: Coroutine[None, None, None]) -> None:
        self._services.append(asyncio.create_task(service))

    async def _stop(self) -> None:
        for task in self._services:
            task.cancel()
        if self._services:
            await asyncio.wait(self._services)
        await self._stack.aclose()
