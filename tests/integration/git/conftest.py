"""Real Git hosts on loopback; the adapter is the real one, with its children."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitopsd.adapters.git.mirrors import Mirror, place_mirror
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import (
    RepositorySpec,
    RepoURL,
)
from tests.support.git_http import GitHost, run_git_http
from tests.support.git_processes import list_git_children

LOGIN = ("bot", "a-made-up-token")
Open = Callable[..., GitRepositories]


@dataclass
class Bench:
    """A Git host, and the credentials that a configuration would name for it.

    Attributes:
        host: The Git host.
        directory: Where files of the test go.
        specs: The configured credentials; tests change them.
    """

    host: GitHost
    directory: Path
    specs: list[RepositorySpec] = field(default_factory=list)

    def url(self, name: str = "shop.git") -> RepoURL:
        """Address of a repository on the host."""
        return RepoURL(self.host.address(name))

    def configure(self, prefix: str, password: str = LOGIN[1], **more: Any) -> RepositorySpec:  # noqa: ANN401 - the class's own
        """Configure user name and password for addresses under a prefix."""
        user_file = self._write("user", f"{LOGIN[0]}\n")
        password_file = self._write(f"password-{len(self.specs)}", f"{password}\n")
        spec = RepositorySpec(
            "host", prefix, username_file=user_file, password_file=password_file, **more
        )
        self.specs.append(spec)
        return spec

    def write_password(self, password: str | None) -> Path:
        """Change the first configured password file; None removes it."""
        file = Path(self.specs[0].password_file)
        if password is None:
            file.unlink()
        else:
            file.write_text(password, encoding="utf-8")
        return file

    def _write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A host that asks for a password, and an adapter configured with it."""
    async with run_git_http(tmp_path / "repositories", login=LOGIN) as host:
        bench = Bench(host, tmp_path)
        bench.configure(host.url)
        yield bench


@pytest.fixture
async def open_git(bench: Bench) -> AsyncIterator[Open]:
    """Opens adapters on the bench's configuration; none of their children is left."""
    opened: list[GitRepositories] = []
    before = set(list_git_children())

    def open_one(**options: Any) -> GitRepositories:  # noqa: ANN401 - the constructor's own
        options.setdefault("deadline", timedelta(seconds=30))
        git = GitRepositories(bench.directory / "mirrors", lambda: tuple(bench.specs), **options)
        opened.append(git)
        return git

    yield open_one
    for git in opened:
        await git.close()
    assert set(list_git_children()) <= before


@pytest.fixture(params=["quick", "child"])
def git(request: pytest.FixtureRequest, open_git: Open) -> GitRepositories:
    """The adapter, once with its quick way over HTTP and once with children alone."""
    return open_git(quick=request.param == "quick")


@pytest.fixture
def mirror(bench: Bench) -> Mirror:
    """Where the mirror of the host's repository lies."""
    return place_mirror(bench.directory / "mirrors", bench.url())
