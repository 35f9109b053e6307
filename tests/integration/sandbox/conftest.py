"""A node agent in the test's own process, on loopback, with a registry beside it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.sandbox.agent import NodeAgent
from gitopsd.sandbox.kubeconfig import Connection
from gitopsd.sandbox.node_context import NodeSettings
from gitopsd.sandbox.restarts import BackOffPolicy
from tests.integration.sandbox.fake_api import FakeApi, run_fake_api
from tests.support.registry import RegistryServer

if TYPE_CHECKING:
    from tests.support.images import Image

PODS = "/api/v1/namespaces/shop/pods"


@dataclass(frozen=True, slots=True)
class Site:
    """An API, a registry and a place for nodes."""

    api: FakeApi
    registry: RegistryServer
    directory: Path
    network: IPv4Network

    @contextlib.asynccontextmanager
    async def node(self) -> AsyncIterator[NodeAgent]:
        """Run the node."""
        settings = NodeSettings(
            name="node-0",
            address="127.0.0.1",
            pods=self.network,
            registry=self.registry.url,
            directory=self.directory / secrets.token_hex(4),
            back_off=BackOffPolicy(timedelta(milliseconds=200), timedelta(seconds=1)),
            probe_scale=0.1,
        )
        connection = Connection(self.api.url, None, "")
        async with NodeAgent(connection, settings) as agent:
            yield agent

    def push(self, image: Image, tag: str = "1") -> str:
        """Push an image and return its reference."""
        return self.registry.push(image, f"acme/web:{tag}").reference

    async def bind(self, image: str, *, name: str = "web", **spec: object) -> str:
        """Make a pod that is already bound to the node; returns its path."""
        container = {
            "name": "web",
            "image": image,
            "ports": [{"name": "http", "containerPort": 8080}],
            **dict(spec.pop("container", {})),  # type: ignore[call-overload]  # a dict of the test's
        }
        path = f"{PODS}/{name}"
        pod = {
            "spec": {
                "nodeName": "node-0",
                "terminationGracePeriodSeconds": 1,
                "containers": [container],
                **spec,
            }
        }
        await self.api.put(path, pod)
        return path

    async def wait_ready(self, path: str) -> dict[str, Any]:
        """Wait until a pod is ready and return it."""
        await self.api.wait(lambda: self.is_ready(path), f"{path} to be ready")
        return self.api.objects[path]

    async def wait_for_tasks(self, agent: NodeAgent) -> None:
        """Wait until a node has nothing left of any pod."""
        if agent._tasks:
            await asyncio.wait(agent._tasks, timeout=10)

    def is_ready(self, path: str) -> bool:
        """Whether a pod is ready now."""
        conditions = self.api.objects.get(path, {}).get("status", {}).get("conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    def container(self, path: str) -> dict[str, Any]:
        """The status of a pod's container; empty before there is one."""
        statuses = self.api.objects.get(path, {}).get("status", {}).get("containerStatuses")
        found: dict[str, Any] = (statuses or [{}])[0]
        return found

    async def delete(self, path: str, grace_seconds: int = 1) -> None:
        """Ask for a pod's deletion, as the API server does it: the node has the last word."""
        pod = self.api.objects[path]
        meta = {
            **pod["metadata"],
            "deletionTimestamp": "2026-03-01T12:00:00Z",
            "deletionGracePeriodSeconds": grace_seconds,
        }
        await self.api.put(path, {**pod, "metadata": meta})


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry for the whole session."""
    with RegistryServer(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
async def site(registry: RegistryServer, tmp_path: Path) -> AsyncIterator[Site]:
    """A fresh API and addresses of its own; the registry is shared."""
    # Every address of 127.0.0.0/8 can be bound; a random network keeps test processes apart.
    second, third = 1 + secrets.randbelow(100), secrets.randbelow(256)
    network = IPv4Network(f"127.{second}.{third}.0/24")
    async with run_fake_api() as api:
        yield Site(api, registry, tmp_path, network)
