"""Commits written into a mirror's object database, and what has to be read for that.

Nothing here moves a ref or speaks to a remote: an object that is never pushed is never seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, SortMode

from gitopsd.adapters.git.reading import damage_told, decode_text, open_mirror, resolve_commit
from gitopsd.domain.sources import CommitSha, FileEntry
from gitopsd.errors import TemporaryError
from gitopsd.source_ports import CommitDraft


@damage_told()
def read_files(path: Path, sha: CommitSha, files: Collection[str]) -> dict[str, FileEntry]:
    """Read what some paths of a commit hold; those that are no files are left out.

    Raises:
        TemporaryError: ``CommitMissing``, when the mirror does not hold the commit.
    """
    tree = _commit(open_mirror(path), sha).tree
    found = {}
    for name in files:
        with suppress(KeyError):
            entry = tree[name]
            if isinstance(entry, pygit2.Blob):
                found[name] = FileEntry(int(entry.filemode), str(entry.id))
    return found


@damage_told()
def find_marked(path: Path, head: CommitSha, line: str, limit: int) -> CommitSha | None:
    """Find the newest commit in a history whose message has a line of exactly this text."""
    repository = open_mirror(path)
    walker = repository.walk(_commit(repository, head).id, SortMode.NONE)
    for commit in islice(walker, limit):
        if line in decode_text(commit.raw_message).splitlines():
            return CommitSha(str(commit.id))
    return None


@damage_told()
def write_commit(path: Path, draft: CommitDraft, name: str, email: str) -> CommitSha:
    """Write a commit and what it needs. Safe to repeat: equal drafts have equal ids."""
    repository = open_mirror(path)
    parent = _commit(repository, draft.parent)
    index = pygit2.Index()
    index.read_tree(parent.tree)
    _change(repository, index, draft.files)
    when = pygit2.Signature(name, email, int(draft.at.timestamp()), 0)
    tree = index.write_tree(repository)
    made = repository.create_commit(None, when, when, draft.message, tree, [parent.id])
    return CommitSha(str(made))


def _change(
    repository: pygit2.Repository,
    index: pygit2.Index,
    files: Mapping[str, FileEntry | bytes | None],
) -> None:
    for path, content in files.items():
        if content is None:
            index.remove(path)
        elif isinstance(content, FileEntry):
            entry = pygit2.IndexEntry(path, pygit2.Oid(hex=content.blob), FileMode(content.mode))
            index.add(entry)
        else:
            mode = index[path].mode if path in index else FileMode.BLOB
            index.add(pygit2.IndexEntry(path, repository.create_blob(content), mode))


def _commit(repository: pygit2.Repository, sha: CommitSha) -> pygit2.Commit:
    found = resolve_commit(repository, sha)
    if found is None:
        message = f"the mirror does not hold commit {sha}; fetch a ref that contains it"
        raise TemporaryError(message, reason="CommitMissing")
    return found
