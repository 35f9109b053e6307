"""What stands in line for a stage: what is written now, what comes next, and what keeps the rest.

There is one order, that of the last offers, and what a person asked for before it. A release that
is not taken as things are has no position; it says why instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from gitopsd.domain.gates import Closed, GateState
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import Run, RunId, RunKind, Step
from gitopsd.pipeline.facts import SelectionFacts
from gitopsd.pipeline.selection import list_candidates, select

LONGEST = 20
"""Entries that are shown; what stands further back is history soon."""


class Place(Enum):
    """Where an entry stands."""

    FRONT = "Front"
    """It may write."""
    NEXT = "Next"
    """It is made ready, or stands at its Gate."""
    WAITING = "Waiting"
    """It is taken when what is before it does not stand in its way any more."""
    KEPT_OUT = "KeptOut"
    """It is not taken as things are."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One entry of a stage's queue.

    Attributes:
        position: From 1; None for what is not taken as things are.
        place: Where it stands.
        release: The release.
        reason: What it does, or what it waits for, in one clause.
        run: Its run; None while it has none.
    """

    position: int | None
    place: Place
    release: ReleaseId
    reason: str
    run: RunId | None = None


def compute_queue(facts: SelectionFacts, gates: Iterable[GateState] = ()) -> tuple[QueueEntry, ...]:
    """List what stands in line for a stage, in the order in which it would be taken.

    Args:
        facts: As for `select`.
        gates: What the gates of the run in *next* answered last.
    """
    entries: list[QueueEntry] = []
    for place, run in ((Place.FRONT, facts.front_run), (Place.NEXT, facts.next_run)):
        if run is not None and run.live:
            said = _say_run(run, gates if place is Place.NEXT else ())
            entries.append(QueueEntry(len(entries) + 1, place, run.release, said, run.id))
    choice, before = select(facts), len(entries)
    waiting: list[ReleaseId] = []
    for release, obstacle in list_candidates(facts):
        if obstacle:
            entries.append(QueueEntry(None, Place.KEPT_OUT, release, obstacle))
            continue
        reason = f"taken only when {waiting[0]} is not" if waiting else choice.reason
        waiting.append(release)
        number = before + len(waiting)
        entries.append(QueueEntry(number, Place.WAITING, release, reason))
    return tuple(entries[:LONGEST])


def _say_run(run: Run, gates: Iterable[GateState]) -> str:
    closed = [state for state in gates if isinstance(state.answer, Closed)]
    if run.step is Step.GATE and closed:
        return "; ".join(f"{state.name}: {state.answer.reason}" for state in closed)
    verb = {
        RunKind.ROLLOUT: "being brought",
        RunKind.ROLLBACK: "being restored",
        RunKind.SYNC: "being applied again",
    }[run.kind]
    where = run.step.value if run.step is not None else run.phase.value
    return f"{verb}: {where}"
