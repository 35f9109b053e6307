"""The fake and the real adapter on a real Git host, behind one hand that pushes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import CommitSha, RefName, RepoURL
from gitopsd.ports import SourceRepository
from gitopsd.testing.source_repository import MemoryRepositories
from tests.support.git_http import run_git_http
from tests.support.repositories import BareRepository

URL = RepoURL("https://git.example.test/shop.git")


class Remote(Protocol):
    """One repository on a remote, and the port that looks at it."""

    @property
    def repositories(self) -> SourceRepository:
        """The port."""
        ...

    @property
    def url(self) -> RepoURL:
        """Address of the repository."""
        ...

    def commit(
        self,
        subject: str,
        *,
        parent: CommitSha | None = None,
        author: str = "",
        committer: str = "",
        co_authors: tuple[str, ...] = (),
    ) -> CommitSha:
        """Make a commit that no ref points to; people are e-mails."""
        ...

    def push(self, ref: RefName, sha: CommitSha) -> None:
        """Move a ref, by force when it has to be."""
        ...

    def delete(self, ref: RefName) -> None:
        """Delete a ref."""
        ...

    def annotate(self, name: str, sha: CommitSha) -> CommitSha:
        """Make an annotated tag; returns the id of its own object."""
        ...


@dataclass(frozen=True)
class MemoryRemote:
    """The fake."""

    repositories: MemoryRepositories
    url: RepoURL = URL

    def commit(
        self,
        subject: str,
        *,
        parent: CommitSha | None = None,
        author: str = "",
        committer: str = "",
        co_authors: tuple[str, ...] = (),
    ) -> CommitSha:
        """Make a commit that no ref points to."""
        return self.repositories.commit(
            self.url,
            subject,
            parent=parent,
            author=("A developer", author or "developer@example.test"),
            committer=committer,
            co_authors=co_authors,
        )

    def push(self, ref: RefName, sha: CommitSha) -> None:
        """Move a ref."""
        self.repositories.push(self.url, ref, sha)

    def delete(self, ref: RefName) -> None:
        """Delete a ref."""
        self.repositories.delete(self.url, ref)

    def annotate(self, name: str, sha: CommitSha) -> CommitSha:
        """Make an annotated tag."""
        return self.repositories.annotate(self.url, name, sha)


@dataclass(frozen=True)
class GitRemote:
    """The real adapter."""

    repositories: GitRepositories
    repository: BareRepository
    url: RepoURL

    def commit(
        self,
        subject: str,
        *,
        parent: CommitSha | None = None,
        author: str = "",
        committer: str = "",
        co_authors: tuple[str, ...] = (),
    ) -> CommitSha:
        """Make a commit that no ref points to."""
        trailers = "\n".join(f"Co-authored-by: Somebody <{one}>" for one in co_authors)
        return self.repository.commit(
            {"a.txt": subject},
            message=f"{subject}\n\n{trailers}" if trailers else subject,
            ref=None,
            parent=parent,
            author=("A developer", author or "developer@example.test"),
            committer=committer,
        )

    def push(self, ref: RefName, sha: CommitSha) -> None:
        """Move a ref."""
        self.repository.move(ref, sha)

    def delete(self, ref: RefName) -> None:
        """Delete a ref."""
        self.repository.delete(ref)

    def annotate(self, name: str, sha: CommitSha) -> CommitSha:
        """Make an annotated tag."""
        return self.repository.tag(name, sha)


@pytest.fixture(params=["memory", "quick", "child"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Remote]:
    """A remote with one empty repository, in memory or served by Git over HTTP."""
    if request.param == "memory":
        yield MemoryRemote(MemoryRepositories())
        return
    async with run_git_http(tmp_path / "remote") as host:
        repository = host.create("shop.git")
        git = GitRepositories(tmp_path / "mirrors", lambda: (), quick=request.param == "quick")
        yield GitRemote(git, repository, RepoURL(host.address("shop.git")))
        await git.close()
