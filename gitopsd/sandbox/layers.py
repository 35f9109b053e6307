"""Unpacks the layers of an image, and nothing outside of the directory that they are for."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

from gitopsd.errors import PermanentError

_RIGHTS = 0o755


def unpack_layer(content: bytes, root: Path) -> None:
    """Unpack files, directories and links; devices and pipes are left out, as is who owns them.

    It does what `tarfile.data_filter` does, which the first releases of Python 3.11 do not have.

    Args:
        content: A tar archive, compressed or not.
        root: Where to; files there are replaced.

    Raises:
        PermanentError: It is no archive, or an entry leads out of `root`.
    """
    base = root.resolve()
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as tar:
            for member in tar:
                _unpack(tar, member, base)
    except tarfile.TarError as error:
        raise PermanentError(f"a layer of the image is no archive: {error}") from error


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, base: Path) -> None:
    target = _inside(base, base, member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isreg() and (source := tar.extractfile(member)) is not None:
        target.unlink(missing_ok=True)
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
        target.chmod(member.mode & _RIGHTS | 0o600)
    elif member.issym():
        meant = _inside(base, target.parent, member.linkname)
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(meant, target.parent))
    elif member.islnk():
        target.unlink(missing_ok=True)
        target.hardlink_to(_inside(base, base, member.linkname))


def _inside(base: Path, start: Path, name: str) -> Path:
    """The path that a name means; its directory has no links left in it."""
    meant = base / name.lstrip("/") if name.startswith("/") else start / name
    found = meant.parent.resolve() / meant.name if meant.name != ".." else meant.resolve()
    if not found.resolve().is_relative_to(base) or not found.is_relative_to(base):
        raise PermanentError(f"a layer of the image leads out of it: {name!r}")
    return found
