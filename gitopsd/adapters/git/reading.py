"""Reading mirrors: commits, history and trees, straight from the object database.

Each call opens its own repository object, because libgit2's are not shared between threads.
Nothing is ever checked out: a work tree would follow the repository's symbolic links and filters.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import ObjectType

from gitopsd.adapters.git.mirrors import HEADS, PINS
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.errors import PermanentError, TemporaryError

MAX_SUBJECT: Final = 200
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class DamageError(Exception):
    """A mirror does not hold what its refs promise."""


@contextlib.contextmanager
def damage_told() -> Iterator[None]:
    """Translate what libgit2 raises about missing or broken objects."""
    try:
        yield
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise DamageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class History:
    """How a new head lies to the one before it.

    Attributes:
        commit: The new head.
        rewound: The previous head is not an ancestor of it.
        to_ancestor: It is itself an ancestor of the previous head.
    """

    commit: Commit
    rewound: bool
    to_ancestor: bool


def open_mirror(path: Path) -> pygit2.Repository:
    """Open a mirror for reading."""
    return pygit2.Repository(str(path))


@damage_told()
def describe_head(path: Path, target: str, previous: CommitSha | None) -> History:
    """Read a fetched head and how it lies to the previous one.

    Args:
        path: The mirror.
        target: Id that the ref points to: a commit or an annotated tag.
        previous: The head before.

    Raises:
        PermanentError: ``NoCommit``, when the ref points to a tree or a file.
    """
    repository = open_mirror(path)
    try:
        found = repository[target].peel(pygit2.Commit)
    except pygit2.InvalidSpecError as error:
        message = f"the ref points to {target}, which is no commit; name a branch or a tag of one"
        raise PermanentError(message, reason="NoCommit") from error
    _ = found.tree  # a head without its tree is damage, found now and not in a render
    commit = _describe(found)
    if previous is None or previous == commit.sha:
        return History(commit, rewound=False, to_ancestor=False)
    if resolve_commit(repository, previous) is None:
        return History(commit, rewound=True, to_ancestor=False)
    return History(
        commit,
        rewound=not repository.descendant_of(commit.sha, previous),
        to_ancestor=repository.descendant_of(previous, commit.sha),
    )


@damage_told()
def find_commit(path: Path, sha: CommitSha) -> Commit | None:
    """Read a commit; None when the mirror does not hold it, or holds something else by that id."""
    if not path.is_dir():
        return None
    found = resolve_commit(open_mirror(path), sha)
    return None if found is None else _describe(found)


@damage_told()
def is_ancestor(path: Path, descendant: CommitSha, ancestor: CommitSha) -> bool:
    """Whether a commit is another one or in its history."""
    if not path.is_dir():
        return False
    repository = open_mirror(path)
    if any(resolve_commit(repository, sha) is None for sha in (descendant, ancestor)):
        return False
    return descendant == ancestor or repository.descendant_of(descendant, ancestor)


@damage_told()
def list_tips(path: Path) -> tuple[str, ...]:
    """List what our refs point to: everything reachable from there is complete."""
    repository = open_mirror(path)
    names = [name for name in repository.references if name.startswith((HEADS, PINS))]
    return tuple({str(repository.references[name].target): None for name in names})


@damage_told()
def set_pin(path: Path, sha: CommitSha) -> None:
    """Point a ref of our own to a commit. Safe to repeat: the same ref, the same commit."""
    repository = open_mirror(path)
    repository.references.create(f"{PINS}{sha}", pygit2.Oid(hex=sha), force=True)


def resolve_commit(repository: pygit2.Repository, sha: str) -> pygit2.Commit | None:
    """Find a commit by its full id; None when there is none, or something else by that id."""
    if not _OBJECT_ID.fullmatch(sha):
        return None
    found = repository.get(sha)
    if found is None or found.type != ObjectType.COMMIT:
        return None
    return found.peel(pygit2.Commit)


def _describe(found: pygit2.Commit) -> Commit:
    # Raw bytes, because a commit may name an encoding that does not exist.
    subject = decode_text(found.raw_message).strip().partition("\n")[0][:MAX_SUBJECT]
    return Commit(
        sha=CommitSha(str(found.id)),
        subject=subject,
        author=decode_text(found.author.raw_name),
        author_email=decode_text(found.author.raw_email),
        committed_at=_time(found.commit_time, found.commit_time_offset),
    )


def decode_text(raw: bytes) -> str:
    """Read what somebody wrote into a commit, whatever its bytes are."""
    return raw.decode("utf-8", errors="replace").replace("\x00", "")


def _time(seconds: int, offset_minutes: int) -> datetime | None:
    """Read a commit's time; None when somebody wrote one outside the calendar."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        zone = timezone(timedelta(minutes=offset_minutes))
        return datetime.fromtimestamp(seconds, zone).astimezone(UTC)
    return None


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a commit's tree.

    Attributes:
        mode: Git file mode: 0o040000 directory, 0o100644 and 0o100755 file, 0o120000 symbolic
            link, 0o160000 submodule.
        id: Object id.
    """

    mode: int
    id: str


class CommitTree:
    """The tree of one commit, for one thread.

    Args:
        repository: A repository object of this thread.
        sha: The commit.
    """

    @damage_told()
    def __init__(self, repository: pygit2.Repository, sha: CommitSha) -> None:
        self._repository = repository
        commit = resolve_commit(repository, sha)
        if commit is None:
            message = f"the mirror does not hold commit {sha}; fetch a ref that contains it"
            raise TemporaryError(message, reason="CommitMissing")
        self._root = commit.tree
        self._trees: dict[str, pygit2.Tree | None] = {"": self._root}

    @damage_told()
    def find(self, path: str) -> TreeEntry | None:
        """Look a path up; None when there is nothing. ``""`` is the root.

        Args:
            path: Relative, normalised, without ``.`` and ``..``.
        """
        if not path:
            return TreeEntry(0o040000, str(self._root.id))
        parent, _, name = path.rpartition("/")
        tree = self._tree(parent)
        if tree is None or name not in tree:
            return None
        entry = tree[name]
        return TreeEntry(int(entry.filemode), str(entry.id))

    def _tree(self, path: str) -> pygit2.Tree | None:
        if path not in self._trees:
            parent, _, name = path.rpartition("/")
            above = self._tree(parent)
            found = above[name] if above is not None and name in above else None
            self._trees[path] = found if isinstance(found, pygit2.Tree) else None
        return self._trees[path]

    @damage_told()
    def size(self, blob: str) -> int:
        """Tell how long a file is, in bytes, without reading it."""
        header = self._repository.odb.read_header(pygit2.Oid(hex=blob))
        return int(header[1])

    @damage_told()
    def read(self, blob: str) -> bytes:
        """Read a file."""
        return bytes(self._repository.odb.read(pygit2.Oid(hex=blob))[1])


@contextlib.contextmanager
def open_tree(path: Path, sha: CommitSha) -> Iterator[CommitTree]:
    """Open the tree of a commit for one thread, and let go of its files afterwards."""
    with damage_told():
        repository = open_mirror(path)
    try:
        yield CommitTree(repository, sha)
    finally:
        repository.free()
