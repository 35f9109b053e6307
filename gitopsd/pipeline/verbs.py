"""What people can do to stages and runs, where one can stand, and what an answer is.

The answers themselves are in `verb_table`. `gitopsd.engine.verb_checks` goes by them before it
does anything, and docs/verbs.md is written from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.runs import RunKind, Step
from gitopsd.pipeline.steps import STEP_ORDER


class Verb(Enum):
    """What a person can do."""

    ABORT = "Abort"
    LEAVE = "Leave"
    RETRY = "Retry"
    APPROVE = "Approve"
    REJECT = "Reject"
    SKIP = "Skip"
    PROMOTE = "Promote"
    ROLLBACK = "Rollback"
    SYNC = "Sync"
    REVERIFY = "Reverify"
    ADOPT = "Adopt"
    SUSPEND = "Suspend"
    RESUME = "Resume"
    FREEZE = "Freeze"
    THAW = "Thaw"
    LIFT = "Lift"


COMMANDS: Mapping[Verb, str] = {
    Verb.ABORT: "gitopsd abort RUN",
    Verb.LEAVE: "gitopsd abort RUN --leave",
    Verb.RETRY: "gitopsd retry RUN",
    Verb.APPROVE: "gitopsd approve RUN",
    Verb.REJECT: "gitopsd reject RUN",
    Verb.SKIP: "gitopsd skip RUN GATE --reason WHY",
    Verb.PROMOTE: "gitopsd promote APPLICATION STAGE RELEASE",
    Verb.ROLLBACK: "gitopsd rollback APPLICATION STAGE --to RELEASE",
    Verb.SYNC: "gitopsd sync APPLICATION STAGE",
    Verb.REVERIFY: "gitopsd reverify APPLICATION STAGE",
    Verb.ADOPT: "gitopsd adopt APPLICATION STAGE",
    Verb.SUSPEND: "gitopsd suspend APPLICATION STAGE",
    Verb.RESUME: "gitopsd resume APPLICATION STAGE",
    Verb.FREEZE: "gitopsd freeze stage:APPLICATION/STAGE",
    Verb.THAW: "gitopsd thaw FREEZE",
    Verb.LIFT: "gitopsd quarantine lift QUARANTINE",
}
"""How each verb is typed."""

RUN_VERBS = frozenset({Verb.ABORT, Verb.LEAVE, Verb.RETRY, Verb.APPROVE, Verb.REJECT, Verb.SKIP})
"""Verbs that name a run; the others are about a stage, or something that holds one."""


class Situation(Enum):
    """Where a stage, or the run that a verb names, can stand.

    First where a run is that goes on, then how the last one ended, then what can be the matter
    with a stage besides; of those several may hold at once.
    """

    NOTHING = "Nothing"
    ROLLOUT_PENDING = "RolloutPending"
    ROLLOUT_RENDER = "RolloutRender"
    ROLLOUT_VALIDATE = "RolloutValidate"
    ROLLOUT_DIFF = "RolloutDiff"
    ROLLOUT_GATE = "RolloutGate"
    ROLLOUT_PREPARE = "RolloutPrepare"
    ROLLOUT_APPLY = "RolloutApply"
    ROLLOUT_WAIT_HEALTHY = "RolloutWaitHealthy"
    ROLLOUT_VERIFY = "RolloutVerify"
    ROLLOUT_PRUNE = "RolloutPrune"
    ROLLOUT_CERTIFY = "RolloutCertify"
    ROLLBACK_PENDING = "RollbackPending"
    ROLLBACK_PREPARE = "RollbackPrepare"
    ROLLBACK_APPLY = "RollbackApply"
    ROLLBACK_WAIT_HEALTHY = "RollbackWaitHealthy"
    ROLLBACK_VERIFY = "RollbackVerify"
    ROLLBACK_PRUNE = "RollbackPrune"
    ROLLBACK_CERTIFY = "RollbackCertify"
    SYNC_PENDING = "SyncPending"
    SYNC_APPLY = "SyncApply"
    SYNC_WAIT_HEALTHY = "SyncWaitHealthy"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ERRORED = "Errored"
    ABORTED = "Aborted"
    ROLLBACK_ENDED = "RollbackEnded"
    DISAGREES = "Disagrees"
    SYNC_ENDED = "SyncEnded"
    RETIRED = "Retired"
    FOREIGN = "Foreign"
    RESTORED = "Restored"
    CALLED = "Called"
    QUARANTINED = "Quarantined"
    STALLED = "Stalled"
    UNVERIFIED = "Unverified"
    FROZEN = "Frozen"
    SUSPENDED = "Suspended"
    HELD = "Held"


def position_of_step(kind: RunKind, step: Step | None) -> Situation:
    """Name where a run that goes on stands; None means that it is Pending."""
    return Situation(f"{kind.value}{step.value if step is not None else 'Pending'}")


def positions_of_kind(kind: RunKind) -> tuple[Situation, ...]:
    """List where a run of this kind can stand while it goes on, in order."""
    steps = (None, *STEP_ORDER[kind])
    return tuple(position_of_step(kind, step) for step in steps)


MEANINGS: Mapping[Situation, str] = {
    Situation.NOTHING: "nothing was brought to the stage yet",
    Situation.SUCCEEDED: "the last Rollout ended Succeeded, and the stage runs its release",
    Situation.FAILED: "the last Rollout ended Failed before it had bytes to quarantine",
    Situation.ERRORED: "the last Rollout ended Errored before it wrote",
    Situation.ABORTED: "the last Rollout ended Aborted before it wrote",
    Situation.ROLLBACK_ENDED: "the last run was a Rollback and has ended",
    Situation.DISAGREES: "the last run was a Rollback, and Git was left to a person",
    Situation.SYNC_ENDED: "the last run was a Sync and has ended",
    Situation.FROZEN: "a freeze covers the stage; a run waits at its Gate",
    Situation.SUSPENDED: "the stage is suspended; a run waits at its Gate",
    Situation.HELD: "a person went back, or asked for an older release; a newer one waits",
    Situation.UNVERIFIED: "a run ended Aborted after it wrote, and what it wrote was left",
    Situation.STALLED: "a person is called, newer releases may come (`Unreachable`, `Manual` ...)",
    Situation.CALLED: (
        "a person is called, and newer releases wait for it (`RollbackFailed`, `RollbackLoop`, "
        "`ClusterTrouble`)"
    ),
    Situation.RESTORED: "the database was restored from an older copy (`RestoredDatabase`)",
    Situation.FOREIGN: "another installation holds the stage's inventory (`Inventory`)",
    Situation.QUARANTINED: "what the stage has failed, is quarantined and was not restored",
    Situation.RETIRED: "the stage left the configuration",
}
"""What a situation is, where its name alone does not say it."""


class Sequel(Enum):
    """What follows when a verb is let through."""

    ENDS = "EndsAtOnce"
    RESTORES = "EndsAndRestores"
    LEAVES = "EndsAndLeaves"
    ASKED_AGAIN = "AskedAgain"
    AGAIN = "BroughtAgain"
    BEGINS = "BeginsAtOnce"
    COMMITTED = "Committed"
    VOTED = "Voted"
    REJECTED = "Rejected"
    SKIPPED = "Skipped"
    WANTED = "Wanted"
    GOES_BACK = "GoesBack"
    REDIRECTED = "Redirected"
    APPLIED_AGAIN = "AppliedAgain"
    CHECKED = "Checked"
    TAKEN_OVER = "TakenOver"
    SUSPENDED = "Suspended"
    GOES_ON = "GoesOn"
    FROZEN = "Frozen"
    THAWED = "Thawed"
    LIFTED = "Lifted"


SEQUELS: Mapping[Sequel, str] = {
    Sequel.ENDS: "the run ends Aborted at once; it has written nothing",
    Sequel.RESTORES: (
        "the run ends Aborted when its work in flight reports, and what was verified last is "
        "restored"
    ),
    Sequel.LEAVES: (
        "the run ends Aborted when its work in flight reports; what it wrote is left as it is"
    ),
    Sequel.ASKED_AGAIN: "its gates that ask outside are asked again at once, if it has any",
    Sequel.AGAIN: "a new run brings its release again, at once",
    Sequel.BEGINS: "the Rollback begins at once",
    Sequel.COMMITTED: "the commit that makes Git agree is tried again at once",
    Sequel.VOTED: "the vote counts for this plan; the run goes on when every gate is open",
    Sequel.REJECTED: "the run ends Aborted (Rejected)",
    Sequel.SKIPPED: "the gate is open for this plan",
    Sequel.WANTED: (
        "the release comes before all others, when it may; one that is older than what the stage "
        "runs sets a hold"
    ),
    Sequel.GOES_BACK: "a Rollback begins at once, and a hold is set",
    Sequel.REDIRECTED: (
        "the run ends Aborted (Redirected) when its work in flight reports, a Rollback to the "
        "release follows, and a hold is set"
    ),
    Sequel.APPLIED_AGAIN: "a Sync applies the applied set again",
    Sequel.CHECKED: "the checks of what the stage runs are made again at once; nothing is applied",
    Sequel.TAKEN_OVER: "the inventory is this installation's from now on, and the stage goes on",
    Sequel.SUSPENDED: "no Rollout is admitted, and none leaves its Gate, until `gitopsd resume`",
    Sequel.GOES_ON: (
        "suspension, hold, stall and a held rewind are lifted; what waits is tried again at once"
    ),
    Sequel.FROZEN: "nothing begins to write in the scope until it is thawed; rollbacks do",
    Sequel.THAWED: "the freeze ends, and what waited for it goes on",
    Sequel.LIFTED: "the bytes may be admitted again",
}
"""What follows, in one clause for people."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A verb is let through.

    Attributes:
        then: What follows.
        decides: Whether it is let through whatever else is the matter.
    """

    then: Sequel
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A verb is refused.

    Attributes:
        sentence: Why, and the command that would help, with ``{run}``, ``{application}`` and other
            words of `WORDS` in it.
        status: HTTP status that fits.
    """

    sentence: str
    status: int = 409


Answer: TypeAlias = Allowed | Refused

WORDS = frozenset(
    {"run", "phase", "step", "why", "release", "application", "name", "stage", "stages", "front"}
    | {"stall", "freeze", "frozen", "quarantine", "failed", "target"}
)
"""What a sentence can name: ``stage`` is APPLICATION/STAGE and ``name`` the stage's own name."""
