"""Approvals and rejections in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import RunId
from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError
from gitopsd.store.paging import page_after
from gitopsd.store.people_tables import votes as table
from gitopsd.store.session import Row, Session, insert_once

_REPLACED = sa.delete(table).where(
    table.c.run == sa.bindparam("of_run"),
    table.c.plan == sa.bindparam("of_plan"),
    table.c.subject == sa.bindparam("by_subject"),
)
_ADD = insert_once(table)
_OF_RUN = sa.select(table).where(table.c.run == sa.bindparam("of")).order_by(table.c.seq)
_VOID_ALL = sa.update(table).where(table.c.run == sa.bindparam("of"), table.c.void_at.is_(None))
_VOID = _VOID_ALL.where(table.c.plan != sa.bindparam("kept"))
_DROP = sa.delete(table).where(table.c.run.in_(sa.bindparam("these", expanding=True)))


class SqlVotes:
    """Approvals and rejections; implements ``store_ports.Votes``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, vote: Vote) -> None:
        """Store a vote; the same subject, run and plan replaces the earlier one.

        Raises:
            ConflictError: Its id is another vote's.
        """
        self._session.run(_REPLACED, of_run=vote.run, of_plan=vote.plan, by_subject=vote.subject)
        added = self._session.run(
            _ADD,
            id=vote.id,
            run=vote.run,
            plan=vote.plan,
            subject=vote.subject,
            groups=vote.groups,
            decision=vote.decision.value,
            reason=vote.reason,
            at=vote.at,
            void_at=vote.void_at,
            known=vote.known,
            token=vote.token,
        )
        if not added:
            raise ConflictError(f"A vote {vote.id} is there already; make another id.")

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete every vote for some runs. Safe to repeat."""
        if runs:
            self._session.run(_DROP, these=list(runs))

    def of_run(self, run: RunId) -> Sequence[Vote]:
        """Read a run's votes, void ones too, oldest first."""
        return [_vote(row) for row in self._session.rows(_OF_RUN, of=run)]

    def void(self, run: RunId, *, keep_plan: Digest | None, at: datetime) -> int:
        """Void a run's votes but those for ``keep_plan``; returns how many."""
        if keep_plan is None:
            return self._session.run(_VOID_ALL, of=run, void_at=at)
        return self._session.run(_VOID, of=run, kept=keep_plan, void_at=at)

    def page(self, page: Page) -> Sequence[Vote]:
        """List, newest first; the cursor is a vote's id."""
        rows = self._session.rows(page_after(sa.select(table), table, page))
        return [_vote(row) for row in rows]


def _vote(row: Row) -> Vote:
    return Vote(
        id=row.id,
        run=RunId(row.run),
        plan=Digest(row.plan),
        subject=row.subject,
        groups=tuple(row.groups),
        decision=Decision(row.decision),
        reason=row.reason,
        at=row.at,
        void_at=row.void_at,
        known=row.known,
        token=row.token,
    )
