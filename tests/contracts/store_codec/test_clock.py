"""The clock of stored times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import cast

from gitopsd.store.clock import StoreClock
from gitopsd.store.session import Session
from tests.support.store_values import NOON

SESSION = cast("Session", None)
"""No clock under test looks at it."""


class _Machine:
    """A machine's clocks, set by hand."""

    def __init__(self) -> None:
        self.time = NOON
        self.seconds = 100.0

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds

    def clock(self) -> StoreClock:
        return StoreClock(lambda _: self.time, lambda: self.seconds)


def _told(clock: StoreClock) -> datetime:
    return clock.tell(SESSION)


def test_the_machines_time_is_told() -> None:
    """As long as the machine's clock goes on, its time is the answer, in UTC."""
    machine = _Machine()
    clock = machine.clock()
    machine.time = NOON.astimezone(timezone(timedelta(hours=3)))

    assert _told(clock) == NOON
    assert _told(clock).utcoffset() == timedelta(0)
    machine.pass_time(90)
    assert _told(clock) == NOON + timedelta(seconds=90)


def test_a_clock_that_was_set_back_is_caught_up_with() -> None:
    """Told times go on at half speed, never back, until the machine's clock is there again."""
    machine = _Machine()
    clock = machine.clock()
    assert _told(clock) == NOON

    machine.time -= timedelta(seconds=60)
    machine.pass_time(10)
    assert _told(clock) == NOON + timedelta(seconds=5)
    machine.pass_time(40)
    assert _told(clock) == NOON + timedelta(seconds=25)
    machine.pass_time(100)
    assert _told(clock) == machine.time == NOON + timedelta(seconds=90)


def test_what_was_stored_before_is_not_preceded() -> None:
    """The mark of an earlier process holds; a mark of the past changes nothing."""
    machine = _Machine()
    clock = machine.clock()
    clock.advance_to(NOON + timedelta(hours=1))

    assert _told(clock) == NOON + timedelta(hours=1)
    clock.advance_to(NOON)
    machine.pass_time(2)
    assert _told(clock) == NOON + timedelta(hours=1, seconds=1)


def test_a_test_clock_stands_still() -> None:
    """With a clock that only the test sets, the told time moves with it alone."""
    machine = _Machine()
    clock = StoreClock(lambda _: machine.time, elapsed=None)
    assert _told(clock) == NOON

    machine.time -= timedelta(hours=1)
    machine.seconds += 1000
    assert _told(clock) == NOON
