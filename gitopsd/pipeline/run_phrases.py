"""What is known of one run, and the clauses that all that is said of it has in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitopsd.domain.agreements import Agreement
from gitopsd.domain.gates import GateState
from gitopsd.domain.runs import Run, RunKind
from gitopsd.domain.stages import Stall
from gitopsd.domain.verifications import Quarantine
from gitopsd.pipeline.explanation import Foresight, Ignored, Wait
from gitopsd.pipeline.explanation_text import say_moment


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run.

    Attributes:
        now: When it was read.
        run: The run.
        name: How people call its release: ``calm-lake (r-7)``.
        since: Since when it is in its step; None when that is not known.
        gates: What its gates say now; empty unless it stands at its Gate or before Apply.
        opens_at: First moment at which those of its gates that go by the clock are open; None when
            they do not open by themselves.
        foresight: What they would say at the time that was asked for.
        target: How people call what a failure restores; empty when nothing is.
        cluster: Cluster that it writes to.
        successor: The run that took over, or the next attempt; None when there is none.
        rollback: The Rollback that followed it; None when none did.
        undone: Rollback: the run whose work it undoes; None for every other kind.
        agreement: How far Git agrees with a Rollback that succeeded; None where none is asked for.
        quarantine: Quarantine in force of what it brought, or of what it undoes; None when there is
            none.
        stall: Why a person is called for the stage; None when nobody is.
        ignored: What happened to it and changed nothing, newest first.
    """

    now: datetime
    run: Run
    name: str
    since: datetime | None = None
    gates: tuple[GateState, ...] = ()
    opens_at: datetime | None = None
    foresight: Foresight | None = None
    target: str = ""
    cluster: str = ""
    successor: Run | None = None
    rollback: Run | None = None
    undone: Run | None = None
    agreement: Agreement | None = None
    quarantine: Quarantine | None = None
    stall: Stall | None = None
    ignored: tuple[Ignored, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a run in one state.

    Attributes:
        because: Why it stands so, the cause first.
        following: What happens next.
        waiting_for: What it waits for.
    """

    because: tuple[str, ...]
    following: str
    waiting_for: tuple[Wait, ...] = ()


def say_what(facts: RunFacts) -> str:
    """Say what a run is for."""
    run = facts.run
    return {
        RunKind.ROLLOUT: f"{facts.name} to {run.stage}",
        RunKind.ROLLBACK: f"the rollback of {run.stage} to {facts.name}",
        RunKind.SYNC: f"applying {facts.name} to {run.stage} again",
    }[run.kind]


def say_cause(facts: RunFacts) -> tuple[str, ...]:
    """Say why a Rollback is: what failed, or who asked for it; nothing for every other kind."""
    run, undone = facts.run, facts.undone
    asked = (f"{run.requested_by} asked for it",) if run.requested_by else ()
    if undone is None:
        return asked if run.kind is RunKind.ROLLBACK else ()
    if undone.failure is not None:
        step = f" in {undone.failure.step.value}" if undone.failure.step is not None else ""
        return (*asked, f"{undone.id} ended {undone.phase.value}{step}: {undone.failure.message}")
    if facts.quarantine is not None:
        return (*asked, f"{undone.id} failed later: {facts.quarantine.reason}")
    return asked


def say_where(facts: RunFacts) -> str:
    """Say where a live run stands."""
    run = facts.run
    step = run.step.value if run.step is not None else run.phase.value
    return f"{say_what(facts)} is in {step}, attempt {run.attempt}"


def say_limit(facts: RunFacts) -> str:
    """Say when its step is over at the latest."""
    deadline = facts.run.step_deadline
    return f"; at the latest at {say_moment(deadline, facts.now)}" if deadline else ""
