"""A repository on this machine, read where it lies: for ``gitopsd render``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2

from gitopsd.adapters.git import reading
from gitopsd.adapters.git.reading import DamageError
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.errors import PermanentError


class LocalTrees:
    """Opens trees of repositories by their path; nothing is fetched or checked out."""

    @contextmanager
    def open_tree(self, repo: RepoURL, sha: CommitSha) -> Iterator[reading.CommitTree]:
        """Open a commit's tree for the calling thread.

        Raises:
            PermanentError: The repository cannot be read.
        """
        try:
            with reading.open_tree(Path(repo), sha) as tree:
                yield tree
        except DamageError as error:
            raise PermanentError(f"{repo}: {error}") from error


def find_revision(repository: Path, revision: str) -> CommitSha:
    """Find a commit by anything that Git takes for one: a branch, a tag, ``HEAD~1``.

    Raises:
        PermanentError: There is no repository, or no such commit in it.
    """
    found = pygit2.discover_repository(str(repository))
    if found is None:
        raise PermanentError(f"{repository} is no Git repository and lies in none")
    try:
        commit = pygit2.Repository(found).revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        message = f"{repository} has no commit {revision!r}; name a branch, a tag or an id"
        raise PermanentError(message) from error
    return CommitSha(str(commit.id))


def find_git_directory(repository: Path) -> Path:
    """Find the Git directory that a path lies in.

    Raises:
        PermanentError: It lies in none.
    """
    found = pygit2.discover_repository(str(repository))
    if found is None:
        raise PermanentError(f"{repository} is no Git repository and lies in none")
    return Path(found)
