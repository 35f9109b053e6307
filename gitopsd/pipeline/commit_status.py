"""Is my commit live? One answer a stage, from what is stored and last seen.

``Live`` is only said when the applied, verified release is this commit, contains it in Git history,
or renders the same bytes, and a look at its objects that is recent enough agreed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from gitopsd.domain.gates import Closed, GateState, Refused
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.stages import Observation, Stage
from gitopsd.domain.verifications import Quarantine


class CommitState(Enum):
    """Where a commit stands in one stage."""

    NOT_SEEN = "NotSeen"
    WAITING = "Waiting"
    RUNNING = "Running"
    LIVE = "Live"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    QUARANTINED = "Quarantined"
    SUPERSEDED = "Superseded"
    HELD = "Held"
    NOT_CONCERNED = "NotConcerned"

    @property
    def terminal(self) -> bool:
        """Whether waiting longer cannot change it by itself."""
        return self not in (
            CommitState.NOT_SEEN,
            CommitState.WAITING,
            CommitState.RUNNING,
            CommitState.HELD,
        )


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What is known of one commit and one stage.

    Attributes:
        key: The stage.
        release: Release that the commit made, or whose inputs it leaves as they are; None when
            the commit was never a head of the stage's line.
        stage: The stage as stored; None before it was.
        running: Release that the stage runs verified; None when it runs nothing verified.
        running_is_newer: Whether that release was offered after the commit's own.
        newest: Whether the release is the line's newest, or the line has none.
        through: Whether the release is a newer one that has the commit in its history.
        contained: Whether that release's commit has this one in its history.
        same_commit: Whether that release is of this very commit, with whatever images.
        same_bytes: Whether both releases rendered to the same set here.
        run: The last run of the commit's release here; None when there was none.
        rollback: The Rollback that followed that run, the last one when it was tried again; None
            when none did.
        quarantine: Quarantine in force that the release's bytes fall under.
        gates: What the gates of its waiting run answered last.
        observation: The last look at live objects.
        fresh: Whether that look is recent enough to be quoted.
        live_since: Since when the running release is verified; None when nothing is.
        reads_nothing: Whether no stage reads anything that the commit changed.
        stopped: Why the stage's group took the release back; empty when it did not.
    """

    key: StageKey
    release: ReleaseId | None
    stage: Stage | None
    running: ReleaseId | None = None
    running_is_newer: bool = False
    newest: bool = True
    through: bool = False
    contained: bool = False
    same_commit: bool = False
    same_bytes: bool = False
    run: Run | None = None
    rollback: Run | None = None
    quarantine: Quarantine | None = None
    gates: tuple[GateState, ...] = ()
    observation: Observation | None = None
    fresh: bool = False
    live_since: datetime | None = None
    reads_nothing: bool = False
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """The answer for one stage.

    Attributes:
        key: The stage.
        state: Where the commit stands.
        release: The release that carries it; None when there is none.
        exact: Live: whether it is this commit itself, not one that contains or equals it.
        since: Since when; None when that is not known.
        observed_at: When live objects were last looked at; None when never.
        reason: One sentence.
        waiting_for: What must happen next; empty when nothing.
        run: The run it is about; None when there is none.
        overtaken: Whether another release took this one's place, so that what becomes of the
            commit is decided by the newest release that contains it.
    """

    key: StageKey
    state: CommitState
    release: ReleaseId | None
    exact: bool = False
    since: datetime | None = None
    observed_at: datetime | None = None
    reason: str = ""
    waiting_for: str = ""
    run: Run | None = None
    overtaken: bool = False


def compute_commit_status(facts: CommitFacts) -> CommitStatus:
    """Compute where a commit stands in a stage."""
    status = _compute(facts)
    if not facts.reads_nothing or not status.state.terminal or status.state is CommitState.LIVE:
        return status
    reason = f"the commit changes nothing that a stage reads; before it: {status.reason}"
    return replace(status, state=CommitState.NOT_CONCERNED, reason=reason, waiting_for="")


def _compute(facts: CommitFacts) -> CommitStatus:
    if facts.stage is None or (facts.release is None and not facts.contained):
        reason = "gitopsd has not seen this commit on the stage's line"
        return _answer(facts, CommitState.NOT_SEEN, reason, overtaken=facts.stage is not None)
    if _is_out(facts):
        return _live(facts)
    run = facts.run
    if run is not None and run.live:
        return _under_way(facts, run)
    if facts.rollback is not None:
        return _being_rolled_back(facts, facts.rollback)
    if facts.quarantine is not None and (run is None or run.phase is not Phase.FAILED):
        return _answer(facts, CommitState.QUARANTINED, facts.quarantine.reason, _fix(facts))
    if run is not None and run.phase is not Phase.SUCCEEDED:
        return _ended(facts, run)
    if run is not None or facts.running_is_newer:
        reason = "it was live here; another release is now"
        if run is None:
            reason = "a newer release took over before it came here"
        return _answer(facts, CommitState.SUPERSEDED, reason, overtaken=True)
    reason, overtaken = "it waits for its turn", not facts.newest
    return _answer(facts, CommitState.WAITING, reason, _turn(facts), overtaken=overtaken)


def compute_after_upstream(
    status: CommitStatus, upstream: tuple[CommitStatus, ...], *, any_of: bool = False
) -> CommitStatus:
    """Say what became of a commit that waits for stages before this one, when it ended there.

    Args:
        status: Where it stands in the stage: it waits.
        upstream: Where it stands in the stages before.
        any_of: Whether one of them is enough: then it has ended when it has in all of them.
    """
    lost = (CommitState.FAILED, CommitState.ROLLED_BACK, CommitState.QUARANTINED)
    if any_of and any(one.state not in (*lost, CommitState.SUPERSEDED) for one in upstream):
        return status
    for before in upstream:
        if before.state in lost:
            reason = f"it did not pass {before.key.stage}: {before.reason}"
            return replace(
                status, state=CommitState.FAILED, reason=reason, waiting_for=before.waiting_for
            )
        if before.state is CommitState.SUPERSEDED:
            reason = f"{before.key.stage}: {before.reason}"
            return replace(status, state=CommitState.SUPERSEDED, reason=reason, waiting_for="")
    return status


def _is_out(facts: CommitFacts) -> bool:
    if facts.running is None or facts.stage is None or facts.stage.verified is None:
        return False
    return facts.running == facts.release or facts.contained or facts.same_bytes


def _live(facts: CommitFacts) -> CommitStatus:
    """Say Live only when a fresh look agreed with what was verified."""
    seen = facts.observation
    if seen is None or not facts.fresh:
        reason = "it is verified; its live objects could not be looked at within the last minute"
        return _answer(facts, CommitState.RUNNING, reason, "a look at the cluster")
    if seen.health is not Health.HEALTHY or seen.synced is False:
        reason = f"it is verified, but the last look disagrees: {seen.message or seen.health.value}"
        return _answer(facts, CommitState.RUNNING, reason, "healthy objects")
    own = facts.running == facts.release or facts.same_commit
    exact = own and not facts.reads_nothing and not facts.through
    reason = ""
    if facts.reads_nothing and own:
        reason = "the commit changes nothing that a stage reads; what it stands on is live"
    elif not exact:
        reason = "through a release that contains it or renders the same"
    status = _answer(facts, CommitState.LIVE, reason)
    return replace(status, exact=exact, since=facts.live_since)


def _being_rolled_back(facts: CommitFacts, rollback: Run) -> CommitStatus:
    """Say RolledBack once what was verified before is back, healthy and checked."""
    why = facts.stopped or "it was live here and was rolled back"
    if facts.quarantine is not None:
        why = facts.quarantine.reason
    if facts.run is not None and facts.run.failure is not None:
        why = facts.run.failure.message
    if rollback.phase is Phase.SUCCEEDED:
        return _answer(facts, CommitState.ROLLED_BACK, why, _fix(facts))
    if rollback.phase in (Phase.FAILED, Phase.ABORTED):
        reason = (
            f"{why}; what it replaced was not restored: {rollback.id} is {rollback.phase.value}"
        )
        return _answer(facts, CommitState.FAILED, reason, "a person")
    reason = f"{why}; what it replaced is being restored by {rollback.id}"
    return _answer(facts, CommitState.RUNNING, reason, "the rollback")


def _fix(facts: CommitFacts) -> str:
    if facts.quarantine is None:
        return "a fix"
    return f"a fix, or: gitopsd quarantine lift {facts.quarantine.id}"


def _under_way(facts: CommitFacts, run: Run) -> CommitStatus:
    if run.step is not Step.GATE and run.clock_stopped_at is None:
        step = run.step.value if run.step is not None else "Pending"
        return _answer(facts, CommitState.RUNNING, f"{run.id} is in {step}")
    closed = [state for state in facts.gates if isinstance(state.answer, Closed)]
    refused = [state for state in facts.gates if isinstance(state.answer, Refused)]
    reason = "; ".join(f"{state.name}: {state.answer.reason}" for state in closed or refused)
    openers = [state.answer.opener for state in closed if isinstance(state.answer, Closed)]
    opener = openers[0] if openers else ""
    return _answer(facts, CommitState.HELD, reason or "it stands at its Gate", opener)


def _ended(facts: CommitFacts, run: Run) -> CommitStatus:
    reason = run.failure.message if run.failure is not None else run.phase.value
    word = run.failure.reason if run.failure is not None else ""
    if run.phase is Phase.FAILED:
        return _answer(facts, CommitState.FAILED, reason, _fix(facts))
    if word == AbortReason.SUPERSEDED.value:
        return _answer(facts, CommitState.SUPERSEDED, reason, overtaken=True)
    if word == AbortReason.QUARANTINED.value:
        return _answer(facts, CommitState.QUARANTINED, reason, "a fix")
    if run.phase is Phase.ABORTED:
        return _answer(facts, CommitState.FAILED, reason, f"gitopsd retry {run.id}")
    waiting = "the next attempt, by itself"
    return _answer(facts, CommitState.WAITING, reason, waiting, overtaken=True)


def _turn(facts: CommitFacts) -> str:
    stage = facts.stage
    if stage is not None and (stage.suspended is not None or stage.hold is not None):
        return f"gitopsd resume {facts.key.application} {facts.key.stage}"
    return "what is before it, or the stages before this one"


def _answer(
    facts: CommitFacts,
    state: CommitState,
    reason: str,
    waiting_for: str = "",
    *,
    overtaken: bool = False,
) -> CommitStatus:
    seen = facts.observation
    told = facts.run
    return CommitStatus(
        key=facts.key,
        state=state,
        release=facts.running if state is CommitState.LIVE else facts.release,
        since=(told.ended_at or told.started_at) if told is not None else None,
        observed_at=seen.at if seen is not None else None,
        reason=reason,
        waiting_for=waiting_for,
        run=told,
        overtaken=overtaken,
    )


def find_rollback(later: tuple[Run, ...]) -> Run | None:
    """Find the Rollback that came right after a run; the last one when it was tried again.

    Args:
        later: Runs of the stage that were created after the run in question, in any order. Those
            that wrote did so in the order in which they ended: only one holds the front at a time.
    """
    wrote = sorted(
        (
            run
            for run in later
            if run.kind is RunKind.ROLLBACK or (run.kind is RunKind.ROLLOUT and run.mutated)
        ),
        key=_ended_when,
    )
    found = None
    for run in wrote:
        if run.kind is not RunKind.ROLLBACK:
            break
        found = run
    return found


def _ended_when(run: Run) -> str:
    """Say when a run ended so that it sorts: a live one ends after all others."""
    return run.ended_at.isoformat() if run.ended_at is not None else "~"
