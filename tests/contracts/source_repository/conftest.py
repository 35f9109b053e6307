"""The fake and the real adapter on a real Git host, behind one hand that pushes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import CommitSha, PushSpec, RefName, RepositorySpec, RepoURL
from gitopsd.source_ports import SourceRepository
from gitopsd.testing.source_repository import FILE, MemoryRepositories
from tests.support.git_http import run_git_http
from tests.support.repositories import BareRepository

READER, WRITER = ("reader", "may-read"), ("writer", "may-write")
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
        files: Mapping[str, str] | None = None,
    ) -> CommitSha:
        """Make a commit that no ref points to; people are e-mails.

        ``files`` are named ``FOLDER/objects.yaml`` and hold JSON, which the fake can keep too.
        """
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

    def decline_pushes(self, why: str) -> None:
        """Let a hook decline what is pushed from now on."""
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
        files: Mapping[str, str] | None = None,
    ) -> CommitSha:
        """Make a commit that no ref points to."""
        return self.repositories.commit(
            self.url,
            subject,
            parent=parent,
            author=("A developer", author or "developer@example.test"),
            committer=committer,
            co_authors=co_authors,
            overlays={
                name.removesuffix(FILE): tuple(json.loads(text))
                for name, text in (files or {}).items()
            },
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

    def decline_pushes(self, why: str) -> None:
        """Let a hook decline the next push."""
        self.repositories.refuse_pushes(self.url, why)


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
        files: Mapping[str, str] | None = None,
    ) -> CommitSha:
        """Make a commit that no ref points to."""
        trailers = "\n".join(f"Co-authored-by: Somebody <{one}>" for one in co_authors)
        return self.repository.commit(
            {"a.txt": subject, **(files or {})},
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

    def decline_pushes(self, why: str) -> None:
        """Let a hook decline what is pushed from now on."""
        self.repository.decline_pushes(why)


@pytest.fixture(params=["memory", "quick", "child"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Remote]:
    """A remote with one empty repository, in memory or served by Git over HTTP."""
    if request.param == "memory":
        yield MemoryRemote(MemoryRepositories())
        return
    async with run_git_http(tmp_path / "remote", login=READER) as host:
        host.writer = WRITER
        repository = host.create("shop.git")
        specs = (_over_http(host.url, tmp_path),)
        git = GitRepositories(tmp_path / "mirrors", lambda: specs, quick=request.param == "quick")
        yield GitRemote(git, repository, RepoURL(host.address("shop.git")))
        await git.close()


def _over_http(url: str, directory: Path) -> RepositorySpec:
    """Configure one password that reads, and another one that writes."""
    for name, (user, password) in {"reader": READER, "writer": WRITER}.items():
        (directory / f"{name}-user").write_text(user, encoding="ascii")
        (directory / f"{name}-password").write_text(password, encoding="ascii")
    push = PushSpec(str(directory / "writer-user"), str(directory / "writer-password"))
    return RepositorySpec(
        "host",
        url,
        username_file=str(directory / "reader-user"),
        password_file=str(directory / "reader-password"),
        push=push,
    )
