"""Durations as kubectl shows them: ``35s``, ``3m12s``, ``5h40m``, ``12d``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.status import read_stamp

if TYPE_CHECKING:
    from datetime import datetime, timedelta

UNKNOWN = "<unknown>"
_MINUTE = 60
_HOUR = 3600
_DAY = 24
_YEAR = 365 * _DAY


def say_span(span: timedelta) -> str:
    """A duration in two units at most, and in fewer the longer it is."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0)}s"
    minutes = seconds // _MINUTE
    if minutes < 10:  # noqa: PLR2004 - from here on seconds are noise
        return _two(minutes, "m", seconds % _MINUTE, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    hours = seconds // _HOUR
    if hours < 8:  # noqa: PLR2004 - from here on minutes are noise
        return _two(hours, "h", minutes % 60, "m")
    return _say_days(hours)


def say_since(stamped: str, now: datetime) -> str:
    """How long ago a timestamp was."""
    moment = read_stamp(stamped) if stamped else None
    return say_span(now - moment) if moment is not None else UNKNOWN


def _say_days(hours: int) -> str:
    if hours < 2 * _DAY:
        return f"{hours}h"
    days = hours // _DAY
    if hours < 8 * _DAY:
        return _two(days, "d", hours % _DAY, "h")
    if hours < 2 * _YEAR:
        return f"{days}d"
    if hours < 8 * _YEAR:
        return _two(hours // _YEAR, "y", days % 365, "d")
    return f"{hours // _YEAR}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
