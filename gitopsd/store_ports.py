"""Protocols of the store.

A transaction is a plain function over `Transaction`, run by the store in one database transaction:
it cannot await, so no transaction is ever held across network I/O. Times inside come from the
database's clock. Every save is conditional on the version that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gates import Vote
from gitopsd.domain.manifests import Digest, JsonObject, RenderedSet
from gitopsd.domain.releases import (
    ApplicationName,
    Line,
    Offer,
    OfferKind,
    Release,
    ReleaseId,
    SeenCommit,
    StageKey,
)
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.sources import (
    CommitSha,
    Delivery,
    DeliveryId,
    DeliveryState,
    RefName,
    RefState,
    RepoURL,
)
from gitopsd.domain.stages import Freeze, Lease, Stage, StageRendering
from gitopsd.domain.verifications import Quarantine, Verification, VerificationId
from gitopsd.domain.work import (
    AuditEntry,
    Evidence,
    HookRun,
    Notification,
    Page,
    Replica,
    RunEvent,
    Token,
    WorkItem,
    WorkKind,
)

T = TypeVar("T")


class Deliveries(Protocol):
    """The inbox."""

    def add(self, delivery: Delivery) -> bool:
        """Store a delivery; False when (receiver, key, body hash) is there already."""
        ...

    def find(self, receiver: str, key: str, body_sha256: str) -> Delivery | None:
        """Find a stored delivery by its identity."""
        ...

    def get(self, delivery: DeliveryId) -> Delivery | None:
        """Read one."""
        ...

    def save(self, delivery: Delivery) -> None:
        """Store new state, attempts and reason."""
        ...

    def count_refused(self, receiver: str) -> None:
        """Count one refused (badly signed) request; nothing else of it is stored."""
        ...

    def refused(self) -> Mapping[str, int]:
        """Read the counters of refused requests."""
        ...

    def page(self, page: Page, *, state: DeliveryState | None = None) -> Sequence[Delivery]:
        """List, newest first."""
        ...


class Refs(Protocol):
    """Watched refs."""

    def get(self, repo: RepoURL, ref: RefName) -> RefState | None:
        """Read one."""
        ...

    def save(self, state: RefState) -> None:
        """Insert or replace one, but for ``wanted`` and ``expected``, which only `want` raises."""
        ...

    def want(
        self, repo: RepoURL, ref: RefName, *, expected: CommitSha | None, at: datetime
    ) -> RefState:
        """Count one hint to look (``wanted`` + 1, ``tries`` 0), creating the row when new."""
        ...

    def page(self) -> Sequence[RefState]:
        """Read all."""
        ...


class Releases(Protocol):
    """Releases, offers, seen commits, renderings."""

    def add(self, release: Release) -> bool:
        """Store a release; False when its id is there already."""
        ...

    def get(self, release: ReleaseId) -> Release | None:
        """Read one."""
        ...

    def page(self, application: ApplicationName, page: Page) -> Sequence[Release]:
        """List an application's releases, last offered first."""
        ...

    def offer(self, line: Line, release: ReleaseId, at: datetime, kind: OfferKind) -> Offer:
        """Make a release the head of its line under the next number."""
        ...

    def head(self, line: Line) -> Offer | None:
        """Read the line's newest offer."""
        ...

    def offers(self, line: Line, limit: int = 200) -> Sequence[Offer]:
        """Read the last offer of each release of a line, newest first."""
        ...

    def last_offer(self, line: Line, release: ReleaseId) -> Offer | None:
        """Read the last offer of one release."""
        ...

    def see(self, commit: SeenCommit) -> None:
        """Record a commit that was a line's head. Safe to repeat."""
        ...

    def seen(self, sha: CommitSha) -> Sequence[SeenCommit]:
        """Find where a commit was seen."""
        ...

    def find(self, application: ApplicationName | None, image_digest: Digest) -> Sequence[Release]:
        """Find releases that carry an image digest."""
        ...

    def put_rendering(self, rendering: StageRendering) -> None:
        """Record what a release rendered to. Safe to repeat: replaces."""
        ...

    def renderings(self, stage: StageKey) -> Mapping[ReleaseId, StageRendering]:
        """Read what releases rendered to in a stage."""
        ...


class RenderedSets(Protocol):
    """Rendered sets by digest; Secret bodies are encrypted at rest."""

    def put(self, rendered: RenderedSet) -> None:
        """Store a set. Safe to repeat.

        Raises:
            PermanentError: It holds Secrets and there is no encryption key; says how to make one.
        """
        ...

    def get(self, digest: Digest) -> RenderedSet | None:
        """Read a set, decrypted."""
        ...


class Specs(Protocol):
    """Revisions of application files."""

    def add(self, spec: ApplicationSpec, at: datetime) -> ApplicationSpec:
        """Store a valid file as the current revision; returns it with its number.

        Equal content keeps its number.
        """
        ...

    def get(self, application: ApplicationName, revision: int) -> ApplicationSpec | None:
        """Read one revision."""
        ...

    def current(self, application: ApplicationName) -> ApplicationSpec | None:
        """Read the current revision; None when the file was removed."""
        ...

    def currents(self) -> Sequence[ApplicationSpec]:
        """Read all current revisions, by name."""
        ...

    def remove(self, application: ApplicationName, at: datetime) -> None:
        """Record that the file is gone; old revisions stay."""
        ...


class Stages(Protocol):
    """Stages with their slots, lease and fence."""

    def get(self, key: StageKey) -> Stage | None:
        """Read one."""
        ...

    def add(self, stage: Stage) -> None:
        """Create one at version 0."""
        ...

    def save(self, stage: Stage) -> Stage:
        """Store a stage read at ``stage.version``; returns it with the next version.

        Never writes ``owner``, ``lease_until`` or ``fence``: those belong to the lease methods.

        Raises:
            ConflictError: Its version changed since.
        """
        ...

    def page(self, application: ApplicationName | None = None) -> Sequence[Stage]:
        """List stages, retired ones too, by key."""
        ...

    def claim(
        self, key: StageKey, owner: str, duration: timedelta, *, cluster_fence: int
    ) -> Lease | None:
        """Take the lease with fence = max(database, cluster) + 1; None while another owner has it.

        The same owner may claim again (a new fence each time).
        """
        ...

    def renew(self, lease: Lease, duration: timedelta) -> Lease | None:
        """Extend a lease; None when it is no longer ours (owner or fence differ)."""
        ...

    def release(self, lease: Lease) -> None:
        """Give a lease back if it is still ours. Safe to repeat."""
        ...


class Verifications(Protocol):
    """What was verified."""

    def add(self, verification: Verification) -> Verification:
        """Store one; returns it with its sequence number."""
        ...

    def get(self, verification: VerificationId) -> Verification | None:
        """Read one."""
        ...

    def page(self, stage: StageKey, limit: int = 100) -> Sequence[Verification]:
        """Read a stage's verifications, newest sequence first, revoked ones too."""
        ...

    def revoke(self, verification: VerificationId, at: datetime) -> None:
        """Revoke one. Safe to repeat: keeps the first time."""
        ...


class Runs(Protocol):
    """Runs and what is kept with them."""

    def add(self, run: Run) -> None:
        """Store a new run at version 0."""
        ...

    def get(self, run: RunId) -> Run | None:
        """Read one."""
        ...

    def save(self, run: Run, *, expected_version: int) -> None:
        """Store ``run`` (its version already raised) if the stored one is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """
        ...

    def live(self) -> Sequence[Run]:
        """Read all runs that are Pending or Running."""
        ...

    def page(
        self,
        page: Page,
        *,
        application: ApplicationName | None = None,
        stage: StageKey | None = None,
        release: ReleaseId | None = None,
    ) -> Sequence[Run]:
        """List, newest first."""
        ...

    def last_rollouts(self, stage: StageKey) -> Mapping[ReleaseId, Run]:
        """Read each release's last Rollout in a stage."""
        ...

    def rollbacks_since(self, stage: StageKey, since: datetime) -> int:
        """Count automatic Rollbacks of a stage created since then."""
        ...

    def failed_with_commit(self, commit: CommitSha, stage_name: str) -> int:
        """Count Rollouts of a commit that ended Failed in stages of this name, anywhere."""
        ...

    def append_event(self, event: RunEvent) -> RunEvent:
        """Append to a run's log; the sequence number is given here."""
        ...

    def events(self, run: RunId) -> Sequence[RunEvent]:
        """Read a run's log, oldest first."""
        ...

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep evidence; replaces the same run, step, kind and non-empty key."""
        ...

    def evidence(self, run: RunId) -> Sequence[Evidence]:
        """Read a run's evidence, oldest first."""
        ...

    def hook(self, run: RunId, name: str) -> HookRun | None:
        """Read what is known of a hook of a run."""
        ...

    def save_hook(self, hook: HookRun) -> None:
        """Insert or replace it."""
        ...


class Work(Protocol):
    """The outbox."""

    def add(self, item: WorkItem) -> None:
        """Insert; an existing key keeps its row, with the earlier due time and generation + 1."""
        ...

    def claim(self, owner: str, limit: int, duration: timedelta) -> Sequence[WorkItem]:
        """Claim due items nobody works on (attempts + 1), oldest due time first."""
        ...

    def finish(self, item: WorkItem) -> None:
        """Remove a claimed item; if its generation grew since, make it due now instead."""
        ...

    def postpone(self, item: WorkItem, due_at: datetime) -> None:
        """Give a claimed item back, due later; if its generation grew since, due now."""
        ...

    def hasten(self, key: str, at: datetime) -> None:
        """Make an unclaimed item due at ``at`` if that is earlier. Safe to repeat."""
        ...

    def get(self, key: str) -> WorkItem | None:
        """Read one."""
        ...

    def remove(self, key: str) -> None:
        """Drop an item. Safe to repeat."""
        ...

    def next_due(self) -> datetime | None:
        """Tell when the next unclaimed item is due."""
        ...

    def release_claims(self, owner: str | None = None) -> int:
        """Give back the claims of one owner, or of all; for the start of the only process."""
        ...

    def backlog(self) -> Mapping[WorkKind, int]:
        """Count items by kind."""
        ...


class Votes(Protocol):
    """Approvals and rejections."""

    def add(self, vote: Vote) -> None:
        """Store a vote; the same subject, run and plan replaces the earlier one."""
        ...

    def of_run(self, run: RunId) -> Sequence[Vote]:
        """Read a run's votes, void ones too, oldest first."""
        ...

    def void(self, run: RunId, *, keep_plan: Digest | None, at: datetime) -> int:
        """Void a run's votes but those for ``keep_plan``; returns how many."""
        ...

    def page(self, page: Page) -> Sequence[Vote]:
        """List, newest first."""
        ...


class Quarantines(Protocol):
    """Quarantined bytes."""

    def add(self, quarantine: Quarantine) -> Quarantine:
        """Store one; one in force for the same stage and digest is returned instead."""
        ...

    def in_force(self, stage: StageKey) -> Sequence[Quarantine]:
        """Read a stage's quarantines that were not lifted."""
        ...

    def get(self, quarantine: str) -> Quarantine | None:
        """Read one."""
        ...

    def lift(self, quarantine: str, by: str, at: datetime) -> None:
        """Lift one. Safe to repeat: keeps the first."""
        ...

    def page(self, page: Page) -> Sequence[Quarantine]:
        """List, newest first."""
        ...


class Records(Protocol):
    """Tokens, freezes, audit, notifications, replicas, idempotency keys."""

    def add_token(self, token: Token) -> None:
        """Store a token."""
        ...

    def token_by_hash(self, hashed: str) -> Token | None:
        """Find a token by the hash of its secret."""
        ...

    def save_token(self, token: Token) -> None:
        """Store revocation and last use."""
        ...

    def tokens(self) -> Sequence[Token]:
        """List all, newest first."""
        ...

    def add_freeze(self, freeze: Freeze) -> None:
        """Store a freeze."""
        ...

    def freezes(self, *, in_force: bool) -> Sequence[Freeze]:
        """List freezes, newest first; only those in force at the transaction's time if asked."""
        ...

    def thaw(self, freeze: str, at: datetime) -> None:
        """End a freeze. Safe to repeat."""
        ...

    def append_audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; the sequence number is given here."""
        ...

    def audit(self, page: Page) -> Sequence[AuditEntry]:
        """List the audit log, newest first."""
        ...

    def add_notification(self, notification: Notification) -> bool:
        """Store a notification; False when its id is there already."""
        ...

    def notification(self, notification: str) -> Notification | None:
        """Read one."""
        ...

    def notifications_after(self, rowid: int, limit: int) -> Sequence[tuple[int, Notification]]:
        """Read notifications stored after a row number, oldest first (the event stream)."""
        ...

    def last_notification(self) -> int:
        """Read the row number of the newest notification; 0 when there is none."""
        ...

    def heartbeat(self, replica: Replica) -> None:
        """Insert or renew a replica's heartbeat."""
        ...

    def replicas(self) -> Sequence[Replica]:
        """List replicas."""
        ...

    def answer_of(self, key: str) -> JsonObject | None:
        """Read the answer stored for an idempotency key."""
        ...

    def put_answer(self, key: str, answer: JsonObject, at: datetime) -> bool:
        """Store the answer for an idempotency key; False when one is there already."""
        ...


class Transaction(Protocol):
    """Everything stored, inside one transaction."""

    @property
    def now(self) -> datetime:
        """The database's time at the start of the transaction; never earlier than before."""
        ...

    @property
    def installation(self) -> str:
        """Id of this installation, made when the store was."""
        ...

    @property
    def deliveries(self) -> Deliveries: ...  # noqa: D102 - each property names its protocol
    @property
    def refs(self) -> Refs: ...  # noqa: D102 - as above
    @property
    def releases(self) -> Releases: ...  # noqa: D102 - as above
    @property
    def rendered(self) -> RenderedSets: ...  # noqa: D102 - as above
    @property
    def specs(self) -> Specs: ...  # noqa: D102 - as above
    @property
    def stages(self) -> Stages: ...  # noqa: D102 - as above
    @property
    def verifications(self) -> Verifications: ...  # noqa: D102 - as above
    @property
    def runs(self) -> Runs: ...  # noqa: D102 - as above
    @property
    def work(self) -> Work: ...  # noqa: D102 - as above
    @property
    def votes(self) -> Votes: ...  # noqa: D102 - as above
    @property
    def quarantines(self) -> Quarantines: ...  # noqa: D102 - as above
    @property
    def records(self) -> Records: ...  # noqa: D102 - as above


class Store(Protocol):
    """The database."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction and commit; anything it raises rolls back.

        ``work`` may run more than once (a serialization failure is tried again), so it has no
        effect but through its transaction.

        Raises:
            ConflictError: A conditional write lost.
            TemporaryError: The database does not answer.
        """
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on one consistent snapshot; it must not write."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
