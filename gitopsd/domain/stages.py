"""Stages as stored: slots, applied set, lease, conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from gitopsd.domain.manifests import Digest, Health
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import RunId
from gitopsd.domain.verifications import Destination, StallReason, VerificationId


@dataclass(frozen=True, slots=True)
class AppliedSet:
    """What the stage's last Apply commanded.

    Attributes:
        release: Its release.
        rendered: Its bytes.
        run: Run that commanded it.
        at: When it was commanded.
    """

    release: ReleaseId
    rendered: Digest
    run: RunId
    at: datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """Something a person or gitopsd set on a stage: suspension, hold.

    Attributes:
        by: Subject who set it.
        reason: Why, in their words.
        at: Since when.
    """

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Naming:
    """A person said by name which release a stage is to have.

    Attributes:
        release: The release.
        by: Who, from the credential.
        groups: Groups the person was in then.
        known: Whether ``people.yaml`` knew the person then, and so said the groups.
        token: Id of the token it was said with; empty when there was none.
        at: When.
    """

    release: ReleaseId
    by: str
    groups: tuple[str, ...]
    known: bool
    token: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Stall:
    """A person is called for this stage.

    Attributes:
        reason: What is the matter.
        message: One sentence.
        at: Since when.
        run: Run that ended so; None when no run did.
        fence: RestoredDatabase: the fence that the cluster has; what resume goes on from.
        release: RestoredDatabase: the release that the cluster's inventory names.
        rendered: RestoredDatabase: the rendered digest that it names.
    """

    reason: StallReason
    message: str
    at: datetime
    run: RunId | None = None
    fence: int = 0
    release: str = ""
    rendered: str = ""


class RestoredChoice(Enum):
    """Whom a person believes after a database was restored from an older copy."""

    KEEP_CLUSTER = "KeepCluster"
    """The cluster: nothing is written until something newer comes."""
    REDEPLOY = "Redeploy"
    """Git and the database: the newest release, or the applied set again."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The last look at a stage's live objects.

    Attributes:
        health: Worst health seen.
        synced: True when live agrees with the applied set, False when not, None when unknown.
        message: What disagreed or failed, in one sentence.
        at: When the look ended.
    """

    health: Health
    synced: bool | None
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Soak:
    """For how long a stage was observed healthy with what it runs verified.

    Attributes:
        verification: What it runs; each verification soaks anew, of the same release too.
        release: Its release.
        rendered: Its bytes.
        accumulated: Time between two looks that both saw it healthy, added up.
        healthy_at: The last look, when it saw it healthy and time goes on counting from there;
            None while nothing counts.
        failed: What the last definite failure was, since which it counts anew; empty for none.
    """

    verification: VerificationId
    release: ReleaseId
    rendered: Digest
    accumulated: timedelta = timedelta(0)
    healthy_at: datetime | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """The stored state of one stage.

    Attributes:
        key: Which stage.
        spec: Revision of the application file it follows.
        destination: Where it writes now.
        front: The one run that may write to the cluster; None when there is none.
        next: The one Rollout between Pending and Gate; None when there is none.
        applied: What the last Apply commanded; None before the first.
        verified: Verification of what the stage runs verified; None when it runs nothing verified.
        requested: Release a person asked for here, older ones too; None when nobody did.
        naming: Who named a release here, for a gate that waits for that; None when nobody did.
        fence: Highest fence given out.
        owner: Replica that holds the lease; empty when nobody does.
        lease_until: End of the lease; None when nobody holds it.
        suspended: Set while Rollouts are not admitted.
        hold: Set by a person's rollback or promotion of an older release.
        stall: Set while a person is called.
        rewind_accepted: Number of the last Rewound offer that a person let through.
        kept_offer: Offers up to this number are not brought by themselves: a person kept what the
            cluster had when they were known already.
        superseded_waiting: Rollouts in a row that were superseded in WaitHealthy.
        observation: The last look at live objects.
        soaks: How long it was seen healthy with what it runs and ran, newest first.
        retired_at: When it left the configuration; None while configured.
        version: Grows by one with every stored change.
    """

    key: StageKey
    spec: int = 0
    destination: Destination | None = None
    front: RunId | None = None
    next: RunId | None = None
    applied: AppliedSet | None = None
    verified: VerificationId | None = None
    requested: ReleaseId | None = None
    naming: Naming | None = None
    fence: int = 0
    owner: str = ""
    lease_until: datetime | None = None
    suspended: Condition | None = None
    hold: Condition | None = None
    stall: Stall | None = None
    rewind_accepted: int = 0
    kept_offer: int = 0
    superseded_waiting: int = 0
    observation: Observation | None = None
    soaks: tuple[Soak, ...] = ()
    retired_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a stage for a while.

    Attributes:
        stage: Which stage.
        owner: Replica that holds it.
        fence: Number that every later owner exceeds.
        until: End by the database's clock.
    """

    stage: StageKey
    owner: str
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Freeze:
    """The stop button: in its scope nothing starts Prepare or Apply until it ends; rollbacks do.

    Attributes:
        id: Row id.
        scope: ``*``, ``application:NAME``, ``stage:APPLICATION/STAGE``, ``project:NAME`` or
            ``cluster:NAME``.
        by: Subject who froze.
        reason: Why.
        at: Since when.
        until: When it ends by itself; None when a person ends it.
        thawed_at: When a person ended it; None while in force.
    """

    id: str
    scope: str
    by: str
    reason: str
    at: datetime
    until: datetime | None = None
    thawed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StageRendering:
    """What a release rendered to for a stage, once that is known.

    Attributes:
        stage: The stage.
        release: The release.
        rendered: Digest of the rendered set.
        input_key: Key of the inputs it was rendered from.
        images: Digests of all images in it.
    """

    stage: StageKey
    release: ReleaseId
    rendered: Digest
    input_key: str = ""
    images: tuple[Digest, ...] = ()
