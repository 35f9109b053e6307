"""Gates that ask outside: what ``gates:`` says of them, what is asked, and what was answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.manifests import Digest, Json
from gitopsd.domain.metrics import Condition, OnEmpty
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RepoURL

EVERY = timedelta(seconds=30)
"""How often a gate is asked unless it says something else."""

TIMEOUT = timedelta(seconds=10)
"""How long one answer may take unless a gate says something else."""


class Otherwise(Enum):
    """What a gate does with an answer that does not open it."""

    WAIT = "wait"
    REFUSE = "refuse"


class CommitOf(Enum):
    """Whose commit is meant."""

    CONFIG = "config"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class ChecksGate:
    """Check runs and statuses of a commit must be good on its host.

    Attributes:
        names: Names of the check runs or contexts of the statuses; each is needed.
        of: The configuration's commit, or those that the release's images were built from.
        channel: GitHub channel whose credential is used; empty for the only one.
        repository: ``OWNER/NAME`` that the commit is in; empty for the application's source.
        accept: Conclusions that count as good beside ``success``.
        on_failure: What a check that failed means: it may be run again, or it is the end.
        every: How often it is asked.
    """

    names: tuple[str, ...]
    of: CommitOf = CommitOf.CONFIG
    channel: str = ""
    repository: str = ""
    accept: tuple[str, ...] = ()
    on_failure: Otherwise = Otherwise.WAIT
    every: timedelta = EVERY


@dataclass(frozen=True, slots=True)
class ExternalGate:
    """A service of the user's own says open, closed or refused.

    Attributes:
        url: Where it is asked.
        secret_file: File with the secret that requests are signed with.
        every: How often it is asked.
        timeout: How long one answer may take, body included.
    """

    url: str
    secret_file: str
    every: timedelta = EVERY
    timeout: timedelta = TIMEOUT


@dataclass(frozen=True, slots=True)
class PrometheusGate:
    """A figure of a metric server must be as the condition says.

    Attributes:
        query: The query, with placeholders as ``{{ namespace }}``.
        condition: What its figure must be.
        cluster: Cluster whose metric server is asked; empty for the stage's own.
        duration: For how long it must have been so, each sample of it; zero for now.
        on_empty: What it means that the query finds nothing.
        on_failure: What a figure that is not as it must be means.
        on_inconclusive: What an answer that tells nothing means.
        freshness: How old the newest sample may be.
        every: How often it is asked.
        timeout: How long one answer may take.
    """

    query: str
    condition: Condition
    cluster: str = ""
    duration: timedelta = timedelta(0)
    on_empty: OnEmpty = OnEmpty.INCONCLUSIVE
    on_failure: Otherwise = Otherwise.WAIT
    on_inconclusive: Otherwise = Otherwise.WAIT
    freshness: timedelta = timedelta(minutes=5)
    every: timedelta = EVERY
    timeout: timedelta = TIMEOUT


AskedGate: TypeAlias = ChecksGate | ExternalGate | PrometheusGate
"""A gate whose condition is asked for outside of any transaction."""


@dataclass(frozen=True, slots=True)
class GateQuestion:
    """What is asked for one run.

    Attributes:
        gate: The gate.
        stage: Stage that the run is for.
        cluster: Its cluster.
        namespace: Its namespace.
        run: The run.
        release: Its release.
        alias: The release's alias.
        plan: The run's plan.
        repository: Address of the configuration's repository.
        commit: The release's commit in it.
        revisions: Image name -> commit it was built from, empty where it does not say.
    """

    gate: AskedGate
    stage: StageKey
    cluster: str
    namespace: str
    run: RunId
    release: ReleaseId
    alias: str
    plan: Digest | None
    repository: RepoURL
    commit: CommitSha
    revisions: Mapping[str, str] = field(default_factory=dict)


class Finding(Enum):
    """What an answer means."""

    MET = "Met"
    UNMET = "Unmet"
    FAILED = "Failed"
    REFUSED = "Refused"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What came of asking once.

    Attributes:
        finding: What it means: the condition is met; not met yet; definitely not met; refused for
            good by who was asked; or nothing could be found out.
        sentence: Why, in one clause, with a figure, a name or a time.
        figure: The figure that it was judged by, as text; empty for none.
        details: What was asked and answered, redacted.
        retry_after: How long the other side asked to be left alone; None when it did not.
    """

    finding: Finding
    sentence: str
    figure: str = ""
    details: Json = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class GateObservation:
    """The newest answer to one question of one run.

    Attributes:
        run: The run.
        question: Which question, see `gitopsd.pipeline.asking.question_of`.
        gate: Kind of the gate, for people.
        plan: Plan of the run when it was asked.
        asked_at: When it was asked.
        finding: What the answer means.
        sentence: Why, in one clause.
        figure: The figure that it was judged by; empty for none.
        details: What was asked and answered, redacted.
        troubles: Answers in a row that told nothing, this one included.
        not_before: When it may be asked again at the earliest; None for no such wish.
    """

    run: RunId
    question: str
    gate: str
    plan: Digest | None
    asked_at: datetime
    finding: Finding
    sentence: str
    figure: str = ""
    details: Json = None
    troubles: int = 0
    not_before: datetime | None = None
