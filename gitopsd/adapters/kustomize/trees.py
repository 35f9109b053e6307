"""What rendering needs of Git: one commit's tree, read from the object database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from gitopsd.domain.sources import CommitSha, RepoURL

DIRECTORY_MODE = 0o040000
SYMLINK_MODE = 0o120000
SUBMODULE_MODE = 0o160000


class Entry(Protocol):
    """One entry of a tree."""

    @property
    def mode(self) -> int:
        """Git file mode."""
        ...

    @property
    def id(self) -> str:
        """Object id."""
        ...


class Tree(Protocol):
    """The tree of one commit, for one thread."""

    def find(self, path: str) -> Entry | None:
        """Look a normalised relative path up; ``""`` is the root."""
        ...

    def size(self, blob: str) -> int:
        """Tell how long a file is, in bytes."""
        ...

    def read(self, blob: str) -> bytes:
        """Read a file."""
        ...


class Trees(Protocol):
    """Where trees come from."""

    def open_tree(self, repo: RepoURL, sha: CommitSha) -> AbstractContextManager[Tree]:
        """Open a commit's tree for the calling thread.

        Raises:
            TemporaryError: The mirror cannot be read now.
        """
        ...
