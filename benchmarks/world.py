"""What benchmarks of the service stand on: a control plane, a node, a registry, a Git host."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.control_plane import ControlPlane
from tests.support.git_http import GitHost, run_git_http
from tests.support.images import web_image
from tests.support.node_agent import start_node
from tests.support.registry import RegistryServer
from tests.support.repositories import MAIN, run_git

REPOSITORY = "applications.git"
_DEVELOPER = {
    "GIT_AUTHOR_NAME": "A developer",
    "GIT_AUTHOR_EMAIL": "developer@example.test",
    "GIT_COMMITTER_NAME": "A developer",
    "GIT_COMMITTER_EMAIL": "developer@example.test",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass
class World:
    """Everything around the service.

    Attributes:
        cluster: The control plane.
        registry: Where images come from.
        host: The Git host.
        directory: For everything that is written.
        image: An image that becomes healthy.
    """

    cluster: ControlPlane
    registry: RegistryServer
    host: GitHost
    directory: Path
    image: str

    @property
    def work_tree(self) -> Path:
        """The developer's clone."""
        return self.directory / "developer"

    def make_namespace(self, name: str) -> None:
        """Make a namespace."""
        self.cluster.client.create("/api/v1/namespaces", {"metadata": {"name": name}})

    async def publish(self, files: dict[str, str]) -> str:
        """Make the repository with its first commit, which is returned, and the clone."""
        sha = self.host.create(REPOSITORY).commit(files)
        address = self.host.push_address(REPOSITORY)
        self.work_tree.mkdir()
        await self._git("clone", "--quiet", address, ".")
        return str(sha)

    async def push(self, files: dict[str, str], message: str) -> tuple[str, str]:
        """Commit and push over HTTP as a developer does, without a webhook; (before, after)."""
        for path, text in files.items():
            (self.work_tree / path).write_text(text, "utf-8")
        before = await self._git("rev-parse", "HEAD")
        await self._git("commit", "--quiet", "--all", f"--message={message}")
        hook, self.host.push_hook = self.host.push_hook, None
        try:
            await self._git("push", "--quiet", "origin", "HEAD:main")
        finally:
            self.host.push_hook = hook
        return before, await self._git("rev-parse", "HEAD")

    async def ring(self, before: str, after: str) -> int:
        """Send the signed webhook of a push; returns the answer's status."""
        return await self.host.send_push(REPOSITORY, MAIN, before, after)

    async def _git(self, *arguments: str) -> str:
        return (await run_git(*arguments, cwd=self.work_tree, **_DEVELOPER)).strip()


@asynccontextmanager
async def run_world(name: str) -> AsyncIterator[World]:
    """Start everything around the service, and take it down at the end."""
    with _folder(name) as directory, ControlPlane.start(f"bench-{name}") as cluster:
        listen = f"{cluster.network.host_address}:0"
        with RegistryServer(directory / "registry", listen) as registry:
            node = start_node(cluster, registry.url, cluster.paths.records)
            try:
                image = registry.push(web_image("1"), "bench/api:1").pinned
                async with run_git_http(directory / "git") as host:
                    yield World(cluster, registry, host, directory, image)
            finally:
                node.stop()


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"gitopsd-bench-{name}-"))
    (path / "registry").mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
