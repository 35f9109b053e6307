"""The fake and real kustomize, fed with overlays that are given as objects."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.ports import Rejection, Renderer
from gitopsd.testing.renderer import MemoryRenderer
from gitopsd.testing.source_repository import MemoryRepositories, Overlay
from tests.support.rendering import URL, Workshop
from tests.support.repositories import MAIN, Content

Overlays = Mapping[str, tuple[JsonObject, ...] | None]
"""Overlay directory -> its objects; None for one that must be refused."""


class Studio(Protocol):
    """A renderer and the repository it reads."""

    @property
    def renderer(self) -> Renderer:
        """The port."""
        ...

    @property
    def url(self) -> RepoURL:
        """Address of the repository."""
        ...

    async def commit(self, overlays: Overlays) -> CommitSha:
        """Commit overlays on top of what is there, where the renderer can read them."""
        ...

    async def write(self, path: str, content: bytes) -> CommitSha:
        """Commit one file that belongs to no overlay."""
        ...


@dataclass
class MemoryStudio:
    """The fake."""

    repositories: MemoryRepositories
    renderer: MemoryRenderer
    url: RepoURL = URL
    head: CommitSha | None = None

    async def commit(self, overlays: Overlays) -> CommitSha:
        """Commit overlays, and fetch them."""
        refused = Rejection("RemoteBase", "overlay/kustomization.yaml:1: it is remote")
        return await self._commit(
            {path: refused if value is None else value for path, value in overlays.items()}
        )

    async def write(self, path: str, content: bytes) -> CommitSha:
        """Commit a file, and fetch it."""
        return await self._commit({path: content})

    async def _commit(self, changes: Mapping[str, Overlay | bytes]) -> CommitSha:
        sha = self.repositories.commit(self.url, "Change", parent=self.head, overlays=changes)
        self.repositories.push(self.url, MAIN, sha)
        await self.repositories.fetch_head(self.url, MAIN)
        self.head = sha
        return sha


@dataclass(frozen=True)
class KustomizeStudio:
    """The real adapter."""

    workshop: Workshop
    url: RepoURL = URL

    @property
    def renderer(self) -> Renderer:
        """The port."""
        return self.workshop.renderer

    async def commit(self, overlays: Overlays) -> CommitSha:
        """Commit overlays as kustomizations with a file an object."""
        files: dict[str, Content] = {}
        for path, objects in overlays.items():
            if objects is None:
                files[f"{path}/kustomization.yaml"] = "resources: [https://example.test/x]\n"
                continue
            names = [f"{number}.yaml" for number in range(len(objects))]
            files[f"{path}/kustomization.yaml"] = f"resources: {json.dumps(names)}\n"
            for name, obj in zip(names, objects, strict=True):
                files[f"{path}/{name}"] = json.dumps(obj)
        return self.workshop.commit(files)

    async def write(self, path: str, content: bytes) -> CommitSha:
        """Commit a file."""
        return self.workshop.commit({path: content})


@pytest.fixture(params=["memory", "kustomize"])
async def studio(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Studio]:
    """A renderer with an empty repository."""
    if request.param == "memory":
        repositories = MemoryRepositories()
        yield MemoryStudio(
            repositories, MemoryRenderer(repositories.overlay, read_file=repositories.file)
        )
        return
    workshop = Workshop(tmp_path)
    yield KustomizeStudio(workshop)
    await workshop.close()
