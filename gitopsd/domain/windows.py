"""Windows of time, as ``gates: - window:`` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class WeeklyWindow:
    """Certain hours of certain days, by the clock on the wall.

    Attributes:
        text: As the file writes it.
        days: Days of the week on which it begins; Monday is 0.
        start_minute: When it begins, in minutes of the clock since midnight.
        end_minute: When it ends; before ``start_minute`` when that is on the next day, 1440 for
            midnight.
    """

    text: str
    days: tuple[int, ...]
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class CronWindow:
    """A while from each time of a schedule on.

    Attributes:
        cron: The five fields of crontab(5).
        duration: How long it lasts, in elapsed time whatever the clocks do meanwhile.
    """

    cron: str
    duration: timedelta


Window: TypeAlias = WeeklyWindow | CronWindow


class Overrun(Enum):
    """What becomes of a run that was let in and has not begun to apply when the window closes."""

    FINISH = "Finish"
    """It goes on: what has begun to write finishes."""
    WAIT = "Wait"
    """It waits before Apply until the window opens again."""


@dataclass(frozen=True, slots=True)
class WindowGate:
    """Runs are let in at certain times.

    Attributes:
        allow: When; empty for always.
        deny: When not, whatever is allowed.
        timezone: IANA name of the zone whose clock counts.
        overrun: What becomes of a run that has not begun to apply when it closes.
        override: ``group:NAME`` or ``user:SUBJECT`` who may skip the gate; empty for everybody
            who may skip gates.
    """

    allow: tuple[Window, ...] = ()
    deny: tuple[Window, ...] = ()
    timezone: str = "UTC"
    overrun: Overrun = Overrun.FINISH
    override: tuple[str, ...] = ()
