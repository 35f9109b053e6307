"""The fake and the real adapter on a real registry, behind one hand that pushes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pytest

from gitopsd.adapters.registry.client import HttpRegistry
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.manifests import Digest
from gitopsd.registry_ports import Registry
from gitopsd.testing.registry import MemoryRegistry
from tests.support.host_processes import run_host_process
from tests.support.images import REVISION_LABEL, build_image, build_index
from tests.support.registry import RegistryServer


class Shelf(Protocol):
    """One image's place in a registry, and the port that looks at it."""

    @property
    def registry(self) -> Registry:
        """The port."""
        ...

    @property
    def image(self) -> str:
        """Name of the image, without tag."""
        ...

    async def push(
        self, *tags: str, content: str, revision: str = "", created: datetime | None = None
    ) -> Digest:
        """Push an image under tags, or by its digest alone."""
        ...

    async def push_index(self, tag: str, *, content: str, revision: str) -> Digest:
        """Push an index over one image, under a tag; returns the index's digest."""
        ...

    async def delete(self, digest: Digest) -> None:
        """Delete an image with its tags."""
        ...

    async def break_down(self) -> None:
        """Let the registry answer nobody."""
        ...


@dataclass(frozen=True)
class MemoryShelf:
    """The fake."""

    registry: MemoryRegistry
    image: str = "registry.example:5000/acme/api"

    async def push(
        self, *tags: str, content: str, revision: str = "", created: datetime | None = None
    ) -> Digest:
        """Push."""
        return self.registry.push(
            self.image, *tags, content=content, revision=revision, created=created
        )

    async def push_index(self, tag: str, *, content: str, revision: str) -> Digest:
        """Push an image that speaks for an index."""
        return self.registry.push(self.image, tag, content=f"index {content}", revision=revision)

    async def delete(self, digest: Digest) -> None:
        """Delete."""
        self.registry.delete(self.image, digest)

    async def break_down(self) -> None:
        """Stop answering."""
        self.registry.down.add("registry.example:5000")


@dataclass(frozen=True)
class ServerShelf:
    """The real adapter."""

    registry: HttpRegistry
    server: RegistryServer
    path: str
    specs: list[RegistrySpec]

    @property
    def image(self) -> str:
        """Name of the image."""
        return f"{self.server.host}/{self.path}"

    async def push(
        self, *tags: str, content: str, revision: str = "", created: datetime | None = None
    ) -> Digest:
        """Push."""
        labels = {REVISION_LABEL: revision} if revision else {}
        # A reproducible build says a time before there were containers.
        at = created.isoformat() if created is not None else "1970-01-01T00:00:00Z"
        image = build_image(version=content, behaviour={}, labels=labels, created=at)
        for tag in tags or ("",):
            await asyncio.to_thread(self.server.push, image, f"{self.path}:{tag}".rstrip(":"))
        return Digest(image.digest)

    async def push_index(self, tag: str, *, content: str, revision: str) -> Digest:
        """Push an image by digest, and an index over it."""
        image = build_image(version=content, behaviour={}, labels={REVISION_LABEL: revision})
        await asyncio.to_thread(self.server.push, image, self.path)
        index = build_index(image)
        await asyncio.to_thread(self.server.push, index, f"{self.path}:{tag}")
        return Digest(index.digest)

    async def delete(self, digest: Digest) -> None:
        """Delete."""
        await asyncio.to_thread(self.server.delete, self.path, digest)

    async def break_down(self) -> None:
        """Name an address where nobody listens, as after the registry's end."""
        self.specs[0] = RegistrySpec("it", self.server.host, url="http://127.0.0.1:9")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry, open to everybody."""
    with RegistryServer(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """The sandbox's registry, as a process of its own."""
    directory = tmp_path_factory.mktemp("own-registry")
    with run_host_process("image_registry", directory) as url:
        yield RegistryServer(directory, url.partition("://")[2])


@pytest.fixture(params=["memory", "http", "sandbox"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    """An image's place in a registry that holds another image already."""
    if request.param == "memory":
        memory = MemoryRegistry()
        memory.push("registry.example:5000/acme/other", "1")
        yield MemoryShelf(memory)
        return
    wanted = "server" if request.param == "http" else "own_server"
    server: RegistryServer = request.getfixturevalue(wanted)
    specs = [RegistrySpec("it", server.host, url=server.url)]
    registry = HttpRegistry(lambda: specs)
    yield ServerShelf(registry, server, f"acme/{secrets.token_hex(4)}", specs)
    await registry.close()
