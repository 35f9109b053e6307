"""Work to do, messages to send, and the records around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.runs import RunId, Step


class WorkKind(Enum):
    """Kinds of rows in the outbox."""

    EXECUTE_STEP = "ExecuteStep"
    PROCESS_DELIVERY = "ProcessDelivery"
    LOOK = "Look"
    LOOK_AT_IMAGE = "LookAtImage"
    RECONSIDER = "Reconsider"
    NOTIFY = "Notify"
    OBSERVE = "Observe"
    MONITOR = "Monitor"
    PROBE = "Probe"
    SOAK = "Soak"
    REVERIFY = "Reverify"
    ADOPT = "Adopt"
    AGREE = "Agree"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One row of the outbox: something to do outside a transaction, at least once.

    Attributes:
        key: Unique name; the command id for steps, ``look:REPO REF``, ``notify:EVENT CHANNEL``...
        kind: What to do.
        subject: What to do it to: run id, delivery id, stage key and the like.
        payload: Further ids and small values.
        due_at: Not before.
        attempts: Times it was claimed; counted before the work.
        owner: Replica that works on it; empty when nobody does.
        claimed_until: When the claim ends by itself.
        generation: Grows when the row is asked for again while it is being worked on.
    """

    key: str
    kind: WorkKind
    subject: str
    due_at: datetime
    payload: JsonObject = field(default_factory=dict)
    attempts: int = 0
    owner: str = ""
    claimed_until: datetime | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of a run's log, for audit and ``explain``; never replayed.

    Attributes:
        run: Which run.
        sequence: Position in the run's log, from 1.
        at: When.
        name: Event class name.
        step: Step the run was in.
        phase: Phase after the event.
        message: One sentence for people.
        details: Event fields, redacted.
    """

    run: RunId
    sequence: int
    at: datetime
    name: str
    step: Step | None
    phase: str
    message: str = ""
    details: JsonObject = field(default_factory=dict)


class EvidenceKind(Enum):
    """What a piece of stored evidence is."""

    CHANGE_SET = "ChangeSet"
    GATES = "Gates"
    POD = "Pod"
    HEALTH = "Health"
    CHECK = "Check"
    HOOK = "Hook"
    PRUNE = "Prune"
    CONFLICTS = "Conflicts"
    COMMITS = "Commits"
    NOTES = "Notes"
    IGNORED = "Ignored"
    PIN = "Pin"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something a step saw, redacted, kept with the run.

    Attributes:
        run: Which run.
        step: Which step saw it.
        kind: What it is.
        at: When.
        content: The thing itself as JSON.
        key: Replaces earlier evidence of the same run, step, kind and key; empty appends.
    """

    run: RunId
    step: Step
    kind: EvidenceKind
    at: datetime
    content: Json
    key: str = ""


class HookState(Enum):
    """Life of one hook object in one run."""

    STARTED = "Started"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class HookRun:
    """What is known of one hook object of one run.

    Attributes:
        run: Which run.
        name: Kind, namespace and name of the hook object.
        uid: Server uid it got; empty until known.
        state: Started before it is created; the outcome before its delete policy acts.
        message: The outcome in one clause.
    """

    run: RunId
    name: str
    uid: str
    state: HookState
    message: str = ""


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the objects of a stage were like in the cluster before a Rollback wrote.

    Attributes:
        run: The Rollback.
        at: When they were read.
        objects: The live objects of the inventory, redacted.
        unread: What could not be read, each with the reason.
    """

    run: RunId
    at: datetime
    objects: tuple[JsonObject, ...]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to the channels.

    Attributes:
        id: Stable id; the same event never makes two.
        trigger: Subscription it matches, e.g. ``on-deployed``.
        application: Application name.
        stage: Stage name; empty when it is about no stage.
        message: One sentence.
        at: When it happened.
        details: Release, run, commit, links and the like.
    """

    id: str
    trigger: str
    application: str
    stage: str
    message: str
    at: datetime
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """An API credential; the secret itself is never stored.

    Attributes:
        id: Public id, shown in lists.
        hashed: Hash of the secret.
        subject: Who acts with it.
        groups: Groups beyond those of ``people.yaml``; for votes they count only where that file
            does not know the subject.
        role: Role it carries by itself: ``viewer``, ``deployer``, ``approver``, ``skip-gate``,
            ``admin``; or "".
        applications: Applications it is limited to; empty for all.
        created_at: When it was made.
        expires_at: When it ends; None for never.
        revoked_at: When it was revoked; None while it counts.
        last_used_at: When it was last used, to the minute.
    """

    id: str
    hashed: str
    subject: str
    groups: tuple[str, ...]
    role: str
    applications: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what; append-only.

    Attributes:
        sequence: Position; 0 before it is stored.
        at: When.
        subject: Who, from the credential; ``gitopsd`` for the daemon itself.
        action: What, e.g. ``approve``.
        target: On what.
        outcome: ``done`` or why not.
        details: Further values, redacted.
    """

    sequence: int
    at: datetime
    subject: str
    action: str
    target: str
    outcome: str = "done"
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Where a list goes on.

    Attributes:
        limit: Rows wanted at most.
        before: Cursor of the last row of the previous page; empty for the first page.
    """

    limit: int = 50
    before: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that works for this installation.

    Attributes:
        id: Replica id.
        started_at: When it started.
        seen_at: Its last heartbeat.
        version: gitopsd version.
    """

    id: str
    started_at: datetime
    seen_at: datetime
    version: str = ""
