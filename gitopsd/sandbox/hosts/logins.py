"""Who sends a request: Basic credentials against a file of ``user:password`` lines (RFC 7617)."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

import orjson

from gitopsd.sandbox.fields import text_at

ANYBODY = "developer"


def find_user(login_file: Path | None, authorization: str) -> str | None:
    """Find who asks; None: nobody who may.

    Args:
        login_file: The file; None lets everybody in, as `ANYBODY`.
        authorization: The header.
    """
    if login_file is None:
        return ANYBODY
    for line in login_file.read_text().splitlines():
        expected = f"Basic {base64.b64encode(line.encode()).decode()}"
        if line and hmac.compare_digest(authorization.encode(), expected.encode()):
            return line.partition(":")[0]
    return None


def read_receiver(file: Path | None) -> tuple[str, bytes] | None:
    """Read where events are reported, and with which secret; None: nowhere.

    The file is JSON with ``url`` and ``secretFile``; it may come, change and go at any time.
    """
    if file is None or not file.exists():
        return None
    document = orjson.loads(file.read_bytes())
    return text_at(document, "url"), Path(text_at(document, "secretFile")).read_bytes().strip()
