"""Reads one small YAML file of a commit, as carefully as the files of an overlay."""

from __future__ import annotations

from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.adapters.kustomize.trees import Tree, Trees
from gitopsd.adapters.kustomize.walker import parse_only
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.ports import NOT_A_FILE, Rejection

MAX_DOCUMENT_BYTES = 16_384
_TYPE, _FILE = 0o170000, 0o100000
"""Which bits of a mode tell the type of an entry, and that of a file."""


def read_document(
    trees: Trees, repo: RepoURL, commit: CommitSha, path: str
) -> JsonObject | Rejection | None:
    """Read the one document of a file; None when the commit has nothing there.

    Raises:
        TemporaryError: The mirror cannot be read now.
    """
    with trees.open_tree(repo, commit) as tree:
        try:
            return _read(tree, path)
        except RefusedError as refused:
            return refused.rejection


def _read(tree: Tree, path: str) -> JsonObject | None:
    entry = tree.find(path)
    if entry is None:
        return None
    if entry.mode & _TYPE != _FILE:
        raise RefusedError(NOT_A_FILE, Place(path), "it is no file")
    if tree.size(entry.id) > MAX_DOCUMENT_BYTES:
        sentence = f"it is longer than {MAX_DOCUMENT_BYTES} bytes"
        raise RefusedError("TooLarge", Place(path), sentence)
    return parse_only(path, tree.read(entry.id))
