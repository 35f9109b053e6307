"""Step orders, time limits and delays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import HttpCheck, JobCheck
from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.releases import StageName
from gitopsd.domain.runs import RunKind, Step
from gitopsd.pipeline.steps import (
    compute_backoff,
    first_step,
    next_step,
    retry_delay,
    timeout_of,
    timeouts_for,
)
from tests.support.runs import STEPS, run_at

SPEC = StageSpec(StageName("production"), "one", "overlays/production", "shop")
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)

DEFAULTS = {
    Step.RENDER: 5 * MINUTE,
    Step.VALIDATE: 10 * MINUTE,
    Step.DIFF: 10 * MINUTE,
    Step.GATE: 7 * DAY,
    Step.PREPARE: 30 * MINUTE,
    Step.APPLY: 10 * MINUTE,
    Step.WAIT_HEALTHY: 5 * MINUTE,
    Step.VERIFY: 10 * MINUTE,
    Step.PRUNE: 10 * MINUTE,
    Step.CERTIFY: 5 * MINUTE,
}


@pytest.mark.parametrize("kind", RunKind)
def test_steps_come_in_the_order_of_the_design(kind: RunKind) -> None:
    """Each step leads to the next, the last to none."""
    steps = STEPS[kind]
    assert first_step(kind) is steps[0]
    assert [next_step(kind, step) for step in steps] == [*steps[1:], None]


@pytest.mark.parametrize("kind", RunKind)
def test_a_plain_stage_gets_the_default_limits(kind: RunKind) -> None:
    """Every step of the kind has a limit, in order, and no other step has."""
    assert timeouts_for(SPEC, kind) == tuple((step, DEFAULTS[step]) for step in STEPS[kind])


def test_limits_follow_the_application_file() -> None:
    """Health, checks and Certify get what the file gives them, and a little more for looking."""
    spec = replace(
        SPEC,
        health_timeout=8 * MINUTE,
        rollback_deadline=3 * MINUTE,
        certify=2 * MINUTE,
        verify=(
            HttpCheck("one", within=4 * MINUTE),
            HttpCheck("two", within=2 * MINUTE),
        ),
    )
    rollout = dict(timeouts_for(spec, RunKind.ROLLOUT))
    assert rollout[Step.WAIT_HEALTHY] == 8 * MINUTE
    assert rollout[Step.APPLY] == 13 * MINUTE
    assert rollout[Step.VERIFY] == 11 * MINUTE
    assert rollout[Step.CERTIFY] == 7 * MINUTE
    rollback = dict(timeouts_for(spec, RunKind.ROLLBACK))
    assert rollback[Step.WAIT_HEALTHY] == 3 * MINUTE
    assert rollback[Step.APPLY] == 10 * MINUTE
    assert rollback[Step.CERTIFY] == 7 * MINUTE
    longer = replace(spec, rollback_certify=4 * MINUTE)
    assert dict(timeouts_for(longer, RunKind.ROLLBACK))[Step.CERTIFY] == 9 * MINUTE
    assert dict(timeouts_for(longer, RunKind.ROLLOUT))[Step.CERTIFY] == 7 * MINUTE
    assert dict(timeouts_for(spec, RunKind.SYNC))[Step.WAIT_HEALTHY] == 8 * MINUTE


def test_jobs_add_their_own_time() -> None:
    """Once for each success in Verify, and twice in Certify."""
    job = JobCheck("smoke", "smoke", timeout=10 * MINUTE, successes=2)
    limits = dict(timeouts_for(replace(SPEC, verify=(job,)), RunKind.ROLLOUT))
    assert limits[Step.VERIFY] == 25 * MINUTE
    assert limits[Step.CERTIFY] == 25 * MINUTE


def test_a_gate_expires_with_the_first_approval_deadline() -> None:
    """Without an approval the Gate waits a week; otherwise as long as the most pressing one."""
    soak = SoakGate(StageName("staging"), MINUTE)
    spec = replace(SPEC, gates=(soak,))
    assert dict(timeouts_for(spec, RunKind.ROLLOUT))[Step.GATE] == 7 * DAY
    gates = (soak, ApprovalGate(("user:a",), deadline=2 * DAY), ApprovalGate(("user:b",)))
    spec = replace(SPEC, gates=gates)
    assert dict(timeouts_for(spec, RunKind.ROLLOUT))[Step.GATE] == DAY


def test_a_run_without_a_limit_of_its_own_uses_the_default() -> None:
    """What was fixed at admission wins; a step that it lacks has the default."""
    run = replace(run_at(RunKind.ROLLOUT, Step.DIFF), timeouts=((Step.APPLY, MINUTE),))
    assert timeout_of(run, Step.APPLY) == MINUTE
    for step, limit in DEFAULTS.items():
        assert timeout_of(replace(run, timeouts=()), step) == limit


def test_attempts_back_off_to_half_a_minute() -> None:
    """1, 2, 4, 8, 16, then 30 seconds for ever."""
    waits = [compute_backoff(attempt, None) for attempt in range(1, 9)]
    assert waits == [SECOND * seconds for seconds in (1, 2, 4, 8, 16, 30, 30, 30)]
    assert compute_backoff(1000, None) == 30 * SECOND


def test_a_wish_for_patience_is_never_undercut() -> None:
    """The longer of the backoff and what the other side asks for counts."""
    assert compute_backoff(1, 40 * SECOND) == 40 * SECOND
    assert compute_backoff(4, 2 * SECOND) == 8 * SECOND
    assert compute_backoff(1, timedelta(0)) == SECOND


def test_a_release_is_tried_again_after_1_2_5_and_then_every_10_minutes() -> None:
    """The delays between runs of one release that end Errored."""
    waits = [retry_delay(number) for number in range(1, 7)]
    assert waits == [MINUTE * minutes for minutes in (1, 2, 5, 10, 10, 10)]
