"""Spans of time as people write them."""

from __future__ import annotations

import re

from gitopsd.errors import PermanentError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")


def parse_seconds(text: str) -> float:
    """Read ``30s``, ``10m``, ``2h``, ``7d``; a bare number is seconds.

    Raises:
        PermanentError: It is none of these.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise PermanentError(f"{text!r} is no span of time; write 30s, 10m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]
