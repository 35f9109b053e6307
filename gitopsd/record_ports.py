"""Protocols of the records: everything stored that is no run, stage, verification or work.

The transaction that they are parts of lives in `gitopsd.store_ports`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.contributions import Push
from gitopsd.domain.gates import GateSkip, Vote
from gitopsd.domain.images import ImageState, ResolvedImage
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
from gitopsd.domain.reports import ChannelState, MessageHandle
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import (
    CommitSha,
    Delivery,
    DeliveryId,
    DeliveryState,
    RefName,
    RefState,
    RepoURL,
)
from gitopsd.domain.stages import Freeze, StageRendering
from gitopsd.domain.verifications import Quarantine
from gitopsd.domain.work import (
    AuditEntry,
    Notification,
    Page,
    Replica,
    Token,
)


class Deliveries(Protocol):
    """The inbox."""

    def add(self, delivery: Delivery) -> bool:
        """Store a delivery; False when (receiver, key, body hash) is there already."""

    def add_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store many at once; those that are there already stay as they are."""

    def find(self, receiver: str, key: str, body_sha256: str) -> Delivery | None:
        """Find a stored delivery by its identity."""

    def get(self, delivery: DeliveryId) -> Delivery | None:
        """Read one."""

    def get_all(self, deliveries: Sequence[DeliveryId]) -> Sequence[Delivery]:
        """Read many at once, oldest first; those that are not there are left out."""

    def save(self, delivery: Delivery) -> None:
        """Store new state, attempts and reason."""

    def save_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store new state, attempts and reason of many at once."""

    def count_refused(self, receiver: str) -> None:
        """Count one refused (badly signed) request; nothing else of it is stored."""

    def refused(self) -> Mapping[str, int]:
        """Read the counters of refused requests."""

    def page(self, page: Page, *, state: DeliveryState | None = None) -> Sequence[Delivery]:
        """List, newest first."""

    def drop(self, before: datetime, limit: int) -> int:
        """Delete deliveries received before, oldest first, that wait for nothing any more.

        Returns how many; 0 when none of the oldest is that old.
        """

    def page_without_bodies(
        self, page: Page, *, state: DeliveryState | None = None
    ) -> Sequence[tuple[Delivery, int]]:
        """List, newest first, with empty bodies and the bytes of the real ones.

        A page of whole deliveries can hold a gigabyte.
        """


class Refs(Protocol):
    """Watched refs."""

    def get(self, repo: RepoURL, ref: RefName) -> RefState | None:
        """Read one."""

    def save(self, state: RefState) -> None:
        """Insert or replace one, but for ``wanted`` and ``expected``, which only `want` raises."""

    def want(
        self, repo: RepoURL, ref: RefName, *, expected: CommitSha | None, at: datetime
    ) -> RefState:
        """Count one hint to look (``wanted`` + 1, ``tries`` 0), creating the row when new."""

    def page(self) -> Sequence[RefState]:
        """Read all."""


class Pushes(Protocol):
    """Who pushed which commit, as webhooks said."""

    def add(self, push: Push) -> None:
        """Keep one. Safe to repeat: the first of a commit and pusher stays."""

    def pushers(
        self, repo: RepoURL, commits: Collection[CommitSha]
    ) -> Mapping[CommitSha, tuple[str, ...]]:
        """Read who pushed some commits, in the order it was told; others are left out."""

    def drop(self, before: datetime, limit: int) -> int:
        """Delete what was told before, oldest first, at most ``limit``; returns how many went."""


class Releases(Protocol):
    """Releases, offers, seen commits, renderings."""

    def add(self, release: Release) -> bool:
        """Store a release; False when its id is there already."""

    def get(self, release: ReleaseId) -> Release | None:
        """Read one."""

    def get_many(self, releases: Iterable[ReleaseId]) -> Mapping[ReleaseId, Release]:
        """Read several at once; those that are not there are left out."""

    def page(self, application: ApplicationName, page: Page) -> Sequence[Release]:
        """List an application's releases, last offered first."""

    def offer(self, line: Line, release: ReleaseId, at: datetime, kind: OfferKind) -> Offer:
        """Make a release the head of its line under the next number."""

    def head(self, line: Line) -> Offer | None:
        """Read the line's newest offer."""

    def offers(self, line: Line, limit: int = 200) -> Sequence[Offer]:
        """Read the last offer of each release of a line, newest first."""

    def last_offer(self, line: Line, release: ReleaseId) -> Offer | None:
        """Read the last offer of one release."""

    def see(self, commit: SeenCommit) -> None:
        """Record a commit that was a line's head. Safe to repeat."""

    def seen(self, sha: CommitSha) -> Sequence[SeenCommit]:
        """Find where a commit was seen."""

    def find(self, application: ApplicationName | None, image_digest: Digest) -> Sequence[Release]:
        """Find releases that carry an image digest."""

    def put_rendering(self, rendering: StageRendering) -> None:
        """Record what a release rendered to. Safe to repeat: replaces."""

    def renderings(self, stage: StageKey) -> Mapping[ReleaseId, StageRendering]:
        """Read what releases rendered to in a stage."""


class Images(Protocol):
    """Images: what is followed, what was resolved, what releases are pinned to and found by."""

    def get(self, name: str) -> ImageState | None:
        """Read what is known of a followed image."""

    def save(self, state: ImageState) -> None:
        """Insert or replace it."""

    def page(self) -> Sequence[ImageState]:
        """Read all, by name."""

    def resolved(self, reference: str) -> ResolvedImage | None:
        """Read what a reference was resolved to last, for whichever release."""

    def put_resolved(self, resolved: ResolvedImage) -> None:
        """Insert or replace it."""

    def pins(self, release: ReleaseId) -> Mapping[str, Digest]:
        """Read what a release's image references are pinned to."""

    def put_pins(self, release: ReleaseId, pins: Mapping[str, Digest]) -> Mapping[str, Digest]:
        """Pin references of a release; returns all its pins.

        A reference that is pinned already keeps its digest: what was verified in one stage is what
        the next one gets.
        """

    def mark(self, application: ApplicationName, release: ReleaseId, marks: Iterable[str]) -> None:
        """Let a release be found by marks, beside those it has. Safe to repeat."""

    def marked(self, application: ApplicationName, mark: str) -> Sequence[ReleaseId]:
        """Find the releases that carry a mark, by id."""


class RenderedSets(Protocol):
    """Rendered sets by digest; Secret bodies are encrypted at rest."""

    def put(self, rendered: RenderedSet) -> None:
        """Store a set. Safe to repeat.

        Raises:
            PermanentError: It holds Secrets and there is no encryption key; says how to make one.
        """

    def get(self, digest: Digest) -> RenderedSet | None:
        """Read a set, decrypted.

        Raises:
            LostError: The key that sealed its Secrets is not among those configured.
        """

    def drop(self, digests: Collection[Digest]) -> None:
        """Delete sets, and the objects that no other set has. Safe to repeat."""


class Specs(Protocol):
    """Revisions of application files."""

    def add(self, spec: ApplicationSpec, at: datetime) -> ApplicationSpec:
        """Store a valid file as the current revision; returns it with its number.

        Equal content keeps its number.
        """

    def get(self, application: ApplicationName, revision: int) -> ApplicationSpec | None:
        """Read one revision."""

    def current(self, application: ApplicationName) -> ApplicationSpec | None:
        """Read the current revision; None when the file was removed."""

    def currents(self) -> Sequence[ApplicationSpec]:
        """Read all current revisions, by name."""

    def remove(self, application: ApplicationName, at: datetime) -> None:
        """Record that the file is gone; old revisions stay."""


class Votes(Protocol):
    """Approvals and rejections."""

    def add(self, vote: Vote) -> None:
        """Store a vote; the same subject, run and plan replaces the earlier one."""

    def of_run(self, run: RunId) -> Sequence[Vote]:
        """Read a run's votes, void ones too, oldest first."""

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete every vote for some runs. Safe to repeat."""

    def void(self, run: RunId, *, keep_plan: Digest | None, at: datetime) -> int:
        """Void a run's votes but those for ``keep_plan``; returns how many."""

    def page(self, page: Page) -> Sequence[Vote]:
        """List, newest first."""


class Skips(Protocol):
    """Gates that people let runs pass."""

    def add(self, skip: GateSkip) -> None:
        """Store one; a second one of a gate and plan is kept beside it."""

    def of_run(self, run: RunId) -> Sequence[GateSkip]:
        """Read a run's, void ones too, oldest first."""

    def void(self, run: RunId, at: datetime) -> int:
        """Void a run's; returns how many counted until now."""

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete those of some runs. Safe to repeat."""


class Quarantines(Protocol):
    """Quarantined bytes."""

    def add(self, quarantine: Quarantine) -> Quarantine:
        """Store one; one in force for the same stage and digest is returned instead."""

    def in_force(self, stage: StageKey) -> Sequence[Quarantine]:
        """Read a stage's quarantines that were not lifted."""

    def get(self, quarantine: str) -> Quarantine | None:
        """Read one."""

    def lift(self, quarantine: str, by: str, at: datetime) -> None:
        """Lift one. Safe to repeat: keeps the first."""

    def page(self, page: Page) -> Sequence[Quarantine]:
        """List, newest first."""


class Handles(Protocol):
    """Where channels show reports, and how channels fare."""

    def begin(self, handle: MessageHandle) -> bool:
        """Store a handle; False when its channel shows its subject already."""

    def get(self, channel: str, subject: str) -> MessageHandle | None:
        """Read one."""

    def save(self, handle: MessageHandle, *, expected_version: int) -> None:
        """Store ``handle`` (its version already raised) if the stored is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """

    def about(self, topics: Collection[str]) -> Sequence[MessageHandle]:
        """Read the handles that one of the topics concerns, by channel and subject."""

    def drop(self, before: datetime, limit: int) -> int:
        """Delete handles begun before, oldest first, at most ``limit``; returns how many went."""

    def save_channel(self, state: ChannelState) -> None:
        """Insert or replace how a channel fares."""

    def channel(self, name: str) -> ChannelState | None:
        """Read how a channel fares; None when nothing was ever wrong with it."""

    def channels(self) -> Sequence[ChannelState]:
        """List how channels fare, by name."""


class Records(Protocol):
    """Tokens, freezes, audit, notifications, replicas, idempotency keys."""

    def add_token(self, token: Token) -> None:
        """Store a token."""

    def token_by_hash(self, hashed: str) -> Token | None:
        """Find a token by the hash of its secret."""

    def save_token(self, token: Token) -> None:
        """Store revocation and last use."""

    def tokens(self) -> Sequence[Token]:
        """List all, newest first."""

    def add_freeze(self, freeze: Freeze) -> None:
        """Store a freeze."""

    def freezes(self, *, in_force: bool) -> Sequence[Freeze]:
        """List freezes, newest first; only those in force at the transaction's time if asked."""

    def thaw(self, freeze: str, at: datetime) -> None:
        """End a freeze. Safe to repeat."""

    def append_audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; the sequence number is given here."""

    def audit(self, page: Page) -> Sequence[AuditEntry]:
        """List the audit log, newest first."""

    def add_notification(self, notification: Notification) -> bool:
        """Store a notification; False when its id is there already."""

    def notification(self, notification: str) -> Notification | None:
        """Read one."""

    def notifications_after(self, rowid: int, limit: int) -> Sequence[tuple[int, Notification]]:
        """Read notifications stored after a row number, oldest first (the event stream)."""

    def last_notification(self) -> int:
        """Read the row number of the newest notification; 0 when there is none."""

    def drop(self, before: datetime, limit: int) -> int:
        """Delete audit entries, notifications and answers of before, oldest first.

        The newest notification stays: the event stream goes on from its number. Returns how many
        went, at most ``limit`` of each; 0 when none of the oldest is that old.
        """

    def heartbeat(self, replica: Replica) -> None:
        """Insert or renew a replica's heartbeat."""

    def forget_replica(self, replica: str) -> None:
        """Drop a replica; one that is not there is no error."""

    def replicas(self) -> Sequence[Replica]:
        """List replicas."""

    def answer_of(self, key: str) -> JsonObject | None:
        """Read the answer stored for an idempotency key."""

    def put_answer(self, key: str, answer: JsonObject, at: datetime) -> bool:
        """Store the answer for an idempotency key; False when one is there already."""
