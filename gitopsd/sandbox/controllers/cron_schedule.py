"""Cron schedules: when the next time is. Pure.

Rules: the five fields of crontab(5) with the macros and steps of ``robfig/cron``, which Kubernetes
reads schedules with: where day of month and day of week are both limited, either is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = (
    *("", "JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = 5
_FURTHEST = timedelta(days=5 * 366)
_DAY = timedelta(days=1)


class ScheduleError(PermanentError):
    """A schedule or a time zone cannot be read; the message says which part."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due.

    Attributes:
        minutes: Of the hour.
        hours: Of the day.
        days: Of the month.
        months: Of the year.
        weekdays: Sunday is 0.
        either: Whether the day of the month or that of the week is enough.
        zone: Whose time it is.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None when there is none in five years."""
        local = moment.astimezone(self.zone).replace(second=0, microsecond=0, tzinfo=None)
        end = local + _FURTHEST
        day = local.replace(hour=0, minute=0)
        while day <= end:
            if self._has_day(day):
                for due in self._times(day):
                    if due > moment:
                        return due
            day += _DAY
        return None

    def latest_between(self, after: datetime, until: datetime) -> datetime | None:
        """The last time after one moment and not after another; None when there is none."""
        local = until.astimezone(self.zone).replace(tzinfo=None, hour=0, minute=0, second=0)
        day = local.replace(microsecond=0)
        first = (after.astimezone(self.zone) - _DAY).replace(tzinfo=None)
        while day >= first and until - day.replace(tzinfo=self.zone) < _FURTHEST:
            if self._has_day(day):
                for due in reversed(self._times(day)):
                    if after < due <= until:
                        return due
            day -= _DAY
        return None

    def _has_day(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_date = day.day in self.days
        by_weekday = (day.weekday() + 1) % 7 in self.weekdays
        return by_date or by_weekday if self.either else by_date and by_weekday

    def _times(self, day: datetime) -> list[datetime]:
        """The times of one day; what a change of the clocks leaves out is left out."""
        local = (
            day.replace(hour=hour, minute=minute, tzinfo=self.zone)
            for hour in sorted(self.hours)
            for minute in sorted(self.minutes)
        )
        known = (item.astimezone(UTC) for item in local if _exists(item))
        return sorted(known)


def parse_schedule(text: str, zone: str = "") -> Schedule:
    """Read a schedule.

    Args:
        text: Five fields or a macro such as ``@daily``.
        zone: IANA time zone; empty: UTC.

    Raises:
        ScheduleError: It cannot be read.
    """
    fields = _MACROS.get(text.strip(), text).split()
    if len(fields) != _FIELDS:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    try:
        place = ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {zone}") from error
    weekdays = frozenset(day % 7 for day in _parse(fields[4], 0, 7, _DAYS))
    return Schedule(
        minutes=_parse(fields[0], 0, 59),
        hours=_parse(fields[1], 0, 23),
        days=_parse(fields[2], 1, 31),
        months=_parse(fields[3], 1, 12, _MONTHS),
        weekdays=weekdays,
        either=not _is_any(fields[2]) and not _is_any(fields[4]),
        zone=place,
    )


def _is_any(field: str) -> bool:
    return field[:1] in {"*", "?"}


def _parse(field: str, low: int, high: int, names: Sequence[str] = ()) -> frozenset[int]:
    found = set[int]()
    for part in field.split(","):
        body, _, step = part.partition("/")
        first, _, last = body.partition("-")
        if body in {"*", "?"}:
            begin, end = low, high
        else:
            begin = _number(first, names)
            end = _number(last, names) if last else (high if step else begin)
        every = _number(step, ()) if step else 1
        if not low <= begin <= end <= high or every < 1:
            raise ScheduleError(f"{part} is not within {low}-{high}")
        found.update(range(begin, end + 1, every))
    return frozenset(found)


def _number(text: str, names: Sequence[str]) -> int:
    if text.upper() in names and text:
        return names.index(text.upper())
    if not text.isdecimal():
        raise ScheduleError(f"failed to parse int from {text}")
    return int(text)


def _exists(local: datetime) -> bool:
    """Whether the clocks show a time on that day."""
    return local.astimezone(UTC).astimezone(local.tzinfo).hour == local.hour
