"""The data directory belongs to one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from gitopsd.errors import PermanentError

_NAME = "gitopsd.lock"
_LONGEST_NOTE = 200
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DataDirectoryLock:
    """The lock that is held; ends with `release`, with the ``with`` block, or with the process.

    Args:
        descriptor: The locked file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let another process have the directory. Safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_data_directory(path: Path) -> DataDirectoryLock:
    """Take the data directory for this process; it is made (0700) when missing.

    The kernel gives the lock back when the process dies, however it dies: that it could be taken
    proves that no earlier owner still runs. This holds on local disks; network file systems do
    not promise it, nor that SQLite works.

    Raises:
        PermanentError: Another process has it, named by its id; or the directory is not usable.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(file, _LONGEST_NOTE, 0).decode(errors="replace").strip()
        os.close(file)
        raise PermanentError(
            f"The data directory {path} is in use by {owner or 'another process'}. Stop that "
            "gitopsd first, or give this one a directory of its own.",
            reason="DataDirectoryInUse",
        ) from error
    note = f"process {os.getpid()} on {os.uname().nodename}\n"
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, note.encode(), 0)
    except OSError as error:
        os.close(file)
        raise _unusable(path, error) from error
    return DataDirectoryLock(file)


def _unusable(path: Path, error: OSError) -> PermanentError:
    advice = " Make room there, then start it again." if error.errno in _FULL else ""
    return PermanentError(
        f"The data directory {path} cannot be used: {error.strerror}.{advice}",
        reason="InvalidConfiguration",
    )
