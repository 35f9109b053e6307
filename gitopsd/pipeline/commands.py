"""What the machine wants done. Imperative; data only.

`ExecuteStep` and `Notify` leave the transaction through the outbox. All others are done by
`gitopsd.engine.advance` inside the transaction that stores the new state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.runs import CommandId, RunId, Step
from gitopsd.domain.verifications import RestoreTarget, StallReason


@dataclass(frozen=True, slots=True)
class ExecuteStep:
    """Do one step of the run.

    Attributes:
        id: Name of this command; the outcome must carry it.
        run: Which run.
        step: Which step.
        attempt: Which attempt of the step.
        delay: How long to wait first.
    """

    id: CommandId
    run: RunId
    step: Step
    attempt: int = 1
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class RecordVerified:
    """Store that the run's rendered set was verified in its stage."""

    run: RunId


@dataclass(frozen=True, slots=True)
class AgreeInGit:
    """Make Git say what the Rollback restored, if the stage's policy wants that."""

    run: RunId


@dataclass(frozen=True, slots=True)
class StoreQuarantine:
    """Quarantine what the run rendered; images alone too, when they are all that changed."""

    run: RunId
    reason: str


@dataclass(frozen=True, slots=True)
class StartRollback:
    """Start a run of kind Rollback.

    Attributes:
        run: The run that ended.
        target: What to restore.
        delay: How long to wait first.
        again: True when this retries a Rollback that ended Errored.
        requested_by: Subject who asked; empty when gitopsd decided.
    """

    run: RunId
    target: RestoreTarget
    delay: timedelta = timedelta(0)
    again: bool = False
    requested_by: str = ""


@dataclass(frozen=True, slots=True)
class MarkStalled:
    """Call a person for the stage: whoever does it also sends ``on-stalled``, once a cause."""

    run: RunId
    reason: StallReason
    message: str


class Scope(Enum):
    """Which stages to reconsider."""

    STAGE = "Stage"
    STAGE_AND_DOWNSTREAM = "StageAndDownstream"


@dataclass(frozen=True, slots=True)
class Reconsider:
    """Run selection again.

    Attributes:
        run: The run whose stage is meant.
        scope: The stage alone, or those after it too.
        delay: How long to wait first.
    """

    run: RunId
    scope: Scope = Scope.STAGE
    delay: timedelta = timedelta(0)


class Trigger(Enum):
    """What notifications can be subscribed to."""

    RELEASE_CREATED = "on-release-created"
    RUN_STARTED = "on-run-started"
    RUN_ABORTED = "on-run-aborted"
    RUN_ERRORED = "on-run-errored"
    APPROVAL_REQUESTED = "on-approval-requested"
    DEPLOYED = "on-deployed"
    VERIFICATION_FAILED = "on-verification-failed"
    HEALTH_DEGRADED = "on-health-degraded"
    PROMOTED = "on-promoted"
    ROLLBACK_STARTED = "on-rollback-started"
    ROLLBACK_SUCCEEDED = "on-rollback-succeeded"
    ROLLBACK_FAILED = "on-rollback-failed"
    GIT_AGREES = "on-git-agrees"
    GIT_DISAGREES = "on-git-disagrees"
    DRIFT_DETECTED = "on-drift-detected"
    FROZEN = "on-frozen"
    STALLED = "on-stalled"


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the channels.

    Attributes:
        run: The run it is about.
        trigger: Which subscription it matches.
        message: One sentence.
    """

    run: RunId
    trigger: Trigger
    message: str


Command: TypeAlias = (
    ExecuteStep
    | RecordVerified
    | AgreeInGit
    | StoreQuarantine
    | StartRollback
    | MarkStalled
    | Reconsider
    | Notify
)
