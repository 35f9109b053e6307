"""Mirrors on disk: where they lie, what a killed writer leaves, when one is replaced.

Everything here is local and quick; it runs in threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitopsd.domain.sources import RefName, RepoURL

HEADS = "refs/gitopsd/heads/"
PINS = "refs/gitopsd/pins/"
MAX_PACKS = 200
MAX_LOOSE_OBJECTS = 10_000
MAX_GROWTH = 2
SMALL_BYTES = 64 << 20
_FIRST_SIZE = "gitopsd-first-size"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the mirror of one address lies.

    Attributes:
        path: The bare repository.
        lock: File that the one writer holds.
    """

    path: Path
    lock: Path

    @property
    def next(self) -> Path:
        """Where a new mirror is made before it takes the place of this one."""
        return self.path.with_suffix(".next")

    @property
    def old(self) -> Path:
        """Where this mirror goes before it is deleted."""
        return self.path.with_suffix(".old")


def place_mirror(root: Path, url: RepoURL) -> Mirror:
    """Name the mirror of an address: by hash, so that no address can choose a path."""
    name = hashlib.sha256(url.encode()).hexdigest()[:32]
    return Mirror(root / f"{name}.git", root / f"{name}.lock")


def local_head(ref: RefName) -> str:
    """Name a remote's ref here: by hash, so that ``a`` and ``a/b`` can follow each other."""
    return f"{HEADS}{hashlib.sha256(ref.encode()).hexdigest()[:40]}"


def remove_leftovers(mirror: Mirror) -> bool:
    """Remove what killed writers left: lock files of refs, unfinished packs, half-made mirrors.

    Returns:
        False when another process writes to the mirror now, so that nothing was touched.
    """
    mirror.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(mirror.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _remove_leftovers(mirror)
        return True
    finally:
        os.close(handle)


def _remove_leftovers(mirror: Mirror) -> None:
    if not mirror.path.exists() and mirror.old.exists():
        mirror.old.rename(mirror.path)  # killed between the two renames of a swap
    for directory in (mirror.next, mirror.old):
        shutil.rmtree(directory, ignore_errors=True)
    for lock in (*mirror.path.glob("*.lock"), *mirror.path.glob("refs/**/*.lock")):
        lock.unlink(missing_ok=True)
    for pack in mirror.path.glob("objects/pack/pack_git2_*"):
        pack.unlink(missing_ok=True)


def is_overgrown(mirror: Mirror) -> bool:
    """Whether a mirror is better made anew: too many packs or files, or twice its first size.

    libgit2 never repacks, and objects of rewritten history stay.
    """
    packs = list(mirror.path.glob("objects/pack/*.pack"))
    if len(packs) > MAX_PACKS:
        return True
    loose = sum(1 for _ in mirror.path.glob("objects/[0-9a-f][0-9a-f]/*"))
    if loose > MAX_LOOSE_OBJECTS:
        return True
    with suppress(FileNotFoundError):  # a swap may take the files away meanwhile
        size = sum(pack.stat().st_size for pack in packs)
        record = mirror.path / _FIRST_SIZE
        if not record.exists():
            record.write_text(str(size), encoding="ascii")
        return size > max(MAX_GROWTH * _parse_size(record), SMALL_BYTES)
    return False


def _parse_size(record: Path) -> int:
    with suppress(ValueError):
        return int(record.read_text(encoding="ascii"))
    return 0


def swap(mirror: Mirror) -> None:
    """Put the new mirror in the place of the old one. Readers keep the files they have open."""
    shutil.rmtree(mirror.old, ignore_errors=True)
    with suppress(FileNotFoundError):
        mirror.path.rename(mirror.old)
    mirror.next.rename(mirror.path)
    shutil.rmtree(mirror.old, ignore_errors=True)


def place_home(root: Path, known_hosts: str) -> Path:
    """Make a home directory whose only content is the accepted host keys; libgit2 looks there.

    It is named by its content, so that two fetches with different keys never meet in one.
    """
    home = root / "homes" / hashlib.sha256(known_hosts.encode()).hexdigest()[:32]
    file = home / ".ssh" / "known_hosts"
    if not file.is_file():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(known_hosts)
        Path(unfinished).replace(file)
    return home
