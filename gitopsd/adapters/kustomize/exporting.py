"""Writes exactly the files of an input set to a private directory, and removes it again."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from gitopsd.adapters.kustomize.inputs import Inputs
from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.adapters.kustomize.scouting import check_yaml
from gitopsd.adapters.kustomize.trees import Tree

MAX_OBJECTS = 5_000
_LARGE_FILE_POINTER = b"version https://git-lfs.github.com/spec/"
_SEPARATOR = re.compile(rb"(?m)^---(?:\s|$)")
_PREFIX = "gitopsd-render-"
_LOCK = "lock"
_MIN_FREE_BYTES = 48 << 20
_TMPFS = Path("/dev/shm")  # noqa: S108 - what is written there lies in a private directory


def place_scratch() -> Path:
    """Choose where exports go: memory where there is enough of it, else the temporary directory."""
    with suppress(OSError):
        room = os.statvfs(_TMPFS)
        if room.f_bavail * room.f_frsize >= _MIN_FREE_BYTES and os.access(_TMPFS, os.W_OK):
            return _TMPFS
    return Path(tempfile.gettempdir())


class Scratch:
    """A private directory of this process; those that dead processes left are removed.

    Args:
        parent: Where it is made; `place_scratch` when left out.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent
        self._directory: Path | None = None
        self._lock = -1
        self._first = threading.Lock()

    def make(self) -> Path:
        """Make an empty directory, readable by nobody else. Blocks; runs in a thread."""
        with self._first:  # a render and the child started ahead of the next one begin together
            if self._directory is None:
                self._directory = self._make_own()
        return Path(tempfile.mkdtemp(dir=self._directory))

    def _make_own(self) -> Path:
        parent = self._parent or place_scratch()
        _remove_dead(parent)
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Held for as long as this process lives: the sign that the directory is in use.
        self._lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return directory

    def close(self) -> None:
        """Remove everything. Safe to repeat: there is nothing left."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            os.close(self._lock)
            self._directory = None


def _remove_dead(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(handle)


def export(tree: Tree, inputs: Inputs, kustomization: str, target: Path) -> None:
    """Write the files of an input set under ``target``.

    Args:
        tree: The commit's tree.
        inputs: What to write.
        kustomization: The overlay's own file, named when the whole is refused.
        target: An empty directory.

    Raises:
        RefusedError: ``LargeFilePointer``, ``TooDeep``, ``AliasBomb`` or ``OutputTooLarge``.
        TemporaryError: The mirror cannot be read now.
    """
    objects = inputs.generated
    if objects > MAX_OBJECTS:
        raise too_many_objects(kustomization)
    made: set[str] = set()
    for path, blob in inputs.input_set.files.items():
        content = tree.read(blob)
        if content.startswith(_LARGE_FILE_POINTER):
            sentence = "it is a Git LFS pointer, and LFS is not fetched; commit the file itself"
            raise RefusedError("LargeFilePointer", Place(path), sentence)
        if path in inputs.manifests:
            check_yaml(path, content)
            objects += sum(b"kind" in part for part in _SEPARATOR.split(content))
            if objects > MAX_OBJECTS:
                raise too_many_objects(kustomization)
        directory = path.rpartition("/")[0]
        if directory not in made:
            (target / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            made.add(directory)
        (target / path).write_bytes(content)


def too_many_objects(kustomization: str) -> RefusedError:
    """Say that an overlay has too many objects."""
    sentence = f"the overlay has more than {MAX_OBJECTS:,} objects; split it into applications"
    return RefusedError("OutputTooLarge", Place(kustomization), sentence)
