"""``window:`` in an application file."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from gitopsd.adapters.config_files.gate_window_model import WindowSection
from gitopsd.adapters.config_files.gates_model import GateSection
from gitopsd.domain.windows import CronWindow, Overrun, WeeklyWindow, WindowGate

WEEKDAYS = (0, 1, 2, 3, 4)
EVERY_DAY = (*WEEKDAYS, 5, 6)


def read(**window: object) -> WindowGate:
    """Read a gate as a file holds it."""
    gate = GateSection.model_validate({"window": window}).to_domain()
    assert isinstance(gate, WindowGate)
    return gate


@pytest.mark.parametrize(
    "text,window",
    [
        ("Mon-Fri 08:00-17:00", (WEEKDAYS, 480, 1020)),
        ("22:00-06:00", (EVERY_DAY, 1320, 360)),
        ("Sat,Sun", ((5, 6), 0, 1440)),
        ("Fri-Mon 00:00-24:00", ((0, 4, 5, 6), 0, 1440)),
        ("mon,WED-fri  9:00-17:00", None),
        ("mon,WED-fri  09:30-17:45", ((0, 2, 3, 4), 570, 1065)),
        ("Tue", ((1,), 0, 1440)),
    ],
)
def test_days_and_times_are_read(
    text: str, window: tuple[tuple[int, ...], int, int] | None
) -> None:
    """Either may be left out: every day, or all day; a time has two digits."""
    if window is None:
        with pytest.raises(ValidationError, match="is no window"):
            read(allow=text)
        return
    assert read(allow=text).allow == (WeeklyWindow(text, *window),)


def test_everything_can_be_written() -> None:
    """One entry or several, text and schedules together."""
    gate = read(
        allow=["Mon-Fri 08:00-17:00", {"cron": "0 22 * * 5", "duration": "8h"}],
        deny={"cron": "0 0 24 12 *", "duration": "9d"},
        timezone="Europe/Madrid",
        overrun="wait",
        override=["group:leads"],
    )
    assert gate == WindowGate(
        allow=(
            WeeklyWindow("Mon-Fri 08:00-17:00", WEEKDAYS, 480, 1020),
            CronWindow("0 22 * * 5", timedelta(hours=8)),
        ),
        deny=(CronWindow("0 0 24 12 *", timedelta(days=9)),),
        timezone="Europe/Madrid",
        overrun=Overrun.WAIT,
        override=("group:leads",),
    )
    assert read(deny="Fri 12:00-24:00") == WindowGate(
        deny=(WeeklyWindow("Fri 12:00-24:00", (4,), 720, 1440),)
    )


@pytest.mark.parametrize(
    "window,problem",
    [
        ({}, "it says nothing about time"),
        ({"timezone": "UTC"}, "it says nothing about time"),
        ({"allow": "Mon-Fri 08:00-17:00", "timezone": "Europe/Madird"}, "there is no time zone"),
        ({"allow": "Mon-Fri 08:00-17:00", "timezone": "../etc/passwd"}, "there is no time zone"),
        ({"allow": "Mon-Fri 08:00-17:00", "timezone": "Europe"}, "there is no time zone"),
        ({"allow": "Mon-Fri 08:00-17:00", "timezone": ""}, "there is no time zone"),
        ({"allow": "Mon-Fri 08:00"}, "is no window"),
        ({"allow": ""}, "is no window"),
        ({"allow": "Mon-Fri 25:00-26:00"}, "is no window"),
        ({"allow": "Mo-Fr 08:00-17:00"}, "'mo-fr' is no day of the week"),
        ({"allow": "Mon- 08:00-17:00"}, "'mon-' is no day of the week"),
        ({"allow": "08:00-08:00"}, "is no time at all, or a whole day"),
        ({"allow": ["08:00-17:00"], "deny": ["00:00-24:00"]}, "the window never opens"),
        ({"deny": [{"cron": "* * * * *", "duration": "1m"}]}, "the window never opens"),
        ({"allow": {"cron": "0 22 * * 5"}}, "a window is text, or a schedule with its duration"),
        ({"allow": {"duration": "8h"}}, "a window is text, or a schedule with its duration"),
        ({"allow": {"cron": "0 22 * *", "duration": "8h"}}, "is no schedule"),
        ({"allow": {"cron": "0 0 22 * * 5", "duration": "8h"}}, "is no schedule"),
        ({"allow": {"cron": "0 25 * * 5", "duration": "8h"}}, "is no schedule: Bad hour"),
        ({"allow": {"cron": "0 0 31 2 *", "duration": "8h"}}, "is no schedule"),
        ({"allow": {"cron": "0 0 31 2 5#5", "duration": "0s"}}, "the duration is zero"),
        ({"allow": 8}, "valid list"),
        ({"allow": "Sat", "overrun": "stop"}, "'finish' or 'wait'"),
        ({"allow": "Sat", "override": ["leads"]}, "is no subject"),
    ],
)
def test_what_is_no_window_is_refused(window: dict[str, object], problem: str) -> None:
    """Before anything goes by it; a window that never opens too."""
    with pytest.raises(ValidationError, match=problem.replace("(", r"\(")):
        read(**window)


def test_what_opens_on_a_leap_day_opens() -> None:
    """Rarely is not never."""
    gate = read(allow={"cron": "0 0 29 2 *", "duration": "1d"})
    assert gate.allow == (CronWindow("0 0 29 2 *", timedelta(days=1)),)


def test_the_schema_shows_both_ways_to_write_it() -> None:
    """Text for days and times, a mapping for schedules."""
    entry = WindowSection.model_json_schema()["$defs"]["WindowEntrySection"]
    assert [kind["type"] for kind in entry["anyOf"]] == ["string", "object"]
