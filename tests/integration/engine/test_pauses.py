"""How long a channel in trouble is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.engine.pauses import LONGEST, MISCONFIGURED, Pause

CHANNEL = ChannelSpec("deploys", ChannelType.SLACK)
SECOND = timedelta(seconds=1)


def test_a_failing_channel_is_left_alone_ever_longer() -> None:
    """Twice as long after each failure, up to five minutes."""
    pause, now = Pause(CHANNEL), 100.0
    waits = []
    for _ in range(12):
        waits.append(pause.fail(now, None))
        now = pause.until
    assert waits[:4] == [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert waits[-1] == LONGEST


def test_failures_at_one_time_are_one() -> None:
    """What was under way together fails together."""
    pause = Pause(CHANNEL)
    assert pause.fail(100.0, None) == SECOND
    assert pause.fail(100.5, None) == SECOND
    assert pause.failures == 1


@pytest.mark.parametrize("asked, waits", [(0.1, 1.0), (90, 90), (3600, 3600)])
def test_a_pause_that_was_asked_for_is_kept(asked: float, waits: float) -> None:
    """It is never shorter than the backoff, and another message's failure does not end it."""
    pause = Pause(CHANNEL)
    assert pause.fail(100.0, timedelta(seconds=asked)) == timedelta(seconds=waits)
    assert pause.fail(100.0, None) == timedelta(seconds=waits)


def test_a_message_that_went_through_ends_no_pause_of_another() -> None:
    """Both were under way; the limit that one met stands."""
    pause = Pause(CHANNEL)
    pause.fail(100.0, 30 * SECOND)
    assert not pause.work(101.0)
    assert pause.rest(101.0) == 29 * SECOND
    assert pause.work(130.0)
    assert pause.failures == 0


def test_what_a_person_must_mend_is_tried_seldom() -> None:
    """Every ten minutes, so that a new token counts without a restart."""
    pause = Pause(CHANNEL)
    assert pause.leave_alone(0.0) == MISCONFIGURED
