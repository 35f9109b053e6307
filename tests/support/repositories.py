"""Git repositories made in a test within milliseconds: commits are written without a work tree."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pygit2
from pygit2.enums import FileMode, ObjectType

from gitopsd.domain.sources import CommitSha, RefName

MAIN = RefName("refs/heads/main")
GIT_DEADLINE_SECONDS = 30.0
_FIRST_COMMIT_AT = 1_767_225_600  # 2026-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link to commit.

    Attributes:
        target: Where it points.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Gitlink:
    """A submodule to commit.

    Attributes:
        sha: Commit of the other repository.
    """

    sha: str = "1" * 40


Content: TypeAlias = str | bytes | Symlink | Gitlink | None
"""What a path holds after a commit; None removes it."""

Files: TypeAlias = Mapping[str, Content]
"""Path -> content."""


class BareRepository:
    """A bare repository on disk, as a Git host keeps it.

    Args:
        path: Its directory; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            made = pygit2.init_repository(str(path), bare=True, initial_head=MAIN)
            made.config["http.receivepack"] = True
        self._commits = 0

    def commit(
        self,
        files: Files,
        *,
        message: str = "Change",
        ref: str | None = MAIN,
        parent: str | None = "",
        author: tuple[str, str] = ("A developer", "developer@example.test"),
        committer: str = "",
        merges: tuple[CommitSha, ...] = (),
    ) -> CommitSha:
        """Commit files on top of a parent, and move a ref there.

        Args:
            files: What changes against the parent.
            message: Commit message.
            ref: Ref to move, by force when it must be; None moves none.
            parent: Commit to build on; "" for where ``ref`` points, None for no parent.
            author: Name and e-mail.
            committer: E-mail of who committed it; the author when empty.
            merges: Further parents.
        """
        repository = self._open()
        base = self.head(ref) if parent == "" and ref is not None else parent or None
        index = pygit2.Index()
        if base:
            index.read_tree(repository[base].peel(pygit2.Tree))
        for path, content in files.items():
            _put(repository, index, path, content)
        self._commits += 1
        when = pygit2.Signature(*author, _FIRST_COMMIT_AT + self._commits, 0)
        tree = index.write_tree(repository)
        made = pygit2.Signature("A committer", committer, when.time, 0) if committer else when
        parents = [*([base] if base else []), *merges]
        oid = repository.create_commit(None, when, made, message, tree, parents)
        if ref is not None:
            repository.references.create(ref, oid, force=True)
        return CommitSha(str(oid))

    def head(self, ref: str = MAIN) -> CommitSha | None:
        """Tell where a ref points; None when there is none of that name."""
        reference = self._open().references.get(ref)
        return CommitSha(str(reference.target)) if reference is not None else None

    def refs(self) -> dict[str, str]:
        """List all refs with their targets."""
        repository = self._open()
        return {name: str(repository.references[name].target) for name in repository.references}

    def move(self, ref: str, sha: str) -> None:
        """Point a ref somewhere, by force."""
        self._open().references.create(ref, pygit2.Oid(hex=sha), force=True)

    def delete(self, ref: str) -> None:
        """Delete a ref."""
        self._open().references.delete(ref)

    def tag(self, name: str, sha: str) -> CommitSha:
        """Make an annotated tag; returns the id of its own object."""
        when = pygit2.Signature("A developer", "developer@example.test", _FIRST_COMMIT_AT, 0)
        made = self._open().create_tag(name, pygit2.Oid(hex=sha), ObjectType.COMMIT, when, "A tag")
        return CommitSha(str(made))

    def decline_pushes(self, why: str) -> None:
        """Let a pre-receive hook decline what is pushed from now on."""
        hook = self.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho '{why}' >&2\nexit 1\n", encoding="ascii")
        hook.chmod(0o755)

    def message(self, sha: str) -> str:
        """Tell a commit's whole message."""
        return str(self._open()[sha].peel(pygit2.Commit).message)

    def read(self, sha: str, path: str) -> str | None:
        """Read a file of a commit; None when it has none of that name."""
        tree = self._open()[sha].peel(pygit2.Tree)
        if path not in tree:
            return None
        found = tree[path]
        return found.data.decode() if isinstance(found, pygit2.Blob) else None

    def changed(self, before: str, after: str) -> set[str]:
        """Tell which files differ between two commits."""
        repository = self._open()
        trees = [repository[sha].peel(pygit2.Tree) for sha in (before, after)]
        return {delta.new_file.path for delta in trees[0].diff_to_tree(trees[1]).deltas}

    def history(self, ref: str = MAIN) -> tuple[CommitSha, ...]:
        """List what a ref points to and what came before it, newest first."""
        head = self.head(ref)
        return tuple(CommitSha(str(one.id)) for one in self._open().walk(head)) if head else ()

    def _open(self) -> pygit2.Repository:
        return pygit2.Repository(str(self.path))


def _put(repository: pygit2.Repository, index: pygit2.Index, path: str, content: Content) -> None:
    if content is None:
        index.remove(path)
    elif isinstance(content, Gitlink):
        index.add(pygit2.IndexEntry(path, pygit2.Oid(hex=content.sha), FileMode.COMMIT))
    elif isinstance(content, Symlink):
        blob = repository.create_blob(content.target.encode())
        index.add(pygit2.IndexEntry(path, blob, FileMode.LINK))
    else:
        data = content.encode() if isinstance(content, str) else content
        index.add(pygit2.IndexEntry(path, repository.create_blob(data), FileMode.BLOB))


async def run_git(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    """Run the git command and return what it wrote; a password prompt is a failure.

    Raises:
        RuntimeError: It failed; the message holds what it said.
        TimeoutError: It took longer than `GIT_DEADLINE_SECONDS`.
    """
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},  # noqa: TID251 - conftest cleaned it
    )
    try:
        async with asyncio.timeout(GIT_DEADLINE_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    if process.returncode:
        message = f"git {' '.join(arguments)} ended with {process.returncode}:\n{text}"
        raise RuntimeError(message)
    return text
