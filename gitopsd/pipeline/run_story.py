"""What happened to a run, told from its log: its steps with their times, a line for each event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import RunEvent


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One stay of a run in one step.

    Attributes:
        step: The step.
        state: ``Running``, ``Succeeded``, ``Failed``, ``Errored``, ``Aborted``, or ``Redone`` when
            the run went back because what it was compared with had changed.
        started_at: When it began.
        ended_at: When it ended; None while it runs.
        attempts: How often it was tried.
    """

    step: Step
    state: str
    started_at: datetime | None
    ended_at: datetime | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One sentence of a run's story.

    Attributes:
        at: When.
        step: Step the run was in.
        text: The sentence.
        times: How often it happened in a row.
    """

    at: datetime
    step: Step | None
    text: str
    times: int = 1


def compute_steps(run: Run, events: tuple[RunEvent, ...]) -> tuple[StepRecord, ...]:
    """Work out when a run was in which step; ``events`` oldest first."""
    found: list[StepRecord] = []
    began: datetime | None = None
    for event in events:
        if event.step is None:
            began = event.at
            continue
        if not found or found[-1].ended_at is not None or found[-1].step is not event.step:
            found.append(StepRecord(event.step, "Running", began or event.at))
        if event.name == "StepErrored":
            found[-1] = replace(found[-1], attempts=found[-1].attempts + 1)
        state = _ended_as(event)
        if state:
            found[-1] = replace(found[-1], state=state, ended_at=event.at)
            began = event.at
    if run.live and run.step is not None and (not found or found[-1].ended_at is not None):
        found.append(StepRecord(run.step, "Running", began, attempts=run.attempt))
    return tuple(found)


def _ended_as(event: RunEvent) -> str:
    """Tell how an event ended its step; empty when it did not."""
    if event.name == "StepSucceeded":
        return "Succeeded"
    if event.name == "AppliedChanged":
        return "Redone"
    phase = Phase(event.phase)
    return phase.value if phase.terminal else ""


def tell_story(events: tuple[RunEvent, ...]) -> tuple[StoryLine, ...]:
    """Tell what happened, oldest first; what is repeated is counted."""
    lines: list[StoryLine] = []
    for event in events:
        text = _tell(event)
        if lines and lines[-1].text == text and lines[-1].step is event.step:
            lines[-1] = replace(lines[-1], times=lines[-1].times + 1)
        else:
            lines.append(StoryLine(event.at, event.step, text))
    return tuple(lines)


def summarise(run: Run) -> str:
    """Say in one sentence what a run is, how it stands, and why."""
    what = {
        RunKind.ROLLOUT: f"{run.release} to {run.stage}",
        RunKind.ROLLBACK: f"{run.stage} back to {run.release}",
        RunKind.SYNC: f"{run.stage} to its applied set",
    }[run.kind]
    why = f": {run.failure.message}" if run.failure is not None else ""
    where = f" in {run.step.value}" if run.live and run.step is not None else ""
    return f"{run.kind.value} of {what} is {run.phase.value}{where}{why}"


_SENTENCES = {
    "RunAdmitted": "It was admitted and began",
    "StepSucceeded": "{step} succeeded{said}",
    "StepPending": "{step} is not done yet{said}",
    "StepErrored": "{step} could not find out{said}; it is tried again",
    "StepFailed": "{step} failed{said}",
    "DeadlineReached": "{step} reached its deadline{said}",
    "GateRefused": "A gate refused it{said}",
    "ApprovalComplete": "No approval is missing; its other gates have a week",
    "ClockStopped": "It is kept waiting; its deadline stands still",
    "ClockStarted": "Nothing keeps it waiting any more; its deadline counts again",
    "AppliedChanged": "What the stage runs changed meanwhile; it is validated again",
    "Superseded": "A newer release takes over{said}",
    "AbortRequested": "{who} asked to end it{said}",
    "RollbackRequested": "{who} asked for another target{said}",
}
"""How each event of a run is told."""


def _tell(event: RunEvent) -> str:
    sentence = _SENTENCES.get(event.name, event.name + "{said}")
    return sentence.format(
        step=event.step.value if event.step is not None else "It",
        said=f": {event.message}" if event.message else "",
        who=str(event.details.get("by") or "gitopsd"),
    )
