"""Restarts follow the kubelet's back-off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.sandbox.restarts import BackOff, BackOffPolicy, Role, say_duration, should_restart

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_first_restart_is_immediate_and_the_next_ones_double_up_to_the_cap() -> None:
    """A container that crashes at once is started at 0, 0, 10, 30, 70, ... seconds."""
    back_off, now, waits = BackOff(BackOffPolicy()), NOW, []
    for _ in range(9):
        wait = back_off.remaining(failed_at=now, now=now)
        waits.append(wait.total_seconds())
        now += wait
        back_off = back_off.attempted(now)

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_time_that_passed_since_the_failure_counts() -> None:
    """Only what is left of the wait is waited for."""
    back_off = BackOff(BackOffPolicy()).attempted(NOW)
    left = back_off.remaining(failed_at=NOW, now=NOW + timedelta(seconds=4))

    assert left == timedelta(seconds=6)
    assert not back_off.remaining(failed_at=NOW, now=NOW + timedelta(seconds=11))


def test_a_long_run_starts_over() -> None:
    """After twice the longest wait without a restart nothing is remembered."""
    back_off = BackOff(BackOffPolicy()).attempted(NOW).attempted(NOW)
    much_later = NOW + timedelta(seconds=601)

    assert not back_off.remaining(failed_at=much_later, now=much_later)
    assert back_off.attempted(much_later).delay == timedelta(seconds=10)


@pytest.mark.parametrize(
    "policy, role, code, expected",
    [
        ("Always", Role.App, 0, True),
        ("Always", Role.App, 1, True),
        ("OnFailure", Role.App, 0, False),
        ("OnFailure", Role.App, 1, True),
        ("Never", Role.App, 1, False),
        ("Always", Role.Init, 0, False),
        ("Always", Role.Init, 1, True),
        ("Never", Role.Init, 1, False),
        ("Never", Role.Sidecar, 0, True),
    ],
)
def test_policy_and_role_decide_about_a_restart(
    policy: str, role: Role, code: int, *, expected: bool
) -> None:
    """Apps obey the policy, init containers run until they succeed, sidecars always run."""
    assert should_restart(policy, role, code) is expected


@pytest.mark.parametrize(
    "seconds, said",
    [(0, "0s"), (0.25, "250ms"), (1.5, "1.5s"), (10, "10s"), (80, "1m20s"), (300, "5m0s")],
)
def test_durations_are_said_as_go_says_them(seconds: float, said: str) -> None:
    """Messages hold the words that tools look for."""
    assert say_duration(timedelta(seconds=seconds)) == said
