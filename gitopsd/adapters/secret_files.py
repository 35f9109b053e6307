"""Secrets are files: how one is read, wherever a configuration names it."""

from __future__ import annotations

from pathlib import Path

from gitopsd.errors import PermanentError
from gitopsd.webhooks.signatures import find_secret_problem

MAX_SECRET_BYTES = 1_048_576
"""Longer files are no secrets; a bundle of all public certificate authorities fits in."""


def load_secret(path: str) -> bytes:
    """Read a secret file, without the newline that editors leave at its end.

    It is read each time it is needed, so a rotated file counts at once.

    Args:
        path: Path of the file.

    Raises:
        PermanentError: The file cannot be read, is empty, too long, or an unusable ``whsec_`` key.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "bad path"
        raise PermanentError(f"secret file {path} cannot be read: {why}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise PermanentError(f"secret file {path} is longer than {MAX_SECRET_BYTES} bytes")
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    problem = find_secret_problem(secret)
    if problem:
        raise PermanentError(f"secret file {path} cannot be used: {problem}")
    return secret
