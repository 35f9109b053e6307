"""What people are told in a place that can be written again: one report, always its newest state.

A notification says that something happened, once. A report says how something stands; a channel
shows it in one place and updates that place. A channel that is slow shows the newest state and
leaves out what was between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageName
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.sources import CommitSha, RepoURL


class Standing(Enum):
    """Where a release stands in one stage."""

    WAITING = "Waiting"
    RUNNING = "Running"
    HELD = "Held"
    LIVE = "Live"
    FAILED = "Failed"
    ERRORED = "Errored"
    RESTORING = "Restoring"
    RESTORED = "Restored"
    REJECTED = "Rejected"
    SUPERSEDED = "Superseded"
    ENDED = "Ended"
    NOT_REACHED = "NotReached"

    @property
    def settled(self) -> bool:
        """Whether it stays so unless somebody or something else begins anew."""
        return self not in (
            Standing.WAITING,
            Standing.RUNNING,
            Standing.HELD,
            Standing.RESTORING,
        )


@dataclass(frozen=True, slots=True)
class StageLine:
    """How a release stands in one stage.

    Attributes:
        stage: The stage.
        standing: Where it stands.
        sentence: The same in one clause, redacted.
        since: Since when; None when nothing began yet.
        run: The run it is about; None when there is none.
    """

    stage: StageName
    standing: Standing
    sentence: str
    since: datetime | None = None
    run: RunId | None = None


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of a run.

    Attributes:
        step: The step.
        phase: Running, or how it ended.
        began: When it began.
        ended: When it ended; None while it is under way.
        sentence: What it waits for or why it ended so, redacted; may be empty.
    """

    step: Step
    phase: Phase
    began: datetime
    ended: datetime | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one run went.

    Attributes:
        run: The run.
        stage: Where.
        kind: What for.
        phase: Where it stands.
        alias: What people call the release it brings.
        steps: Its steps in the order in which they began.
        sentence: Why it did not succeed, redacted; empty otherwise.
        link: Address of the run in the API; empty when no public address is known.
    """

    run: RunId
    stage: StageName
    kind: RunKind
    phase: Phase
    alias: str
    steps: tuple[StepLine, ...] = ()
    sentence: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """How one release stands everywhere.

    Attributes:
        id: Names the report among all of this installation and channel; never changes.
        application: Whose release.
        release: The release.
        alias: What people call it.
        sha: Its commit.
        subject: First line of the commit message, redacted.
        author: Who wrote the commit.
        at: When it was first seen; None when that is not known.
        stages: A line for each stage, in the order of the file.
        runs: Its runs and the rollbacks that followed them, in the order in which they began.
        link: Address of the release in the API; empty when no public address is known.
    """

    id: str
    application: ApplicationName
    release: ReleaseId
    alias: str
    sha: CommitSha
    subject: str
    author: str
    at: datetime | None
    stages: tuple[StageLine, ...]
    runs: tuple[RunReport, ...] = ()
    link: str = ""


class Outcome(Enum):
    """What became of a request to approve."""

    WAITING = "Waiting"
    APPROVED = "Approved"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    CHANGED = "Changed"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class ApprovalReport:
    """A request to approve a plan, and what became of it.

    Attributes:
        id: Names the report among all of this installation and channel; never changes.
        application: Which application.
        stage: Where it would go.
        cluster: Cluster it would be written to.
        namespace: Namespace there.
        run: The run that waits.
        plan: What is approved.
        alias: What people call the release.
        sha: Its commit.
        subject: First line of the commit message, redacted.
        author: Who wrote the commit.
        approvers: ``group:NAME`` or ``user:SUBJECT`` who may approve.
        needed: Approvals that are needed.
        votes: What was said so far: (subject, what they said, redacted).
        until: When it expires; None when that is not known.
        counts: (action, number of objects) in the order of the plan, without what stays as it is.
        changes: (action, object) for each object that changes, redacted.
        notes: Further things to know before approving, redacted.
        outcome: What became of it.
        sentence: The same in one clause, redacted; empty while it waits.
        at: When it was decided; None while it waits.
        link: Address of the run in the API; empty when no public address is known.
    """

    id: str
    application: ApplicationName
    stage: StageName
    cluster: str
    namespace: str
    run: RunId
    plan: str
    alias: str
    sha: CommitSha
    subject: str
    author: str
    approvers: tuple[str, ...] = ()
    needed: int = 1
    votes: tuple[tuple[str, str], ...] = ()
    until: datetime | None = None
    counts: tuple[tuple[str, int], ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    outcome: Outcome = Outcome.WAITING
    sentence: str = ""
    at: datetime | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class GroupApprovalReport:
    """A request to approve the plans of a group's stages at once, and what became of it.

    Attributes:
        id: Names the report among all of this installation and channel; never changes.
        application: Which application.
        group: Which group of its stages.
        plans: What is asked for in each stage, in the group's order; one at least.
        missing: Stages without a plan: (stage, why).
        name: Names the plans that are asked for together; empty when none is any more.
    """

    id: str
    application: ApplicationName
    group: str
    plans: tuple[ApprovalReport, ...]
    missing: tuple[tuple[StageName, str], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class CallReport:
    """Something that a person should look at; it never changes.

    Attributes:
        id: Names the report among all of this installation and channel; never changes.
        trigger: Which notification.
        application: Which application; empty when it is about all.
        stage: Which stage; empty when it is about none.
        sentence: What happened, redacted.
        at: When.
        link: Address of the run in the API; empty when there is none.
    """

    id: str
    trigger: str
    application: str
    stage: str
    sentence: str
    at: datetime
    link: str = ""


class Check(Enum):
    """State of a commit status and of a deployment, in GitHub's words."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """One run that wrote to a stage.

    Attributes:
        run: The run.
        kind: What for.
        sha: Commit that it brings there.
        state: How it stands.
        sentence: The same in one clause, redacted.
        link: Address of the run in the API; empty when no public address is known.
    """

    run: RunId
    kind: RunKind
    sha: CommitSha
    state: Check
    sentence: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class StageReport:
    """How one commit stands in one stage.

    Attributes:
        id: Names the report among all of this installation and channel; never changes.
        repository: Where the commit is.
        application: Which application.
        stage: Which stage.
        sha: The commit.
        state: How it stands.
        sentence: The same in one clause, redacted.
        deployments: Runs that wrote, in the order in which they began.
        last_stage: Whether no stage comes after this one.
        alone: Whether no other application is read from the same repository.
        link: Address of the run in the API; empty when no public address is known.
    """

    id: str
    repository: RepoURL
    application: ApplicationName
    stage: StageName
    sha: CommitSha
    state: Check
    sentence: str
    deployments: tuple[DeploymentReport, ...] = ()
    last_stage: bool = False
    alone: bool = True
    link: str = ""


Report: TypeAlias = ReleaseReport | ApprovalReport | GroupApprovalReport | CallReport | StageReport


@dataclass(frozen=True, slots=True)
class MessageHandle:
    """Where a channel shows a report, as far as that is known.

    Attributes:
        channel: Name of the channel.
        subject: What is shown: ``release:ID``, ``approval:RUN:PLAN``, ``approvals:RUN`` (those of a
            group, named by the run that came first), ``call:NOTIFICATION`` or
            ``stage:APPLICATION/STAGE/SHA``.
        topic: Release, run or commit whose changes concern it; empty for nothing.
        begun_at: When somebody first wanted it shown.
        state: What the channel's adapter must know to find it again, in its own words.
        shown_at: When it was last shown as it stood; None before that.
        version: Grows by one with every stored change.
    """

    channel: str
    subject: str
    topic: str
    begun_at: datetime
    state: JsonObject = field(default_factory=dict)
    shown_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel fares.

    Attributes:
        channel: Its name.
        problem: Why it does not take messages; empty while it does.
        since: Since when it is as it is.
        dropped: Messages that were given up since it was first used.
        dropped_at: When the last one was given up; None when none was.
        dropped_why: Why.
    """

    channel: str
    problem: str
    since: datetime
    dropped: int = 0
    dropped_at: datetime | None = None
    dropped_why: str = ""
