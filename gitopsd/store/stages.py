"""Stages with their leases in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.stages import Lease, Stage
from gitopsd.errors import ConflictError
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Row, Session, insert_new
from gitopsd.store.tables import stages as table

_STAGE = codec_of(Stage)

_ADD = insert_new(table, "application", "stage")
_THIS = (
    table.c.application == sa.bindparam("of_application"),
    table.c.stage == sa.bindparam("of_stage"),
)
_GET = sa.select(table).where(*_THIS)
_SAVE = (
    sa.update(table)
    .where(*_THIS, table.c.version == sa.bindparam("read_version"))
    .values(version=table.c.version + 1, doc=sa.bindparam("new_doc"))
    .returning(table.c.owner, table.c.lease_until, table.c.fence)
)
_AT_LEAST = sa.bindparam("cluster_fence", type_=sa.BigInteger)
_CLAIM = (
    sa.update(table)
    .where(
        *_THIS,
        sa.or_(
            table.c.lease_until.is_(None),
            table.c.lease_until <= sa.bindparam("now"),
            table.c.owner == sa.bindparam("new_owner"),
        ),
    )
    .values(
        owner=sa.bindparam("new_owner"),
        lease_until=sa.bindparam("until"),
        fence=sa.case((table.c.fence < _AT_LEAST, _AT_LEAST), else_=table.c.fence) + 1,
    )
    .returning(table.c.fence)
)
_OURS = (*_THIS, table.c.owner == sa.bindparam("ours"), table.c.fence == sa.bindparam("held"))
_RENEW = sa.update(table).where(*_OURS).values(lease_until=sa.bindparam("until"))
_RELEASE = sa.update(table).where(*_OURS).values(owner="", lease_until=None)


class SqlStages:
    """Stages with their slots, lease and fence; implements ``store_ports.Stages``.

    What a transaction has read, or stored, it need not read again: whoever changes it meanwhile
    shows when it is saved.

    Args:
        session: The transaction.
        now: Tells the database's time.
    """

    def __init__(self, session: Session, now: Callable[[], datetime]) -> None:
        self._session = session
        self._now = now
        self._known: dict[StageKey, Stage] = {}

    def get(self, key: StageKey) -> Stage | None:
        """Read one."""
        if key not in self._known:
            row = self._session.first(_GET, **_names(key))
            if row is None:
                return None
            self._known[key] = _stage(row)
        return self._known[key]

    def add(self, stage: Stage) -> None:
        """Create one at version 0.

        Raises:
            ConflictError: It is there already.
        """
        added = self._session.run(
            _ADD,
            application=stage.key.application,
            stage=stage.key.stage,
            version=0,
            fence=stage.fence,
            owner=stage.owner,
            lease_until=stage.lease_until,
            doc=_STAGE.encode(stage),
        )
        if not added:
            raise ConflictError(f"Stage {stage.key} is there already; read it and decide anew.")

    def save(self, stage: Stage) -> Stage:
        """Store a stage read at ``stage.version``; returns it with the next version.

        Raises:
            ConflictError: Its version changed since.
        """
        self._known.pop(stage.key, None)
        row = self._session.first(
            _SAVE, **_names(stage.key), read_version=stage.version, new_doc=_STAGE.encode(stage)
        )
        if row is None:
            raise ConflictError(
                f"Stage {stage.key} is no longer at version {stage.version}; read it again."
            )
        saved = self._known[stage.key] = replace(
            stage,
            owner=row.owner,
            lease_until=row.lease_until,
            fence=row.fence,
            version=stage.version + 1,
        )
        return saved

    def page(self, application: ApplicationName | None = None) -> Sequence[Stage]:
        """List stages, retired ones too, by key."""
        listed = sa.select(table).order_by(table.c.application, table.c.stage)
        if application is not None:
            listed = listed.where(table.c.application == application)
        return [_stage(row) for row in self._session.rows(listed)]

    def claim(
        self, key: StageKey, owner: str, duration: timedelta, *, cluster_fence: int
    ) -> Lease | None:
        """Take the lease with fence = max(database, cluster) + 1; None while another has it."""
        self._known.pop(key, None)
        until = self._now() + duration
        row = self._session.first(
            _CLAIM,
            **_names(key),
            now=self._now(),
            new_owner=owner,
            until=until,
            cluster_fence=cluster_fence,
        )
        return None if row is None else Lease(key, owner, row.fence, until)

    def renew(self, lease: Lease, duration: timedelta) -> Lease | None:
        """Extend a lease; None when it is no longer ours (owner or fence differ)."""
        self._known.pop(lease.stage, None)
        until = self._now() + duration
        renewed = self._session.run(_RENEW, **_held(lease), until=until)
        return replace(lease, until=until) if renewed else None

    def release(self, lease: Lease) -> None:
        """Give a lease back if it is still ours."""
        self._known.pop(lease.stage, None)
        self._session.run(_RELEASE, **_held(lease))


def _names(key: StageKey) -> dict[str, str]:
    return {"of_application": key.application, "of_stage": key.stage}


def _held(lease: Lease) -> dict[str, object]:
    return {**_names(lease.stage), "ours": lease.owner, "held": lease.fence}


def _stage(row: Row) -> Stage:
    return replace(
        _STAGE.decode(row.doc),
        owner=row.owner,
        lease_until=row.lease_until,
        fence=row.fence,
        version=row.version,
    )
