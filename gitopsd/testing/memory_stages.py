"""In-memory stages with their leases, verifications and quarantines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.stages import Lease, Stage
from gitopsd.domain.verifications import Quarantine, Verification, VerificationId
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.testing.memory_tables import Counter, Journal, Table, page_of


class MemoryStages:
    """Stages with their slots, lease and fence.

    Args:
        journal: Learns how to undo.
        now: Tells the time of the transaction.
    """

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self._rows: Table[StageKey, Stage] = Table(journal)
        self._now = now

    def get(self, key: StageKey) -> Stage | None:
        """Read one."""
        return self._rows.get(key)

    def add(self, stage: Stage) -> None:
        """Create one at version 0.

        Raises:
            ConflictError: It is there already.
        """
        self._rows.insert(stage.key, replace(stage, version=0))

    def save(self, stage: Stage) -> Stage:
        """Store a stage read at ``stage.version``; returns it with the next version.

        Raises:
            ConflictError: Its version changed since.
        """
        old = self._rows.get(stage.key)
        if old is None or old.version != stage.version:
            raise ConflictError(
                f"Stage {stage.key} is no longer at version {stage.version}; read it again."
            )
        new = replace(
            stage,
            owner=old.owner,
            lease_until=old.lease_until,
            fence=old.fence,
            version=stage.version + 1,
        )
        self._rows.put(stage.key, new)
        return new

    def page(self, application: ApplicationName | None = None) -> Sequence[Stage]:
        """List stages, retired ones too, by key."""
        rows = (row for row in self._rows if application in (None, row.key.application))
        return sorted(rows, key=lambda row: row.key)

    def claim(
        self, key: StageKey, owner: str, duration: timedelta, *, cluster_fence: int
    ) -> Lease | None:
        """Take the lease with fence = max(database, cluster) + 1; None while another has it."""
        stage = self._rows.get(key)
        if stage is None:
            return None
        free = stage.lease_until is None or stage.lease_until <= self._now()
        if not free and stage.owner != owner:
            return None
        fence = max(stage.fence, cluster_fence) + 1
        lease = Lease(key, owner, fence, self._now() + duration)
        self._rows.put(key, replace(stage, owner=owner, fence=fence, lease_until=lease.until))
        return lease

    def renew(self, lease: Lease, duration: timedelta) -> Lease | None:
        """Extend a lease; None when it is no longer ours (owner or fence differ)."""
        stage = self._ours(lease)
        if stage is None:
            return None
        renewed = replace(lease, until=self._now() + duration)
        self._rows.put(lease.stage, replace(stage, lease_until=renewed.until))
        return renewed

    def release(self, lease: Lease) -> None:
        """Give a lease back if it is still ours."""
        stage = self._ours(lease)
        if stage is not None:
            self._rows.put(lease.stage, replace(stage, owner="", lease_until=None))

    def _ours(self, lease: Lease) -> Stage | None:
        stage = self._rows.get(lease.stage)
        if stage is None or (stage.owner, stage.fence) != (lease.owner, lease.fence):
            return None
        return stage


class MemoryVerifications:
    """What was verified."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[VerificationId, Verification] = Table(journal)
        self._number = Counter(journal)

    def add(self, verification: Verification) -> Verification:
        """Store one; returns it with its sequence number."""
        stored = replace(verification, sequence=self._number.next())
        self._rows.insert(stored.id, stored)
        return stored

    def get(self, verification: VerificationId) -> Verification | None:
        """Read one."""
        return self._rows.get(verification)

    def page(self, stage: StageKey, limit: int = 100) -> Sequence[Verification]:
        """Read a stage's verifications, newest sequence first, revoked ones too."""
        return [row for row in reversed(self._rows) if row.stage == stage][:limit]

    def revoke(self, verification: VerificationId, at: datetime) -> None:
        """Revoke one; keeps the first time."""
        row = self._rows.get(verification)
        if row is not None and row.revoked_at is None:
            self._rows.put(verification, replace(row, revoked_at=at))


class MemoryQuarantines:
    """Quarantined bytes."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[str, Quarantine] = Table(journal)

    def add(self, quarantine: Quarantine) -> Quarantine:
        """Store one; one in force for the same stage and digest is returned instead."""
        for row in self.in_force(quarantine.stage):
            if row.rendered == quarantine.rendered:
                return row
        self._rows.insert(quarantine.id, quarantine)
        return quarantine

    def in_force(self, stage: StageKey) -> Sequence[Quarantine]:
        """Read a stage's quarantines that were not lifted, oldest first."""
        return [row for row in self._rows if row.stage == stage and row.lifted_at is None]

    def get(self, quarantine: str) -> Quarantine | None:
        """Read one."""
        return self._rows.get(quarantine)

    def lift(self, quarantine: str, by: str, at: datetime) -> None:
        """Lift one; keeps the first."""
        row = self._rows.get(quarantine)
        if row is not None and row.lifted_at is None:
            self._rows.put(quarantine, replace(row, lifted_at=at, lifted_by=by))

    def page(self, page: Page) -> Sequence[Quarantine]:
        """List, newest first."""
        return page_of(reversed(self._rows), page, lambda row: row.id)
