"""Spans and moments as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

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


def parse_moment(text: str) -> dict[str, str]:
    """Read ``2030-06-03T08:00`` (UTC unless it says otherwise) or ``+2h``, as the API asks for it.

    Raises:
        PermanentError: It is neither.
    """
    wanted = text.strip()
    if wanted.startswith("+"):
        return {"inSeconds": str(round(parse_seconds(wanted[1:])))}
    try:
        moment = datetime.fromisoformat(wanted)
    except ValueError as error:
        message = f"{text!r} is no time; write 2030-06-03T08:00, 2030-06-03T08:00+02:00 or +2h"
        raise PermanentError(message) from error
    return {"at": (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()}
