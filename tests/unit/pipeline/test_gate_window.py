"""The window gate: when it is open, when that changes, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.domain.stages import Stage
from gitopsd.domain.windows import CronWindow, WeeklyWindow, Window, WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates
from gitopsd.pipeline.window_times import find_denial, is_open, next_change
from tests.support.runs import KEY, NOON, run_at

MADRID = "Europe/Madrid"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EVERY_DAY = tuple(range(7))
WEEKDAYS = EVERY_DAY[:5]
RUN = run_at(RunKind.ROLLOUT, Step.GATE)
SKIP = "gitopsd skip run-7 window --reason WHY"


def weekly(begin: str, end: str, *days: int, text: str = "") -> WeeklyWindow:
    """Hours of the clock on some days, every day if none is named."""
    minutes = [int(time[:2]) * 60 + int(time[3:]) for time in (begin, end)]
    return WeeklyWindow(text or f"{begin}-{end}", days or EVERY_DAY, minutes[0], minutes[1])


OFFICE = weekly("08:00", "17:00", *WEEKDAYS, text="Mon-Fri 08:00-17:00")
NIGHT = weekly("22:00", "06:00", text="22:00-06:00")
FRIDAY = CronWindow("0 22 * * 5", 8 * HOUR)


def allowing(*entries: Window, zone: str = "UTC", deny: tuple[Window, ...] = ()) -> WindowGate:
    """A gate that lets runs in at these times."""
    return WindowGate(entries, deny, zone)


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    """A moment by a zone's own clock."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def answer(now: datetime, *gates: GateSpec, index: int = 0) -> GateAnswer:
    """What one of a stage's gates answers at a moment."""
    return evaluate_gates(facts(now, *gates))[index].answer


def facts(now: datetime, *gates: GateSpec) -> GateFacts:
    """Facts of a run that waits at these gates."""
    return GateFacts(
        now=now,
        run=RUN,
        release=Release(RUN.release, KEY.application, Commit(CommitSha("a" * 40))),
        offer=None,
        stage=Stage(KEY),
        spec=StageSpec(KEY.stage, "one", "overlays/production", "shop", gates=gates),
    )


@pytest.mark.parametrize(
    "entry,moment,opened",
    [
        (OFFICE, "2030-06-03 08:00", True),  # a Monday
        (OFFICE, "2030-06-03 07:59:59.999999", False),
        (OFFICE, "2030-06-03 16:59:59.999999", True),
        (OFFICE, "2030-06-03 17:00", False),
        (OFFICE, "2030-06-01 12:00", False),  # a Saturday
        (NIGHT, "2030-06-01 23:00", True),
        (NIGHT, "2030-06-02 05:59", True),
        (NIGHT, "2030-06-02 06:00", False),
        (NIGHT, "2030-06-02 21:59", False),
        (weekly("22:00", "06:00", 4), "2030-06-01 02:00", True),  # began on Friday
        (weekly("22:00", "06:00", 4), "2030-05-31 02:00", False),  # began on Thursday
        (weekly("22:00", "06:00", 6), "2030-06-03 05:00", True),  # Sunday into Monday
        (weekly("00:00", "24:00", 5), "2030-06-01 23:59", True),
        (weekly("00:00", "24:00", 5), "2030-06-02 00:00", False),
        (weekly("20:00", "00:00", 5), "2030-06-01 23:59", True),
        (weekly("20:00", "00:00", 5), "2030-06-02 00:00", False),
        (FRIDAY, "2030-05-31 22:00", True),
        (FRIDAY, "2030-05-31 21:59:59", False),
        (FRIDAY, "2030-06-01 05:59:59", True),
        (FRIDAY, "2030-06-01 06:00", False),
        (CronWindow("0 0 1 * *", 2 * DAY), "2030-06-02 23:59", True),
        (CronWindow("*/30 * * * *", 5 * MINUTE), "2030-06-02 23:34", True),
        (CronWindow("*/30 * * * *", 5 * MINUTE), "2030-06-02 23:35", False),
    ],
)
def test_a_window_is_open_from_its_beginning_to_its_end(
    entry: Window, moment: str, opened: bool
) -> None:
    """The first moment is within it, the last is not; a night belongs to the day it begins on."""
    assert is_open(allowing(entry), at(moment)) is opened
    assert is_open(WindowGate(deny=(entry,)), at(moment)) is not opened


def test_windows_go_by_their_own_zone() -> None:
    """Eight in Madrid is six in UTC in summer and seven in winter."""
    gate = allowing(OFFICE, zone=MADRID)
    assert next_change(gate, at("2030-06-02 12:00")) == at("2030-06-03 06:00")
    assert next_change(gate, at("2030-12-01 12:00")) == at("2030-12-02 07:00")


def test_a_denial_wins() -> None:
    """Over what is allowed; when nothing is allowed by name, everything else is."""
    lunch = weekly("12:00", "13:00", text="12:00-13:00")
    gate = allowing(OFFICE, deny=(lunch,))
    assert is_open(gate, at("2030-06-03 11:59"))
    assert not is_open(gate, at("2030-06-03 12:00"))
    assert next_change(gate, at("2030-06-03 11:59")) == at("2030-06-03 12:00")
    assert next_change(gate, at("2030-06-03 12:00")) == at("2030-06-03 13:00")
    assert find_denial(gate, at("2030-06-03 12:00")) == lunch
    assert find_denial(gate, at("2030-06-03 11:59")) is None
    assert next_change(WindowGate(deny=(lunch,)), at("2030-06-03 12:30")) == at("2030-06-03 13:00")


def test_touching_windows_are_one() -> None:
    """No change is told where one ends as the next begins."""
    gate = allowing(weekly("08:00", "12:00"), weekly("12:00", "17:00"))
    assert next_change(gate, at("2030-06-03 09:00")) == at("2030-06-03 17:00")


# In Madrid the clocks go from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC, and from 03:00 back
# to 02:00 on 25 October 2026, at 01:00 UTC.


@pytest.mark.parametrize(
    "begin,end,opens,closes",
    [
        ("01:30", "02:00", "00:30", "01:00"),  # ends where the hour is missing
        ("01:30", "03:30", "00:30", "01:30"),  # an hour shorter
        ("02:30", "03:30", "01:00", "01:30"),  # begins with the first minute after it
        ("03:00", "04:00", "01:00", "02:00"),  # as ever
    ],
)
def test_on_the_day_with_a_missing_hour_the_clock_on_the_wall_counts(
    begin: str, end: str, opens: str, closes: str
) -> None:
    """What would begin within the hour that does not come begins after it."""
    gate = allowing(weekly(begin, end), zone=MADRID)
    opened = next_change(gate, at("2026-03-29 00:15"))
    assert opened == at(f"2026-03-29 {opens}")
    assert opened is not None
    assert next_change(gate, opened) == at(f"2026-03-29 {closes}")


def test_a_window_within_the_missing_hour_does_not_open_that_day() -> None:
    """The clock never shows it."""
    gate = allowing(weekly("02:15", "02:45"), zone=MADRID)
    assert next_change(gate, at("2026-03-28 12:00")) == at("2026-03-30 00:15")


@pytest.mark.parametrize(
    "begin,end,changes",
    [
        ("01:30", "03:30", ["23:30", "02:30"]),  # an hour longer
        ("02:00", "03:00", ["00:00", "02:00"]),  # both times
        ("02:15", "02:45", ["00:15", "00:45", "01:15", "01:45"]),  # twice
        ("02:30", "04:00", ["00:30", "01:00", "01:30", "03:00"]),  # the clock is set back before it
        ("03:00", "04:00", ["02:00", "03:00"]),  # as ever
    ],
)
def test_on_the_day_with_a_double_hour_it_counts_both_times(
    begin: str, end: str, changes: list[str]
) -> None:
    """A denial within it denies both; what it names is UTC."""
    now = at("2026-10-24 23:15")
    found = []
    gate = allowing(weekly(begin, end), zone=MADRID)
    for _ in changes:
        change = next_change(gate, now)
        assert change is not None
        found.append(f"{change:%H:%M}")
        now = change
    assert found == changes


def test_a_schedule_in_the_missing_hour_begins_right_after_it() -> None:
    """And lasts as long as ever."""
    gate = allowing(CronWindow("30 2 * * *", 2 * HOUR), zone=MADRID)
    opened = next_change(gate, at("2026-03-29 00:00"))
    assert opened == at("2026-03-29 01:00")
    assert opened is not None
    assert next_change(gate, opened) == at("2026-03-29 03:00")


def test_a_schedule_in_the_double_hour_begins_once() -> None:
    """The first time; and a moment after the second time is told from the first."""
    gate = allowing(CronWindow("30 2 * * *", 45 * MINUTE), zone=MADRID)
    assert next_change(gate, at("2026-10-25 00:00")) == at("2026-10-25 00:30")
    assert next_change(gate, at("2026-10-25 00:30")) == at("2026-10-25 01:15")
    assert not is_open(gate, at("2026-10-25 02:30", MADRID, fold=1))
    assert next_change(gate, at("2026-10-25 01:20")) == at("2026-10-26 01:30")


@pytest.mark.parametrize("day,hours", [("2026-03-28", 8), ("2026-10-24", 8)])
def test_durations_are_elapsed_time(day: str, hours: int) -> None:
    """Eight hours over the night of a change end at seven, or at five, by the clock."""
    gate = allowing(CronWindow("0 22 * * 6", 8 * HOUR), zone=MADRID)
    opened = next_change(gate, at(f"{day} 12:00"))
    assert opened == at(f"{day} 22:00", MADRID)
    assert opened is not None
    closed = next_change(gate, opened)
    assert closed == opened + hours * HOUR
    wall = closed.astimezone(ZoneInfo(MADRID))
    assert wall.hour == (7 if day.endswith("03-28") else 5)


def test_a_half_hour_change_is_found() -> None:
    """Lord Howe sets its clocks by thirty minutes: from 02:00 to 02:30 on 4 October 2026."""
    gate = allowing(weekly("02:10", "03:00"), zone="Australia/Lord_Howe")
    assert next_change(gate, at("2026-10-03 12:00")) == at("2026-10-03 15:30")


def test_a_day_without_midnight_begins_later() -> None:
    """In Beirut the clocks go from 00:00 to 01:00 on 29 March 2026."""
    gate = allowing(weekly("00:00", "02:00", 6), zone="Asia/Beirut")
    opened = next_change(gate, at("2026-03-28 12:00"))
    assert opened == at("2026-03-28 22:00")
    assert opened is not None
    assert next_change(gate, opened) == at("2026-03-28 23:00")


@pytest.mark.parametrize(
    "gate",
    [
        allowing(OFFICE, deny=(OFFICE,)),
        allowing(CronWindow("0 0 29 2 *", DAY)),
        WindowGate(deny=(CronWindow("* * * * *", MINUTE),)),
    ],
)
def test_the_search_for_an_opening_ends(gate: WindowGate) -> None:
    """Denied for ever, too far away, or told apart in too many pieces: no time is named."""
    now = at("2029-03-01 12:00")
    assert next_change(gate, now) is None
    said = answer(now, gate)
    assert isinstance(said, Closed)
    assert said.reason.endswith("; it does not open within 400 days")
    assert (said.opener, said.until) == (SKIP, None)


def test_a_closed_window_says_when_it_opens_and_by_whose_clock() -> None:
    """With what opens it otherwise."""
    when = "Mon 2030-06-03 08:00 Europe/Madrid"
    assert answer(NOON, allowing(OFFICE, zone=MADRID)) == Closed(
        f"outside of its hours; opens {when}",
        f"wait until {when}, or: {SKIP}",
        at("2030-06-03 06:00"),
    )


def test_a_denial_is_quoted() -> None:
    """As the file writes it, schedules too."""
    days = WindowGate(deny=(weekly("00:00", "24:00", 5, text="Sat"),))
    assert answer(NOON, days).reason == "'Sat' is denied; opens Sun 2030-06-02 00:00 UTC"
    cron = WindowGate(deny=(CronWindow("0 22 * * 5", 20 * HOUR),))
    assert answer(NOON, cron).reason == (
        "20h from cron '0 22 * * 5' on is denied; opens Sat 2030-06-01 18:00 UTC"
    )


def test_an_open_window_says_until_when() -> None:
    """One that never closes says nothing."""
    assert answer(NOON + 2 * DAY, allowing(OFFICE, zone=MADRID)) == Open(
        "until Mon 2030-06-03 17:00 Europe/Madrid"
    )
    assert answer(NOON, allowing(weekly("00:00", "24:00"))) == Open("")


def test_whoever_may_skip_it_is_named() -> None:
    """And the second window of a stage goes by its own name."""
    gate = replace(allowing(OFFICE), override=("group:leads", "user:ben"))
    said = answer(NOON, allowing(NIGHT), gate, index=1)
    assert isinstance(said, Closed)
    assert said.opener.endswith(
        "gitopsd skip run-7 window-2 --reason WHY (by group:leads or user:ben)"
    )


ZONES = ("UTC", MADRID, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
TIMES = st.integers(0, 95).map(lambda quarter: quarter * 15)
WEEKLY = st.builds(
    lambda days, begin, end: WeeklyWindow("it", tuple(sorted(days)), begin, end or 1440),
    st.sets(st.sampled_from(EVERY_DAY), min_size=1),
    TIMES,
    TIMES,
).filter(lambda entry: entry.start_minute != entry.end_minute)
# Hours around both changes of the year in most zones, and some plain weeks.
MOMENTS = st.one_of(
    *(
        st.integers(-4000, 4000).map(lambda minute, day=day: at(day) + minute * MINUTE)  # type: ignore[misc] # Hypothesis passes one argument
        for day in ("2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-07-01")
    )
)


def shows(entry: WeeklyWindow, moment: datetime, zone: str) -> bool:
    """Whether a clock on the wall shows a time of a window, told by text."""
    wall = moment.astimezone(ZoneInfo(zone))
    clock = f"{wall:%H:%M}"
    begin = f"{entry.start_minute // 60:02d}:{entry.start_minute % 60:02d}"
    end = f"{entry.end_minute // 60:02d}:{entry.end_minute % 60:02d}"
    days = [(wall.date() - day * DAY).weekday() in entry.days for day in (0, 1)]
    if begin < end:
        return days[0] and begin <= clock < end
    return (days[0] and clock >= begin) or (days[1] and clock < end)


@settings(max_examples=20)
@given(
    st.lists(WEEKLY, max_size=3),
    st.lists(WEEKLY, max_size=2),
    st.sampled_from(ZONES),
    MOMENTS,
)
def test_minute_by_minute_a_clock_on_the_wall_says_the_same(
    allow: list[WeeklyWindow], deny: list[WeeklyWindow], zone: str, now: datetime
) -> None:
    """Over random weeks: what is open now, and the first minute at which that changes."""
    gate = WindowGate(tuple(allow), tuple(deny), zone)

    def oracle(moment: datetime) -> bool:
        fine = not allow or any(shows(entry, moment, zone) for entry in allow)
        return fine and not any(shows(entry, moment, zone) for entry in deny)

    assert is_open(gate, now) is oracle(now)
    change, limit = next_change(gate, now), now + 2 * DAY
    found = next((one for one in minutes(now, limit) if oracle(one) != oracle(now)), None)
    assert change == found if found is not None else change is None or change >= limit


def minutes(begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every whole minute after a moment."""
    moment = begin + MINUTE
    while moment < end:
        yield moment
        moment += MINUTE


@settings(max_examples=15)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(1, 40),
    st.integers(0, 10_000),
)
def test_minute_by_minute_a_schedule_says_the_same(
    minute: int, hour: int, days: set[int], hours: int, offset: int
) -> None:
    """Over random weeks without a change of clocks: open for so long after each beginning."""
    cron = f"{minute} {hour} * * {','.join(map(str, sorted(days)))}"
    gate = allowing(CronWindow(cron, hours * HOUR), zone="Asia/Kathmandu")
    now = at("2026-07-01") + offset * MINUTE

    def began(moment: datetime) -> bool:
        wall = moment.astimezone(ZoneInfo("Asia/Kathmandu"))
        on_day = (wall.weekday() + 1) % 7 in days
        return on_day and (wall.hour, wall.minute) == (hour, minute)

    def oracle(moment: datetime) -> bool:
        return any(began(moment - count * MINUTE) for count in range(hours * 60))

    assert is_open(gate, now) is oracle(now)
    change = next_change(gate, now)
    if change is not None:
        assert oracle(change) is not oracle(now)
        assert oracle(change - MINUTE) is oracle(now)
