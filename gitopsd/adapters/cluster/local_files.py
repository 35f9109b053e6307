"""Reads the small files that a connection is made from."""

from __future__ import annotations

from pathlib import Path

from gitopsd.errors import PermanentError
from gitopsd.kube.redaction import redact_clause

LARGEST_FILE_BYTES = 1_000_000


def read_text(path: Path) -> str:
    """Read a file whole.

    Raises:
        PermanentError: It cannot be read, is longer than `LARGEST_FILE_BYTES`, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        if len(content) > LARGEST_FILE_BYTES:
            raise PermanentError(f"file {path} is longer than {LARGEST_FILE_BYTES} bytes")
        return content.decode()
    except (OSError, ValueError) as error:
        raise PermanentError(f"file {path} cannot be read: {clause_of(error)}") from error


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Tell versions of a file apart; one that is missing has a stamp of its own."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, -1)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def clause_of(error: BaseException) -> str:
    """Say what an exception says, in one redacted line."""
    lines = str(error).splitlines()
    return redact_clause((lines[0] if lines else type(error).__name__)[:300])
