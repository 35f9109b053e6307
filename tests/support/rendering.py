"""A repository to commit overlays to and a renderer that reads it, without any network between."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gitopsd.adapters.git.mirrors import place_mirror
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.domain.manifests import Digest, RenderedSet
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.ports import InputSet, Rejection, RenderRequest
from tests.support.repositories import BareRepository, Files

URL = RepoURL("https://git.example.test/shop.git")
LABELS = {"gitopsd.io/application": "shop", "gitopsd.io/stage": "staging"}


def find_kubectl() -> Path:
    """Find the kubectl that the tests compare with: the pinned one beside Python."""
    beside = Path(sys.executable).parent / "kubectl"
    found = beside if beside.is_file() else shutil.which("kubectl")
    if not found:
        message = "no kubectl: run `make setup`"
        raise RuntimeError(message)
    return Path(found)


class Workshop:
    """Commits, and what they render to.

    Args:
        directory: Where everything lies.
        binary: The renderer's program; found when left out.

    Attributes:
        repository: The mirror itself, written to directly.
        renderer: The renderer under test.
    """

    def __init__(self, directory: Path, binary: Path | None = None) -> None:
        self.git = GitRepositories(directory / "mirrors", lambda: ())
        path = place_mirror(directory / "mirrors", URL).path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.repository = BareRepository(path)
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        self.renderer = KustomizeRenderer(
            self.git, binary=binary, scratch=self.scratch, warm_seconds=0
        )

    def commit(self, files: Files, *, parent: str | None = "") -> CommitSha:
        """Commit files on top of what is there."""
        return self.repository.commit(files, parent=parent)

    async def find_inputs(self, commit: CommitSha, path: str = "overlay") -> InputSet | Rejection:
        """Find the inputs of an overlay."""
        return await self.renderer.fetch_inputs(URL, commit, path)

    async def render(
        self,
        commit: CommitSha,
        path: str = "overlay",
        *,
        images: dict[str, Digest] | None = None,
        labels: dict[str, str] | None = None,
    ) -> RenderedSet | Rejection:
        """Render an overlay with the labels of the tests."""
        wanted = LABELS if labels is None else labels
        return await self.renderer.run_render(
            RenderRequest(URL, commit, path, labels=wanted, images=images or {})
        )

    async def render_set(
        self,
        commit: CommitSha,
        path: str = "overlay",
        *,
        images: dict[str, Digest] | None = None,
        labels: dict[str, str] | None = None,
    ) -> RenderedSet:
        """Render an overlay that must be good."""
        rendered = await self.render(commit, path, images=images, labels=labels)
        assert isinstance(rendered, RenderedSet), rendered
        return rendered

    async def refuse(self, commit: CommitSha, path: str = "overlay") -> Rejection:
        """Render an overlay that must be refused."""
        rejection = await self.render(commit, path)
        assert isinstance(rejection, Rejection), "it was rendered"
        return rejection

    def leftovers(self) -> list[str]:
        """List what is left of exports, apart from the private directory and its lock."""
        return [str(path) for path in self.scratch.glob("*/*") if path.name != "lock"]

    async def close(self) -> None:
        """Remove what was exported."""
        await self.renderer.close()
        await self.git.close()
