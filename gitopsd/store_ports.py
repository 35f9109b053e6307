"""Protocols of the store.

A transaction is a plain function over `Transaction`, run by the store in one database transaction:
it cannot await, so no transaction is ever held across network I/O. Times inside come from the
database's clock. Every save is conditional on the version that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.releases import (
    ApplicationName,
    ReleaseId,
    StageKey,
)
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.sources import (
    CommitSha,
)
from gitopsd.domain.stages import Lease, Stage
from gitopsd.domain.verifications import Verification, VerificationId
from gitopsd.domain.work import (
    Evidence,
    HookRun,
    LiveState,
    Page,
    RunEvent,
    WorkItem,
    WorkKind,
)
from gitopsd.record_ports import (
    Deliveries,
    Handles,
    Images,
    Pushes,
    Quarantines,
    Records,
    Refs,
    Releases,
    RenderedSets,
    Skips,
    Specs,
    Votes,
)
from gitopsd.source_ports import Agreements

T = TypeVar("T")


class Stages(Protocol):
    """Stages with their slots, lease and fence."""

    def get(self, key: StageKey) -> Stage | None:
        """Read one."""

    def add(self, stage: Stage) -> None:
        """Create one at version 0."""

    def save(self, stage: Stage) -> Stage:
        """Store a stage read at ``stage.version``; returns it with the next version.

        Never writes ``owner``, ``lease_until`` or ``fence``: those belong to the lease methods.

        Raises:
            ConflictError: Its version changed since.
        """

    def page(self, application: ApplicationName | None = None) -> Sequence[Stage]:
        """List stages, retired ones too, by key."""

    def claim(
        self, key: StageKey, owner: str, duration: timedelta, *, cluster_fence: int
    ) -> Lease | None:
        """Take the lease with fence = max(database, cluster) + 1; None while another owner has it.

        The same owner may claim again (a new fence each time).
        """

    def renew(self, lease: Lease, duration: timedelta) -> Lease | None:
        """Extend a lease; None when it is no longer ours (owner or fence differ)."""

    def release(self, lease: Lease) -> None:
        """Give a lease back if it is still ours. Safe to repeat."""


class Verifications(Protocol):
    """What was verified."""

    def add(self, verification: Verification) -> Verification:
        """Store one; returns it with its sequence number."""

    def get(self, verification: VerificationId) -> Verification | None:
        """Read one."""

    def page(self, stage: StageKey, limit: int = 100) -> Sequence[Verification]:
        """Read a stage's verifications, newest sequence first, revoked ones too."""

    def revoke(self, verification: VerificationId, at: datetime) -> None:
        """Revoke one. Safe to repeat: keeps the first time."""


class Runs(Protocol):
    """Runs and what is kept with them."""

    def add(self, run: Run) -> None:
        """Store a new run at version 0."""

    def get(self, run: RunId) -> Run | None:
        """Read one."""

    def save(self, run: Run, *, expected_version: int) -> None:
        """Store ``run`` (its version already raised) if the stored one is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete runs with all that is kept with them. Safe to repeat."""

    def live(self) -> Sequence[Run]:
        """Read all runs that are Pending or Running."""

    def page(
        self,
        page: Page,
        *,
        application: ApplicationName | None = None,
        stage: StageKey | None = None,
        release: ReleaseId | None = None,
    ) -> Sequence[Run]:
        """List, newest first."""

    def last_rollouts(self, stage: StageKey) -> Mapping[ReleaseId, Run]:
        """Read each release's last Rollout in a stage."""

    def rollbacks_since(self, stage: StageKey, since: datetime) -> int:
        """Count automatic Rollbacks of a stage created since then."""

    def failed_with_commit(self, commit: CommitSha, stage_name: str) -> int:
        """Count Rollouts of a commit that ended Failed in stages of this name, anywhere."""

    def append_event(self, event: RunEvent) -> RunEvent:
        """Append to a run's log; the sequence number is given here."""

    def events(self, run: RunId) -> Sequence[RunEvent]:
        """Read a run's log, oldest first."""

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep evidence; replaces the same run, step, kind and non-empty key."""

    def evidence(self, run: RunId) -> Sequence[Evidence]:
        """Read a run's evidence, oldest first."""

    def hook(self, run: RunId, name: str) -> HookRun | None:
        """Read what is known of a hook of a run."""

    def save_hook(self, hook: HookRun) -> None:
        """Insert or replace it."""

    def live_state(self, run: RunId) -> LiveState | None:
        """Read what a Rollback found in the cluster; None when that was not kept."""

    def put_live_state(self, state: LiveState) -> None:
        """Keep what a Rollback found in the cluster; what is kept already stays."""

    def put_observation(self, observation: GateObservation) -> None:
        """Keep the newest answer to a gate's question; replaces the one before."""

    def observations(self, run: RunId) -> Sequence[GateObservation]:
        """Read the newest answers to the questions of a run's gates, by question."""

    def forget_observations(self, run: RunId) -> None:
        """Drop the answers to the questions of a run's gates. Safe to repeat."""


class Work(Protocol):
    """The outbox."""

    def add(self, item: WorkItem) -> None:
        """Insert; an existing key keeps its row, with the earlier due time and generation + 1."""

    def add_all(self, items: Sequence[WorkItem]) -> None:
        """Insert many at once, each as `add` does."""

    def claim(self, owner: str, limit: int, duration: timedelta) -> Sequence[WorkItem]:
        """Claim due items nobody works on (attempts + 1), oldest due time first."""

    def claim_one(self, key: str, owner: str, duration: timedelta) -> WorkItem | None:
        """Claim one item by its key; None when it is not due, or somebody works on it."""

    def finish(self, item: WorkItem) -> None:
        """Remove a claimed item; if its generation grew since, make it due now instead."""

    def finish_all(self, items: Sequence[WorkItem]) -> None:
        """Finish many at once, each as `finish` does."""

    def postpone(self, item: WorkItem, due_at: datetime) -> None:
        """Give a claimed item back, due later; if its generation grew since, due now."""

    def hasten(self, key: str, at: datetime) -> None:
        """Make an unclaimed item due at ``at`` if that is earlier. Safe to repeat."""

    def get(self, key: str) -> WorkItem | None:
        """Read one."""

    def remove(self, key: str) -> None:
        """Drop an item. Safe to repeat."""

    def next_due(self) -> datetime | None:
        """Tell when the next unclaimed item is due."""

    def release_claims(self, owner: str | None = None) -> int:
        """Give back the claims of one owner, or of all; for the start of the only process."""

    def backlog(self) -> Mapping[WorkKind, int]:
        """Count items by kind."""


class Transaction(Protocol):
    """Everything stored, inside one transaction."""

    @property
    def now(self) -> datetime:
        """The database's time at the start of the transaction; never earlier than before."""

    @property
    def installation(self) -> str:
        """Id of this installation, made when the store was."""

    @property
    def deliveries(self) -> Deliveries: ...  # noqa: D102 - each property names its protocol
    @property
    def refs(self) -> Refs: ...  # noqa: D102 - as above
    @property
    def pushes(self) -> Pushes: ...  # noqa: D102 - as above
    @property
    def releases(self) -> Releases: ...  # noqa: D102 - as above
    @property
    def images(self) -> Images: ...  # noqa: D102 - as above
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
    def skips(self) -> Skips: ...  # noqa: D102 - as above
    @property
    def agreements(self) -> Agreements: ...  # noqa: D102 - as above
    @property
    def quarantines(self) -> Quarantines: ...  # noqa: D102 - as above
    @property
    def handles(self) -> Handles: ...  # noqa: D102 - as above
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

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on one consistent snapshot; it must not write."""

    async def close(self) -> None:
        """Close connections."""
