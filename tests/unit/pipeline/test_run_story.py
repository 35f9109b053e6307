"""A run's story: steps with their times, and a sentence for each event."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Failure, Phase, Run, RunId, RunKind, Step
from gitopsd.domain.work import RunEvent
from gitopsd.pipeline.run_story import compute_steps, summarise, tell_story
from tests.support.runs import NOON, run_at


def event(
    name: str,
    step: Step | None,
    minute: int,
    *,
    phase: Phase = Phase.RUNNING,
    message: str = "",
    by: str = "",
) -> RunEvent:
    """One line of a run's log."""
    details: dict[str, Json] = {"by": by} if by else {}
    at = NOON + timedelta(minutes=minute)
    return RunEvent(RunId("run-7"), minute, at, name, step, phase.value, message, details)


ADMITTED = event("RunAdmitted", None, 0)
BEGAN = (
    ADMITTED,
    event("StepSucceeded", Step.RENDER, 1),
    event("StepErrored", Step.VALIDATE, 2, message="no answer"),
    event("StepSucceeded", Step.VALIDATE, 4),
    event("StepSucceeded", Step.DIFF, 5),
)


def told(*events: RunEvent) -> list[str]:
    """The sentences of a story."""
    return [line.text for line in tell_story(events)]


def test_steps_with_their_times_and_attempts() -> None:
    """A step begins when the one before ended; the one under way has no end."""
    steps = compute_steps(run_at(RunKind.ROLLOUT, Step.GATE), BEGAN)

    minutes = [
        (
            one.step,
            one.state,
            (one.started_at - NOON).total_seconds() / 60 if one.started_at else None,
            (one.ended_at - NOON).total_seconds() / 60 if one.ended_at else None,
            one.attempts,
        )
        for one in steps
    ]
    assert minutes == [
        (Step.RENDER, "Succeeded", 0, 1, 1),
        (Step.VALIDATE, "Succeeded", 1, 4, 2),
        (Step.DIFF, "Succeeded", 4, 5, 1),
        (Step.GATE, "Running", 5, None, 1),
    ]


def test_a_step_that_went_back_is_there_twice() -> None:
    """What was compared with changed meanwhile: the run validates again."""
    run = run_at(RunKind.ROLLOUT, Step.VALIDATE)
    steps = compute_steps(run, (*BEGAN, event("AppliedChanged", Step.GATE, 9)))

    assert [(one.step, one.state) for one in steps[-2:]] == [
        (Step.GATE, "Redone"),
        (Step.VALIDATE, "Running"),
    ]


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ERRORED, Phase.ABORTED])
def test_the_last_step_ends_as_the_run_does(phase: Phase) -> None:
    """Failed, errored or aborted: the step carries the verdict."""
    run = replace(run_at(RunKind.ROLLOUT, phase), step=Step.GATE)
    steps = compute_steps(run, (*BEGAN, event("DeadlineReached", Step.GATE, 9, phase=phase)))

    assert (steps[-1].step, steps[-1].state) == (Step.GATE, phase.value)
    assert steps[-1].ended_at == NOON + timedelta(minutes=9)


def test_a_run_that_did_not_begin_has_no_steps() -> None:
    """Pending runs and empty logs are fine."""
    assert compute_steps(run_at(RunKind.ROLLOUT, Phase.PENDING), ()) == ()


def test_a_long_step_that_still_works_is_one_record() -> None:
    """Pending looks do not end a step."""
    run = run_at(RunKind.ROLLOUT, Step.RENDER)
    pending = (
        event("StepPending", Step.RENDER, 1),
        event("StepErrored", Step.RENDER, 2),
    )

    (only,) = compute_steps(run, (ADMITTED, *pending))
    assert (only.step, only.state, only.attempts) == (Step.RENDER, "Running", 2)


def test_every_event_has_its_sentence() -> None:
    """Each kind of event is told in words; an unknown one by its name."""
    said = told(
        ADMITTED,
        event("StepSucceeded", Step.RENDER, 1),
        event("StepPending", Step.WAIT_HEALTHY, 2, message="Pod api starts"),
        event("StepErrored", Step.VALIDATE, 3, message="no answer"),
        event("StepFailed", Step.VERIFY, 4, message="answered 500"),
        event("DeadlineReached", Step.GATE, 5),
        event("GateRefused", Step.GATE, 6, message="sam rejected it"),
        event("AppliedChanged", Step.GATE, 7),
        event("ClockStopped", Step.GATE, 8),
        event("Superseded", Step.GATE, 8, message="calm-lake"),
        event("AbortRequested", Step.GATE, 9, by="alex"),
        event("AbortRequested", Step.GATE, 10),
        event("RollbackRequested", Step.APPLY, 11, by="alex"),
        event("Invented", Step.APPLY, 12, message="why"),
        event("StepSucceeded", None, 13),
    )

    assert said == [
        "It was admitted and began",
        "Render succeeded",
        "WaitHealthy is not done yet: Pod api starts",
        "Validate could not find out: no answer; it is tried again",
        "Verify failed: answered 500",
        "Gate reached its deadline",
        "A gate refused it: sam rejected it",
        "What the stage runs changed meanwhile; it is validated again",
        "It is kept waiting; its deadline stands still",
        "A newer release takes over: calm-lake",
        "alex asked to end it",
        "gitopsd asked to end it",
        "alex asked for another target",
        "Invented: why",
        "It succeeded",
    ]


def test_repetitions_are_counted_instead_of_repeated() -> None:
    """The same sentence of the same step in a row is one line."""
    waits = tuple(event("StepPending", Step.WAIT_HEALTHY, minute, message="a") for minute in (1, 2))
    other = event("StepPending", Step.VERIFY, 3, message="a")

    lines = tell_story((ADMITTED, *waits, other))

    assert [(line.text, line.times) for line in lines] == [
        ("It was admitted and began", 1),
        ("WaitHealthy is not done yet: a", 2),
        ("Verify is not done yet: a", 1),
    ]
    assert lines[1].at == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    "run,summary",
    [
        (
            run_at(RunKind.ROLLOUT, Step.APPLY),
            "Rollout of r-7 to shop/production is Running in Apply",
        ),
        (
            run_at(RunKind.ROLLBACK, Phase.PENDING),
            "Rollback of shop/production back to r-7 is Pending",
        ),
        (
            run_at(RunKind.SYNC, Phase.SUCCEEDED),
            "Sync of shop/production to its applied set is Succeeded",
        ),
        (
            replace(
                run_at(RunKind.ROLLOUT, Phase.FAILED),
                failure=Failure("CrashLoopBackOff", "Deployment api crashes"),
            ),
            "Rollout of r-7 to shop/production is Failed: Deployment api crashes",
        ),
    ],
)
def test_the_summary_is_one_sentence(run: Run, summary: str) -> None:
    """What, where to, how it stands, and why."""
    assert summarise(run) == summary
