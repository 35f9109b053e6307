"""Runs: one attempt to bring one release to one stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NewType

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.verifications import RestoreTarget, StallReason

RunId = NewType("RunId", str)
CommandId = NewType("CommandId", str)
"""Names one outstanding ExecuteStep; an outcome that names another is stale."""


class RunKind(Enum):
    """What a run is for."""

    ROLLOUT = "Rollout"
    ROLLBACK = "Rollback"
    SYNC = "Sync"


class Phase(Enum):
    """Where a run stands. Failed is a definite verdict; Errored means it could not be found out."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ERRORED = "Errored"
    ABORTED = "Aborted"

    @property
    def terminal(self) -> bool:
        """Whether nothing can change the run any more."""
        return self not in (Phase.PENDING, Phase.RUNNING)


class Step(Enum):
    """The steps of a run, in order."""

    RENDER = "Render"
    VALIDATE = "Validate"
    DIFF = "Diff"
    GATE = "Gate"
    PREPARE = "Prepare"
    APPLY = "Apply"
    WAIT_HEALTHY = "WaitHealthy"
    VERIFY = "Verify"
    PRUNE = "Prune"
    CERTIFY = "Certify"


WRITING_STEPS = frozenset({Step.PREPARE, Step.APPLY, Step.PRUNE})
"""Steps that claim the stage's lease and fence."""


HOOK_OUTCOME_UNKNOWN = "HookOutcomeUnknown"
"""Reason of a run whose hook was started and is gone without a result: only people try again."""


class LastLook(Enum):
    """What the last look at the cluster said; a deadline is judged by it."""

    NONE = "None"
    HEALTHY = "Healthy"
    NOT_HEALTHY = "NotHealthy"
    UNKNOWN = "Unknown"


class AbortReason(Enum):
    """Why a run ended Aborted.

    Expired: the people who were asked did not agree in time. Overdue: they had, or nobody was
    asked, and another gate stayed closed for too long. GroupStopped: its release failed in other
    stages of its group, which takes it back.
    """

    SUPERSEDED = "Superseded"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    OVERDUE = "Overdue"
    REQUESTED = "Requested"
    REDIRECTED = "Redirected"
    QUARANTINED = "Quarantined"
    STAGE_REMOVED = "StageRemoved"
    GROUP_STOPPED = "GroupStopped"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not succeed.

    Attributes:
        reason: PascalCase word, e.g. ``CrashLoopBackOff``, ``DeadlineExceeded``, ``Superseded``.
        message: One sentence with the object's kind and name and the cause in the cluster's words.
        step: Where it happened; None when no step had begun.
    """

    reason: str
    message: str
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The state of one run; changed only by `pipeline.machine.decide`.

    Attributes:
        id: Its id.
        stage: Where it goes.
        release: What it brings.
        kind: Rollout, Rollback or Sync.
        phase: Where it stands.
        step: Current step; None while Pending and in a run that ended before its first step.
        attempt: Attempt of the current step, from 1.
        command: The outstanding ExecuteStep; None when there is none.
        step_deadline: When the current step ends at the latest; None before the first step.
        clock_stopped_at: Since when that deadline stands still, for a freeze or a shut window has
            the run wait; None while it counts.
        started_at: When it was admitted; None while Pending.
        created_at: When it was created.
        ended_at: When it ended; None while live.
        mutated: True once Prepare or Apply was commanded: a crash hides whether it ran.
        superseded_by: Run that took over; None when none did.
        aborting: A person asked to abort after mutation; value says whether to restore.
        aborting_restore: Whether the abort restores the last verified set.
        timeouts: How long each step may take; from the application file at admission, and more
            once a step knows what its waves and hooks were promised.
        redirect: New target a person chose while a Rollback was in flight.
        ended_by: Subject who asked for its end (abort, redirect); empty when nobody did.
        spec: Revision of the application file it was admitted under.
        rendered: Rendered set it applies; None before Render.
        plan: Plan that approvals bind to; None before Diff.
        plan_empty: Whether the plan changes nothing.
        plan_base: Applied set that the plan was made against; None for an empty stage.
        approved: Gate: whether no approval is missing any more; its deadline is no longer theirs.
        restore_target: What a failure restores; stored when Prepare is commanded.
        no_restore: Why a failure restores nothing; stored with `restore_target`, one of both set.
        watched: Rollback: whether it undoes what had succeeded, within its watch window.
        requested_by: Subject who asked for it; empty when gitopsd decided.
        attempt_number: Which attempt of this release in this stage it is, from 1.
        last_look: What the last look said.
        looked_at: When that was; None when nothing was looked at in this step.
        failing: Whether it saw a failing signal, which is more than not being healthy yet.
        cursor: Where a long step goes on, in that step's own words; empty at its start.
        waiting_for: What the step last said it waits for, or why it could not ask.
        lockouts: Attempts of the step that the cluster did not let us make.
        locked_out_until: When it is asked again after such an attempt; None when the last was none.
        failure: Why it did not succeed.
        version: Grows by one with every stored change.
    """

    id: RunId
    stage: StageKey
    release: ReleaseId
    kind: RunKind
    phase: Phase = Phase.PENDING
    step: Step | None = None
    attempt: int = 1
    command: CommandId | None = None
    step_deadline: datetime | None = None
    clock_stopped_at: datetime | None = None
    started_at: datetime | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    mutated: bool = False
    superseded_by: RunId | None = None
    aborting: bool = False
    aborting_restore: bool = False
    timeouts: tuple[tuple[Step, timedelta], ...] = ()
    redirect: RestoreTarget | None = None
    ended_by: str = ""
    spec: int = 0
    rendered: Digest | None = None
    plan: Digest | None = None
    plan_empty: bool = False
    plan_base: Digest | None = None
    approved: bool = False
    restore_target: RestoreTarget | None = None
    no_restore: StallReason | None = None
    watched: bool = False
    requested_by: str = ""
    attempt_number: int = 1
    last_look: LastLook = LastLook.NONE
    looked_at: datetime | None = None
    failing: bool = False
    cursor: str = ""
    waiting_for: str = ""
    lockouts: int = 0
    locked_out_until: datetime | None = None
    failure: Failure | None = None
    version: int = 0

    @property
    def live(self) -> bool:
        """Whether the run can still change."""
        return not self.phase.terminal
