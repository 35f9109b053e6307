"""In-memory inbox, refs, releases, rendered sets and application files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.manifests import Digest, RenderedSet
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
from gitopsd.domain.sources import (
    CommitSha,
    Delivery,
    DeliveryId,
    DeliveryState,
    RefName,
    RefState,
    RepoURL,
)
from gitopsd.domain.stages import StageRendering
from gitopsd.domain.work import Page
from gitopsd.errors import LostError, PermanentError
from gitopsd.testing.memory_tables import Counter, Journal, Table, page_of


class MemoryDeliveries:
    """The inbox."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[DeliveryId, Delivery] = Table(journal)
        self._refused: Table[str, int] = Table(journal)

    def add(self, delivery: Delivery) -> bool:
        """Store a delivery; False when (receiver, key, body hash) is there already."""
        if self.find(delivery.receiver, delivery.key, delivery.body_sha256) is not None:
            return False
        self._rows.insert(delivery.id, delivery)
        return True

    def add_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store many at once; those that are there already stay as they are."""
        for delivery in deliveries:
            self.add(delivery)

    def find(self, receiver: str, key: str, body_sha256: str) -> Delivery | None:
        """Find a stored delivery by its identity."""
        wanted = (receiver, key, body_sha256)
        rows = (row for row in self._rows if (row.receiver, row.key, row.body_sha256) == wanted)
        return next(rows, None)

    def get(self, delivery: DeliveryId) -> Delivery | None:
        """Read one."""
        return self._rows.get(delivery)

    def get_all(self, deliveries: Sequence[DeliveryId]) -> Sequence[Delivery]:
        """Read many at once, oldest first; those that are not there are left out."""
        wanted = frozenset(deliveries)
        return [row for row in self._rows if row.id in wanted]

    def save_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store new state, attempts and reason of many at once."""
        for delivery in deliveries:
            self.save(delivery)

    def save(self, delivery: Delivery) -> None:
        """Store new state, attempts and reason."""
        row = self._rows.get(delivery.id)
        if row is not None:
            new = replace(
                row, state=delivery.state, attempts=delivery.attempts, reason=delivery.reason
            )
            self._rows.put(delivery.id, new)

    def drop(self, before: datetime, limit: int) -> int:
        """Delete finished deliveries received before, oldest first; returns how many."""
        finished = [row for row in self._rows if row.state is not DeliveryState.STORED]
        old = [row.id for row in finished[:limit] if row.received_at < before]
        for name in old:
            self._rows.remove(name)
        return len(old)

    def count_refused(self, receiver: str) -> None:
        """Count one refused request."""
        self._refused.put(receiver, (self._refused.get(receiver) or 0) + 1)

    def refused(self) -> Mapping[str, int]:
        """Read the counters of refused requests."""
        return dict(self._refused.items())

    def page(self, page: Page, *, state: DeliveryState | None = None) -> Sequence[Delivery]:
        """List, newest first."""
        rows = (row for row in reversed(self._rows) if state is None or row.state is state)
        return page_of(rows, page, lambda row: row.id)

    def page_without_bodies(
        self, page: Page, *, state: DeliveryState | None = None
    ) -> Sequence[tuple[Delivery, int]]:
        """List, newest first, with empty bodies and the bytes of the real ones."""
        rows = self.page(page, state=state)
        return [(replace(row, body=b""), len(row.body)) for row in rows]


class MemoryRefs:
    """Watched refs."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[tuple[RepoURL, RefName], RefState] = Table(journal)

    def get(self, repo: RepoURL, ref: RefName) -> RefState | None:
        """Read one."""
        return self._rows.get((repo, ref))

    def save(self, state: RefState) -> None:
        """Insert or replace one, but for ``wanted`` and ``expected`` of one that is there."""
        old = self._rows.get((state.repo, state.ref))
        if old is not None:
            state = replace(state, wanted=old.wanted, expected=old.expected)
        self._rows.put((state.repo, state.ref), state)

    def want(
        self, repo: RepoURL, ref: RefName, *, expected: CommitSha | None, at: datetime
    ) -> RefState:
        """Count one hint to look."""
        state = self._rows.get((repo, ref)) or RefState(repo, ref, next_look_at=at)
        state = replace(state, wanted=state.wanted + 1, expected=expected, tries=0)
        self._rows.put((repo, ref), state)
        return state

    def page(self) -> Sequence[RefState]:
        """Read all, by repository and ref."""
        return sorted(self._rows, key=lambda row: (row.repo, row.ref))


class MemoryReleases:
    """Releases, offers, seen commits, renderings."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[ReleaseId, Release] = Table(journal)
        self._offers: Table[int, Offer] = Table(journal)
        self._number = Counter(journal)
        self._seen: Table[tuple[Line, CommitSha], SeenCommit] = Table(journal)
        self._renderings: Table[tuple[StageKey, ReleaseId], StageRendering] = Table(journal)

    def add(self, release: Release) -> bool:
        """Store a release; False when its id is there already."""
        if release.id in self._rows:
            return False
        self._rows.insert(release.id, release)
        return True

    def get(self, release: ReleaseId) -> Release | None:
        """Read one."""
        return self._rows.get(release)

    def get_many(self, releases: Iterable[ReleaseId]) -> Mapping[ReleaseId, Release]:
        """Read several at once; those that are not there are left out."""
        found = (self._rows.get(one) for one in releases)
        return {release.id: release for release in found if release is not None}

    def page(self, application: ApplicationName, page: Page) -> Sequence[Release]:
        """List an application's releases, last offered first, then those never offered."""
        offered = {offer.release: offer.number for offer in self._offers}
        newest = [row for row in reversed(self._rows) if row.application == application]
        newest.sort(key=lambda row: -offered.get(row.id, 0))
        return page_of(newest, page, lambda row: row.id)

    def offer(self, line: Line, release: ReleaseId, at: datetime, kind: OfferKind) -> Offer:
        """Make a release the head of its line under the next number."""
        offer = Offer(self._number.next(), line, release, at, kind)
        self._offers.insert(offer.number, offer)
        return offer

    def head(self, line: Line) -> Offer | None:
        """Read the line's newest offer."""
        return next((offer for offer in reversed(self._offers) if offer.line == line), None)

    def offers(self, line: Line, limit: int = 200) -> Sequence[Offer]:
        """Read the last offer of each release of a line, newest first."""
        last: dict[ReleaseId, Offer] = {}
        for offer in reversed(self._offers):
            if offer.line == line:
                last.setdefault(offer.release, offer)
        return list(last.values())[:limit]

    def last_offer(self, line: Line, release: ReleaseId) -> Offer | None:
        """Read the last offer of one release."""
        offers = (offer for offer in reversed(self._offers) if offer.line == line)
        return next((offer for offer in offers if offer.release == release), None)

    def see(self, commit: SeenCommit) -> None:
        """Record a commit that was a line's head; again, it keeps its first time."""
        old = self._seen.get((commit.line, commit.sha))
        at = commit.at if old is None else old.at
        self._seen.put((commit.line, commit.sha), replace(commit, at=at))

    def seen(self, sha: CommitSha) -> Sequence[SeenCommit]:
        """Find where a commit was seen, by line."""
        return sorted((row for row in self._seen if row.sha == sha), key=lambda row: row.line)

    def find(self, application: ApplicationName | None, image_digest: Digest) -> Sequence[Release]:
        """Find releases that carry an image digest, newest first."""
        return [
            row
            for row in reversed(self._rows)
            if application in (None, row.application) and image_digest in row.images.values()
        ]

    def put_rendering(self, rendering: StageRendering) -> None:
        """Record what a release rendered to."""
        self._renderings.put((rendering.stage, rendering.release), rendering)

    def renderings(self, stage: StageKey) -> Mapping[ReleaseId, StageRendering]:
        """Read what releases rendered to in a stage."""
        return {row.release: row for row in self._renderings if row.stage == stage}


class MemoryRenderedSets:
    """Rendered sets by digest.

    Args:
        journal: Learns how to undo.
        sensitive_kinds: Kinds refused as long as no key is there.
        has_key: Whether to behave as with an encryption key; nothing is encrypted in memory.
    """

    def __init__(self, journal: Journal, sensitive_kinds: frozenset[str], *, has_key: bool) -> None:
        self._rows: Table[Digest, RenderedSet] = Table(journal)
        self._sensitive_kinds = sensitive_kinds
        self._has_key = has_key
        self.gone: set[Digest] = set()
        """Put digests here to behave as if these sets were not stored."""
        self.locked: set[Digest] = set()
        """Put digests here to behave as if the key that sealed these sets were lost."""

    def put(self, rendered: RenderedSet) -> None:
        """Store a set.

        Raises:
            PermanentError: It holds Secrets and there is no encryption key.
        """
        kinds = {str(one.get("kind")) for one in rendered.objects} & self._sensitive_kinds
        if kinds and not self._has_key:
            raise PermanentError(
                f"The rendered set holds {', '.join(sorted(kinds))} and there is no encryption "
                "key. Make one with `head -c 32 /dev/urandom | base64 > FILE` and set "
                "GITOPSD_ENCRYPTION_KEY_FILE=FILE.",
                reason="NoEncryptionKey",
            )
        self.gone.discard(rendered.digest)
        self.locked.discard(rendered.digest)
        if rendered.digest not in self._rows:
            self._rows.insert(rendered.digest, rendered)

    def get(self, digest: Digest) -> RenderedSet | None:
        """Read a set.

        Raises:
            LostError: It is `locked`.
        """
        if digest in self.locked:
            raise LostError(
                f"The objects of {digest} were encrypted with a key that is not in the encryption "
                "key file; add that key as its second line.",
                reason="UnknownEncryptionKey",
            )
        return self._rows.get(digest) if digest not in self.gone else None

    def drop(self, digests: Collection[Digest]) -> None:
        """Delete sets."""
        for digest in digests:
            self._rows.remove(digest)


@dataclass(frozen=True, slots=True)
class _Application:
    revisions: tuple[ApplicationSpec, ...] = ()
    current: int | None = None


class MemorySpecs:
    """Revisions of application files."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[ApplicationName, _Application] = Table(journal)

    def add(self, spec: ApplicationSpec, at: datetime) -> ApplicationSpec:  # noqa: ARG002 - the fake keeps no times
        """Store a valid file as the current revision; equal content keeps its number."""
        row = self._rows.get(spec.name) or _Application()
        same = (old for old in row.revisions if _content(old) == _content(spec))
        number = next((old.revision for old in same), len(row.revisions) + 1)
        stored = replace(spec, revision=number)
        revisions = (*row.revisions[: number - 1], stored, *row.revisions[number:])
        self._rows.put(spec.name, _Application(revisions, number))
        return stored

    def get(self, application: ApplicationName, revision: int) -> ApplicationSpec | None:
        """Read one revision."""
        row = self._rows.get(application) or _Application()
        return next((spec for spec in row.revisions if spec.revision == revision), None)

    def current(self, application: ApplicationName) -> ApplicationSpec | None:
        """Read the current revision; None when the file was removed."""
        row = self._rows.get(application)
        return None if row is None or row.current is None else row.revisions[row.current - 1]

    def currents(self) -> Sequence[ApplicationSpec]:
        """Read all current revisions, by name."""
        found = (self.current(name) for name, _ in sorted(self._rows.items(), key=lambda kv: kv[0]))
        return [spec for spec in found if spec is not None]

    def remove(self, application: ApplicationName, at: datetime) -> None:  # noqa: ARG002 - as above
        """Record that the file is gone; old revisions stay."""
        row = self._rows.get(application)
        if row is not None:
            self._rows.put(application, replace(row, current=None))


def _content(spec: ApplicationSpec) -> object:
    return spec.digest or replace(spec, revision=0, file="")
