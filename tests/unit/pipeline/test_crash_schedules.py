"""Crashes: every outcome arrives zero, one or two times, and the story ends the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest

from gitopsd.domain.runs import CommandId, LastLook, Phase, Run, RunKind, Step
from gitopsd.pipeline.commands import Command, ExecuteStep
from gitopsd.pipeline.events import Event, StepErrored, StepFailed, StepPending, StepSucceeded
from gitopsd.pipeline.machine import decide
from tests.support.runs import NOON, STEPS, TARGET, run_at
from tests.unit.pipeline.test_transition_table import EVENTS


@dataclass(frozen=True)
class Story:
    """What a run came to: where it went, how it ended, what was asked for beside steps."""

    steps: tuple[tuple[Step, int], ...]
    ended: Phase
    done: tuple[Command, ...]


def answer(run: Run, failing: Step | None) -> Event:
    """What the outstanding command comes to: an error, a wait, then success or a verdict."""
    command = run.command or CommandId("none")
    if run.attempt == 1 and run.step is Step.APPLY:
        return StepErrored(NOON, command, "Unavailable", "no answer")
    if run.step is Step.WAIT_HEALTHY and run.last_look is LastLook.NONE:
        return StepPending(NOON, command, NOON - NOON, LastLook.NOT_HEALTHY)
    if run.step is failing:
        return StepFailed(NOON, command, "CrashLoopBackOff", "it crashes")
    return StepSucceeded(NOON, command, restore=TARGET)


def tell(kind: RunKind, failing: Step | None, deliveries: tuple[int, ...]) -> Story:
    """Plays a run; each outcome is delivered as often as the schedule says, in turn.

    Zero times stands for a crash before the outcome was stored: the command is still in the outbox
    and is done again, so its outcome comes with the next turn.
    """
    run = decide(run_at(kind, Phase.PENDING), EVENTS["admitted"]).run
    steps: list[tuple[Step, int]] = []
    done: list[Command] = []
    turn = 0
    while run.live:
        count = deliveries[turn % len(deliveries)]
        turn += 1
        event = answer(run, failing)
        for number in range(count):
            transition = decide(run, event)
            if number:
                assert transition.ignored.startswith(("stale", "run-7 has ended")), event
                assert transition.run is run
                continue
            assert run.step is not None
            steps.append((run.step, run.attempt))
            done += [item for item in transition.commands if not isinstance(item, ExecuteStep)]
            run = transition.run
    return Story(tuple(steps), run.phase, tuple(done))


SCHEDULES = [
    schedule
    for length in (1, 2, 3)
    for schedule in product((0, 1, 2), repeat=length)
    if any(schedule)
]


@pytest.mark.parametrize("kind", RunKind)
def test_lost_and_doubled_outcomes_change_nothing(kind: RunKind) -> None:
    """Whatever the schedule of crashes, the run goes the same way and asks for the same, once."""
    for failing in (None, *STEPS[kind]):
        wanted = tell(kind, failing, (1,))
        assert wanted.ended.terminal
        for schedule in SCHEDULES:
            assert tell(kind, failing, schedule) == wanted


@pytest.mark.parametrize("kind", RunKind)
def test_an_outcome_of_any_earlier_command_is_stale(kind: RunKind) -> None:
    """However late an answer comes, and whatever it says, the run has moved on."""
    run = decide(run_at(kind, Phase.PENDING), EVENTS["admitted"]).run
    earlier: list[CommandId] = []
    while run.live:
        assert run.command is not None
        assert run.command not in earlier
        for command in earlier:
            for late in (
                StepSucceeded(NOON, command),
                StepFailed(NOON, command, "CrashLoopBackOff", "it crashes"),
                StepErrored(NOON, command, "Unavailable", "no answer", retryable=False),
                StepPending(NOON, command, NOON - NOON),
            ):
                assert decide(run, late).ignored.startswith("stale")
        earlier.append(run.command)
        run = decide(run, answer(run, None)).run


def test_a_crash_between_admission_and_the_first_command_loses_nothing() -> None:
    """Admission commands the first step in the same transition; admitting twice admits once."""
    run = decide(run_at(RunKind.ROLLOUT, Phase.PENDING), EVENTS["admitted"]).run
    again = decide(run, EVENTS["admitted"])
    assert again.run is run
    assert again.ignored == "RunAdmitted changes nothing for a Rollout in Render"


def test_a_cursor_survives_a_crash() -> None:
    """What a long step had done is stored with the answer that said so."""
    run = replace(run_at(RunKind.ROLLOUT, Step.APPLY), cursor="1/3")
    assert run.command is not None
    on = decide(run, StepPending(NOON, run.command, NOON - NOON, cursor="2/3")).run
    assert on.command is not None
    blind = decide(on, StepErrored(NOON, on.command, "Unavailable", "no answer")).run
    assert blind.cursor == "2/3"
