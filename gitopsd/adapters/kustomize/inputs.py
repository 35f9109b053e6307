"""Input sets of overlays, remembered so that a push costs only what it changed.

A walk is a function of what it looked up: if every lookup that it made comes out equal in
another commit, the walk does too. So when a new commit is first asked about, all overlays that
are known of its repository are compared by a few tree ids each, in one go, and only those that
changed are walked again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from gitopsd.adapters.kustomize.trees import Tree, Trees
from gitopsd.adapters.kustomize.walker import (
    Found,
    Kustomization,
    Walk,
    Walker,
    parse_kustomization,
)
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.ports import InputSet, Rejection

_K = TypeVar("_K")
_V = TypeVar("_V")
_MAX_KUSTOMIZATIONS = 5_000
_MAX_SIZES = 100_000
_MAX_OVERLAYS = 5_000
_MAX_COMMITS = 8


@dataclass(frozen=True, slots=True)
class Inputs:
    """The input set of an overlay with what exporting it needs to know.

    Attributes:
        input_set: Key and files.
        manifests: Files that kustomize parses.
        generated: How many objects the generators make.
        top_only: Whether something is said that means something else in a base.
    """

    input_set: InputSet
    manifests: frozenset[str]
    generated: int
    top_only: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    result: Inputs | Rejection
    witnesses: Mapping[str, Found]


class InputFinder:
    """Finds and remembers input sets. Used from several threads.

    Args:
        trees: Where commits are read.
        salt: What else the key depends on: the renderer and its flags.
    """

    def __init__(self, trees: Trees, salt: str) -> None:
        self._trees = trees
        self._salt = salt
        self._lock = threading.Lock()
        self._kustomizations: OrderedDict[str, Kustomization] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._known: OrderedDict[tuple[RepoURL, str], _Known] = OrderedDict()
        self._fresh: OrderedDict[tuple[RepoURL, CommitSha], dict[str, Inputs | Rejection]]
        self._fresh = OrderedDict()

    def recall(self, repo: RepoURL, commit: CommitSha, path: str) -> Inputs | Rejection | None:
        """Answer from memory; None when the overlay has to be looked at in this commit."""
        return self._fresh.get((repo, commit), {}).get(path)

    def find(self, repo: RepoURL, commit: CommitSha, path: str) -> Inputs | Rejection:
        """Find the inputs of an overlay.

        Raises:
            TemporaryError: The mirror cannot be read now.
        """
        with self._lock, self._trees.open_tree(repo, commit) as tree:
            fresh = self._fresh.get((repo, commit))
            if fresh is None:
                fresh = self._compare(repo, tree)
                _remember(self._fresh, (repo, commit), fresh, _MAX_COMMITS)
            if path not in fresh:
                fresh[path] = self._walk(repo, tree, path)
            return fresh[path]

    def _compare(self, repo: RepoURL, tree: Tree) -> dict[str, Inputs | Rejection]:
        """Take over every known overlay of the repository whose lookups come out equal."""
        return {
            path: known.result
            for (known_repo, path), known in self._known.items()
            if known_repo == repo and _still_holds(tree, known.witnesses)
        }

    def _walk(self, repo: RepoURL, tree: Tree, path: str) -> Inputs | Rejection:
        walk = Walker(tree, self._read, self._size_of).run(path)
        result = walk.rejection or self._inputs_of(path, walk)
        _remember(self._known, (repo, path), _Known(result, walk.witnesses()), _MAX_OVERLAYS)
        return result

    def _inputs_of(self, path: str, walk: Walk) -> Inputs:
        facts = json.dumps([self._salt, path, sorted(walk.files.items())])
        key = f"sha256:{hashlib.sha256(facts.encode()).hexdigest()}"
        return Inputs(
            InputSet(key, walk.files), frozenset(walk.manifests), walk.generated, walk.top_only
        )

    def _read(self, tree: Tree, path: str, blob: str) -> Kustomization:
        known = self._kustomizations.get(blob)
        if known is None:
            known = parse_kustomization(path, tree.read(blob))
            _remember(self._kustomizations, blob, known, _MAX_KUSTOMIZATIONS)
        return known

    def _size_of(self, tree: Tree, blob: str) -> int:
        size = self._sizes.get(blob)
        if size is None:
            size = tree.size(blob)
            _remember(self._sizes, blob, size, _MAX_SIZES)
        return size


def _still_holds(tree: Tree, witnesses: Mapping[str, Found]) -> bool:
    for path, found in witnesses.items():
        entry = tree.find(path)
        if (None if entry is None else (entry.mode, entry.id)) != found:
            return False
    return True


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
