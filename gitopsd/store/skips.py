"""Gates that people let runs pass, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.gates import GateSkip
from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import RunId
from gitopsd.errors import ConflictError
from gitopsd.store.people_tables import gate_skips as table
from gitopsd.store.session import Row, Session, insert_once

_ADD = insert_once(table)
_OF_RUN = sa.select(table).where(table.c.run == sa.bindparam("of")).order_by(table.c.seq)
_VOID = sa.update(table).where(table.c.run == sa.bindparam("of"), table.c.void_at.is_(None))
_DROP = sa.delete(table).where(table.c.run.in_(sa.bindparam("these", expanding=True)))


class SqlSkips:
    """Gates that people let runs pass; implements ``store_ports.Skips``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, skip: GateSkip) -> None:
        """Store one; a second one of a gate and plan is kept beside it.

        Raises:
            ConflictError: Its id is there already.
        """
        added = self._session.run(
            _ADD,
            id=skip.id,
            run=skip.run,
            plan=skip.plan,
            gate=skip.gate,
            content=skip.content,
            subject=skip.subject,
            reason=skip.reason,
            at=skip.at,
            void_at=skip.void_at,
            token=skip.token,
        )
        if not added:
            raise ConflictError(f"A skip {skip.id} is there already; make another id.")

    def of_run(self, run: RunId) -> Sequence[GateSkip]:
        """Read a run's, void ones too, oldest first."""
        return [_skip(row) for row in self._session.rows(_OF_RUN, of=run)]

    def void(self, run: RunId, at: datetime) -> int:
        """Void a run's; returns how many counted until now."""
        return self._session.run(_VOID, of=run, void_at=at)

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete those of some runs. Safe to repeat."""
        if runs:
            self._session.run(_DROP, these=list(runs))


def _skip(row: Row) -> GateSkip:
    return GateSkip(
        id=row.id,
        run=RunId(row.run),
        plan=Digest(row.plan),
        gate=row.gate,
        content=row.content,
        subject=row.subject,
        reason=row.reason,
        at=row.at,
        void_at=row.void_at,
        token=row.token,
    )
