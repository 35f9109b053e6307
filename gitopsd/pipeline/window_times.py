"""When a window is open, and when that changes next.

Theory: *weekly* entries go by the clock on the wall of their zone: an entry holds at a moment when
that clock shows a time within it. When clocks are set back, the hour that comes twice is within it
twice; when they are set forward, the hour that does not come is not, and what would have begun in
it begins with the first minute after it. *Cron* entries begin as Debian's cron starts jobs: one
that names an hour that does not come begins right after it, one that names an hour that comes
twice begins once. They last for elapsed time. A denial wins over everything.

Changes are searched for at moments where an entry can begin or end, in order, and not for longer
than `FURTHEST`: a window that stays shut for over a year is as good as shut for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from gitopsd.domain.windows import DAY_MINUTES, CronWindow, WeeklyWindow, Window, WindowGate

FURTHEST = timedelta(days=400)
"""How far ahead a change is looked for."""

MOST_MOMENTS = 3_000
"""Moments that are tried at most: a schedule of every minute must not cost seconds."""

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_BACK = timedelta(hours=3)
"""More than any clock was ever set back at once."""


def is_open(gate: WindowGate, now: datetime) -> bool:
    """Tell whether runs are let in at a moment."""
    zone = ZoneInfo(gate.timezone)
    if any(_holds(entry, now, zone) for entry in gate.deny):
        return False
    return not gate.allow or any(_holds(entry, now, zone) for entry in gate.allow)


def find_denial(gate: WindowGate, now: datetime) -> Window | None:
    """Find the entry that denies a moment; None when none does."""
    zone = ZoneInfo(gate.timezone)
    return next((entry for entry in gate.deny if _holds(entry, now, zone)), None)


def next_change(gate: WindowGate, now: datetime) -> datetime | None:
    """Tell when an open window closes, or a closed one opens, in UTC; None when it does not.

    Not within `FURTHEST`, that is.
    """
    zone = ZoneInfo(gate.timezone)
    opened = is_open(gate, now)
    moments = takewhile(lambda moment: moment <= now + FURTHEST, _moments(gate, now, zone))
    later = (moment for moment in moments if moment > now)
    return next(
        (moment for moment in islice(later, MOST_MOMENTS) if is_open(gate, moment) != opened), None
    )


def _holds(entry: Window, now: datetime, zone: ZoneInfo) -> bool:
    if isinstance(entry, CronWindow):
        started = (start for start in _starts(entry, now - entry.duration, zone))
        return any(
            now < start + entry.duration for start in takewhile(lambda start: start <= now, started)
        )
    local = now.astimezone(zone)
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if entry.start_minute < entry.end_minute:
        return today in entry.days and entry.start_minute <= minute < entry.end_minute
    evening = today in entry.days and minute >= entry.start_minute
    return evening or (yesterday in entry.days and minute < entry.end_minute)


def _starts(entry: CronWindow, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """List when a schedule's windows begin after a moment, in order.

    Shortly after the clocks were set back, a few that began before it come first: the schedule
    cannot tell the two hours apart.
    """
    before = (after.astimezone(UTC) - _BACK).astimezone(zone)
    local = after.astimezone(zone)
    begin = local if before.utcoffset() == local.utcoffset() else before
    return (start.astimezone(UTC) for start in CronSim(entry.cron, begin))


def _moments(gate: WindowGate, now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """List the moments at which something may change, in order, some before ``now``."""
    entries = (*gate.allow, *gate.deny)
    streams = [_weekly_moments([e for e in entries if isinstance(e, WeeklyWindow)], now, zone)]
    for entry in entries:
        if isinstance(entry, CronWindow):
            streams.append(_starts(entry, now, zone))
            streams.append(_ends(entry, now, zone))
    return heapq.merge(*streams)


def _ends(entry: CronWindow, now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    return (start + entry.duration for start in _starts(entry, now - entry.duration, zone))


def _weekly_moments(
    entries: Iterable[WeeklyWindow], now: datetime, zone: ZoneInfo
) -> Iterator[datetime]:
    minutes = {minute for entry in entries for minute in (entry.start_minute, entry.end_minute)}
    if not minutes:
        return
    within = sorted({0, *minutes} - {DAY_MINUTES})
    day = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    while True:
        following = (day.replace(tzinfo=None) + _DAY).replace(tzinfo=zone)
        midnight, end = day.astimezone(UTC), following.astimezone(UTC)
        if end - midnight == _DAY:
            yield from (midnight + minute * _MINUTE for minute in within)
        else:
            walls = (day.replace(tzinfo=None) + minute * _MINUTE for minute in within)
            both = {
                wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
                for wall in walls
                for fold in (0, 1)
            }
            yield from sorted({*both, _find_clock_change(midnight, end, zone)})
        day = following


def _find_clock_change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """Find the first minute after the clocks were changed, between two moments."""
    before = begin.astimezone(zone).utcoffset()
    low, high = 0, (end - begin) // _MINUTE
    while low < high:
        middle = (low + high) // 2
        if (begin + middle * _MINUTE).astimezone(zone).utcoffset() == before:
            low = middle + 1
        else:
            high = middle
    return begin + low * _MINUTE
