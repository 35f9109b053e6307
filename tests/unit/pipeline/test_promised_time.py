"""A step is given the time that its waves and hooks were promised, once and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.runs import LastLook, Phase, Run, RunKind, Step
from gitopsd.pipeline.events import DeadlineReached, StepPending
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.steps import (
    DEFAULT_TIMEOUTS,
    ONE_MORE_LOOK,
    WaveTime,
    compute_promised,
    grant_time,
)
from tests.support.runs import NOON, run_at

MINUTE = timedelta(minutes=1)
CONFIGURED = 15 * MINUTE


def entered(kind: RunKind = RunKind.ROLLOUT, step: Step = Step.APPLY) -> Run:
    """A run that has just begun a step with the time that was configured."""
    run = replace(run_at(kind, step), timeouts=((Step.RENDER, MINUTE), (step, CONFIGURED)))
    return replace(run, step_deadline=NOON + CONFIGURED)


def wait(run: Run, lasts: timedelta | None) -> Run:
    """The run after its step said that it waits, and how long it may last."""
    assert run.command is not None
    event = StepPending(NOON + MINUTE, run.command, MINUTE, LastLook.NOT_HEALTHY, lasts=lasts)
    return decide(run, event).run


@pytest.mark.parametrize("kind", RunKind)
def test_what_waves_were_promised_is_given_once(kind: RunKind) -> None:
    """However often it is told; a wave that is not healthy yet is not condemned within it."""
    run = wait(entered(kind), 42 * MINUTE)
    again = wait(wait(run, 42 * MINUTE), 42 * MINUTE)

    assert run.step_deadline == again.step_deadline == NOON + 42 * MINUTE
    assert dict(again.timeouts) == {Step.RENDER: MINUTE, Step.APPLY: 42 * MINUTE}
    assert decide(again, DeadlineReached(NOON + 41 * MINUTE)).ignored
    assert decide(again, DeadlineReached(NOON + 42 * MINUTE)).run.phase.terminal


def test_what_stood_still_is_not_taken_back() -> None:
    """A deadline that was moved on meanwhile is moved on from there."""
    run = replace(entered(), step_deadline=NOON + 60 * MINUTE)
    assert wait(run, 20 * MINUTE).step_deadline == NOON + 65 * MINUTE


@pytest.mark.parametrize("lasts", [None, MINUTE, CONFIGURED])
def test_a_step_never_has_less_than_was_configured(lasts: timedelta | None) -> None:
    """A set that needs less changes nothing."""
    run = wait(entered(), lasts)
    assert (run.phase, run.step_deadline) == (Phase.RUNNING, NOON + CONFIGURED)
    assert run.timeouts == entered().timeouts


def test_a_run_without_a_deadline_gets_none() -> None:
    """There is nothing to extend before a step is entered."""
    run = replace(entered(), step_deadline=None)
    assert grant_time(run, Step.APPLY, 42 * MINUTE) is run


def test_the_promise_of_waves_is_added_up() -> None:
    """Hooks of a wave run side by side; its objects have their time after them."""
    waves = [
        WaveTime(health=10 * MINUTE),
        WaveTime((30 * MINUTE, 5 * MINUTE), 10 * MINUTE),
        WaveTime((5 * MINUTE,)),
        WaveTime(),
    ]
    promised = compute_promised(Step.APPLY, CONFIGURED, waves)
    assert promised == CONFIGURED + 55 * MINUTE + 4 * ONE_MORE_LOOK
    assert compute_promised(Step.APPLY, CONFIGURED, ()) == CONFIGURED


def test_a_hook_that_says_nothing_has_in_apply_what_apply_has_by_itself() -> None:
    """Otherwise it would take of the time of the waves after it; elsewhere none follows."""
    waves = [WaveTime((None, MINUTE))]
    silent = DEFAULT_TIMEOUTS[Step.APPLY]
    assert compute_promised(Step.APPLY, CONFIGURED, waves) == CONFIGURED + silent + ONE_MORE_LOOK
    assert compute_promised(Step.PREPARE, CONFIGURED, waves) == CONFIGURED + MINUTE + ONE_MORE_LOOK
    assert compute_promised(Step.VERIFY, CONFIGURED, [WaveTime((None,))]) == CONFIGURED
