"""What can happen to a run. Past tense; every event carries its own time.

Theory: outcomes of a command (`Step*`) name the command they answer; one that names another
command is stale and changes nothing. Everything else comes from people, deadlines and slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import AbortReason, CommandId, LastLook, RunId, Step
from gitopsd.domain.verifications import RestoreTarget, StallReason


@dataclass(frozen=True, slots=True)
class RunAdmitted:
    """The run was let into its slot.

    Attributes:
        at: When.
        timeouts: How long each step may take, from the application file it was admitted under.
    """

    at: datetime
    timeouts: tuple[tuple[Step, timedelta], ...] = ()


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """The outstanding command did its step.

    Attributes:
        at: When.
        command: Which command.
        rendered: Render's product.
        plan: Diff's product.
        plan_empty: Diff: whether the plan changes nothing.
        plan_base: Diff: applied set that the plan was made against; None for an empty stage.
        applied_verified: Diff: whether what the stage runs is verified.
        restore: Gate: what a failure will restore, when there is something.
        no_restore: Gate: why there is nothing; one of both is set when Gate succeeds.
    """

    at: datetime
    command: CommandId
    rendered: Digest | None = None
    plan: Digest | None = None
    plan_empty: bool = False
    plan_base: Digest | None = None
    applied_verified: bool = False
    restore: RestoreTarget | None = None
    no_restore: StallReason | None = None


@dataclass(frozen=True, slots=True)
class StepPending:
    """The step goes on later: it waits for something or has worked long enough in one go.

    Attributes:
        at: When.
        command: Which command.
        retry_after: When to look again.
        last_look: What this look said.
        cursor: Where to go on.
        message: What it waits for.
        failing: Whether this look saw a failing signal (a crash in its grace period, say), which
            is more than not being healthy yet.
        locked_out: Whether the cluster let us ask nothing, since it refuses our credential or we
            its certificate: only a person can change that.
        lasts: How long the step may last from its beginning, as it is known by now; None when
            what was configured holds. A step is given more, never less.
    """

    at: datetime
    command: CommandId
    retry_after: timedelta
    last_look: LastLook = LastLook.NONE
    cursor: str = ""
    message: str = ""
    failing: bool = False
    locked_out: bool = False
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StepErrored:
    """Something outside could not be asked, or gitopsd has a bug; no verdict.

    Attributes:
        at: When.
        command: Which command.
        reason: PascalCase word.
        message: One sentence.
        retryable: Whether asking again can help.
        retry_after: When the other side wants to be asked again.
        limit: Attempts after which it is given up before the deadline.
        cursor: Where to go on.
        locked_out: Whether the cluster let us ask nothing, since it refuses our credential or we
            its certificate: only a person can change that.
    """

    at: datetime
    command: CommandId
    reason: str
    message: str
    retryable: bool = True
    retry_after: timedelta | None = None
    limit: int = 1000
    cursor: str = ""
    locked_out: bool = False


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A definite verdict against the release.

    Attributes:
        at: When.
        command: Which command.
        reason: PascalCase word.
        message: One sentence with the object's kind and name and the cause.
        unwritten: Prepare: whether it is certain that the run has written nothing, not even in an
            attempt before this one.
    """

    at: datetime
    command: CommandId
    reason: str
    message: str
    unwritten: bool = False


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The current step's time is over.

    Attributes:
        at: When; at or after the run's ``step_deadline``.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class GateRefused:
    """A gate can never open for this run, or a person rejected the plan.

    Attributes:
        at: When.
        reason: Who or what refused.
    """

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalComplete:
    """No approval is missing at the Gate any more: all were given, or none is asked for.

    Attributes:
        at: When.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class ClockStopped:
    """A freeze or a shut window has the run wait, at its Gate or before Apply.

    Its deadline stands still.

    Attributes:
        at: When.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class ClockStarted:
    """Nothing of that kind has the run wait any more: its deadline counts again.

    Attributes:
        at: When.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class AppliedChanged:
    """What the stage has is no longer what the run was checked against.

    Another set was commanded, or has just been written.

    Attributes:
        at: When.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer release takes over.

    Attributes:
        at: When.
        by: Its run.
        by_alias: How people call its release, for the sentence.
        vote_standing: Whether a vote has been given for the run that would be replaced.
        failing: WaitHealthy: whether the run shows a failing signal.
        protected: Two Rollouts in a row were superseded in WaitHealthy: only a failing one is now.
    """

    at: datetime
    by: RunId
    by_alias: str = ""
    vote_standing: bool = False
    failing: bool = False
    protected: bool = False


@dataclass(frozen=True, slots=True)
class AbortRequested:
    """A person, or a removed stage, ends the run.

    Attributes:
        at: When.
        by: Who asked.
        restore: Whether what was last verified is to be restored.
        reason: Requested by a person, StageRemoved, or Quarantined (its bytes may not be admitted).
        message: One clause for the sentence.
    """

    at: datetime
    by: str
    restore: bool = False
    reason: AbortReason = AbortReason.REQUESTED
    message: str = ""


@dataclass(frozen=True, slots=True)
class RollbackRequested:
    """A person has a verified set restored instead of what a run under way brings.

    Attributes:
        at: When.
        by: Who asked.
        target: What to restore instead.
    """

    at: datetime
    by: str
    target: RestoreTarget


Event: TypeAlias = (
    RunAdmitted
    | StepSucceeded
    | StepPending
    | StepErrored
    | StepFailed
    | DeadlineReached
    | GateRefused
    | ApprovalComplete
    | ClockStopped
    | ClockStarted
    | AppliedChanged
    | Superseded
    | AbortRequested
    | RollbackRequested
)
