"""Verifications and quarantines in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.releases import StageKey
from gitopsd.domain.verifications import Quarantine, Verification, VerificationId
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.store.codec import codec_of
from gitopsd.store.paging import page_after
from gitopsd.store.session import Row, Session, insert_once
from gitopsd.store.tables import quarantines, verifications

_VERIFICATION = codec_of(Verification)
_QUARANTINE = codec_of(Quarantine)

_GET = sa.select(verifications).where(verifications.c.id == sa.bindparam("of"))
_NEWEST = (
    sa.select(verifications)
    .where(
        verifications.c.application == sa.bindparam("of_application"),
        verifications.c.stage == sa.bindparam("of_stage"),
    )
    .order_by(verifications.c.sequence.desc())
    .limit(sa.bindparam("at_most"))
)
_REVOKE = sa.update(verifications).where(
    verifications.c.id == sa.bindparam("of"), verifications.c.revoked_at.is_(None)
)
_ADD = insert_once(verifications)
_QUARANTINE_NEW = insert_once(quarantines)
_IN_FORCE = (
    sa.select(quarantines)
    .where(
        quarantines.c.application == sa.bindparam("of_application"),
        quarantines.c.stage == sa.bindparam("of_stage"),
        quarantines.c.lifted_at.is_(None),
    )
    .order_by(quarantines.c.seq)
)
_SAME = _IN_FORCE.where(quarantines.c.rendered == sa.bindparam("of_rendered"))
_GET_QUARANTINE = sa.select(quarantines).where(quarantines.c.id == sa.bindparam("of"))
_LIFT = sa.update(quarantines).where(
    quarantines.c.id == sa.bindparam("of"), quarantines.c.lifted_at.is_(None)
)


class SqlVerifications:
    """What was verified; implements ``store_ports.Verifications``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, verification: Verification) -> Verification:
        """Store one; returns it with its sequence number.

        Raises:
            ConflictError: Its id is there already.
        """
        stored = replace(verification, sequence=self._session.next_number("verifications"))
        added = self._session.run(
            _ADD,
            sequence=stored.sequence,
            id=stored.id,
            application=stored.stage.application,
            stage=stored.stage.stage,
            revoked_at=stored.revoked_at,
            doc=_VERIFICATION.encode(stored),
        )
        if not added:
            raise ConflictError(f"A verification {stored.id} is there already; make another id.")
        return stored

    def get(self, verification: VerificationId) -> Verification | None:
        """Read one."""
        row = self._session.first(_GET, of=verification)
        return None if row is None else _verification(row)

    def page(self, stage: StageKey, limit: int = 100) -> Sequence[Verification]:
        """Read a stage's verifications, newest sequence first, revoked ones too."""
        rows = self._session.rows(_NEWEST, **_names(stage), at_most=limit)
        return [_verification(row) for row in rows]

    def revoke(self, verification: VerificationId, at: datetime) -> None:
        """Revoke one; keeps the first time."""
        self._session.run(_REVOKE, of=verification, revoked_at=at)


class SqlQuarantines:
    """Quarantined bytes; implements ``store_ports.Quarantines``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, quarantine: Quarantine) -> Quarantine:
        """Store one; one in force for the same stage and digest is returned instead.

        Raises:
            ConflictError: Its id is another quarantine's.
        """
        names = _names(quarantine.stage)
        self._session.run(
            _QUARANTINE_NEW,
            id=quarantine.id,
            application=quarantine.stage.application,
            stage=quarantine.stage.stage,
            rendered=quarantine.rendered,
            lifted_at=quarantine.lifted_at,
            lifted_by=quarantine.lifted_by,
            doc=_QUARANTINE.encode(quarantine),
        )
        row = self._session.first(_SAME, **names, of_rendered=quarantine.rendered)
        if row is None:
            raise ConflictError(f"A quarantine {quarantine.id} is there already; make another id.")
        return _quarantine(row)

    def in_force(self, stage: StageKey) -> Sequence[Quarantine]:
        """Read a stage's quarantines that were not lifted, oldest first."""
        return [_quarantine(row) for row in self._session.rows(_IN_FORCE, **_names(stage))]

    def get(self, quarantine: str) -> Quarantine | None:
        """Read one."""
        row = self._session.first(_GET_QUARANTINE, of=quarantine)
        return None if row is None else _quarantine(row)

    def lift(self, quarantine: str, by: str, at: datetime) -> None:
        """Lift one; keeps the first."""
        self._session.run(_LIFT, of=quarantine, lifted_by=by, lifted_at=at)

    def page(self, page: Page) -> Sequence[Quarantine]:
        """List, newest first; the cursor is a quarantine's id."""
        rows = self._session.rows(page_after(sa.select(quarantines), quarantines, page))
        return [_quarantine(row) for row in rows]


def _names(stage: StageKey) -> dict[str, str]:
    return {"of_application": stage.application, "of_stage": stage.stage}


def _verification(row: Row) -> Verification:
    return replace(_VERIFICATION.decode(row.doc), revoked_at=row.revoked_at)


def _quarantine(row: Row) -> Quarantine:
    stored = _QUARANTINE.decode(row.doc)
    return replace(stored, lifted_at=row.lifted_at, lifted_by=row.lifted_by)
