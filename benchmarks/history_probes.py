"""Events made up for a run that stands somewhere, whether or not they belong there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from benchmarks.history_world import HistoryWorld, situation_of, state_of
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import AbortReason, CommandId, LastLook, Run, RunId
from gitopsd.domain.verifications import RestoreTarget, VerificationId
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    DeadlineReached,
    Event,
    GateRefused,
    RollbackRequested,
    RunAdmitted,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)

ENOUGH: Final = 40
"""How often a situation is brought about on purpose, for each process, before chance has it."""

_OTHER = RestoreTarget(VerificationId("v-0"), ReleaseId("r-0"), Digest("sha256:other"), 1)
_FOREIGN = RunId("run-0")
_SOON = timedelta(seconds=5)

_Make = Callable[[Run, CommandId, HistoryWorld], Event]
_ANYTHING: Final[Mapping[type[Event], _Make]] = {
    RunAdmitted: lambda _run, _command, world: RunAdmitted(world.now),
    StepSucceeded: lambda run, command, world: StepSucceeded(
        world.now, command, plan_empty=run.version % 2 == 0, applied_verified=run.version % 3 == 0
    ),
    StepPending: lambda run, command, world: StepPending(
        world.now, command, _SOON, LastLook.NOT_HEALTHY, locked_out=run.version % 2 == 0
    ),
    StepErrored: lambda run, command, world: StepErrored(
        world.now, command, "Unavailable", "no answer", limit=1 + run.version % 2
    ),
    StepFailed: lambda run, command, world: StepFailed(
        world.now, command, "CrashLoopBackOff", "it crashes", unwritten=run.version % 2 == 0
    ),
    DeadlineReached: lambda run, _command, world: DeadlineReached(
        run.step_deadline if run.step_deadline and run.version % 4 else world.now
    ),
    GateRefused: lambda _run, _command, world: GateRefused(world.now, "rejected by maria"),
    ApprovalComplete: lambda _run, _command, world: ApprovalComplete(world.now),
    ClockStopped: lambda _run, _command, world: ClockStopped(world.now),
    ClockStarted: lambda _run, _command, world: ClockStarted(world.now),
    AppliedChanged: lambda _run, _command, world: AppliedChanged(world.now),
    Superseded: lambda run, _command, world: Superseded(
        world.now, _FOREIGN, vote_standing=run.version % 2 == 0, protected=run.version % 3 == 0
    ),
    AbortRequested: lambda run, _command, world: AbortRequested(
        world.now, "maria", restore=run.version % 2 == 0, reason=_reason(run)
    ),
    RollbackRequested: lambda _run, _command, world: RollbackRequested(world.now, "maria", _OTHER),
}


ANYTHINGS: Final = tuple(_ANYTHING.values())


def ask_what_is_rare(world: HistoryWorld, run: Run) -> None:
    """Tell a run what was not heard often where it stands."""
    state = state_of(run)
    if state in world.known:
        return
    rare = [event for event in _ANYTHING if world.hits[situation_of(run, event)] < ENOUGH]
    for event in rare:
        world.ask(run, _ANYTHING[event](run, run.command or CommandId("none"), world))
    if not rare:
        world.known.add(state)


class PlayedWorld(HistoryWorld):
    """A world that is asked about runs before they begin, too."""

    def admit(self, run: Run) -> None:
        """Lets a Pending run begin."""
        ask_what_is_rare(self, run)
        super().admit(run)


def _reason(run: Run) -> AbortReason:
    removed = run.version % 5 == 0
    return AbortReason.STAGE_REMOVED if removed else AbortReason.REQUESTED
