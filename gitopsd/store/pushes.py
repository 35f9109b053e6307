"""Who pushed which commit, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.contributions import Push
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.store.people_tables import pushes as table
from gitopsd.store.session import Session, insert_new

_ADD = insert_new(table, "repo", "sha", "pusher")
_PUSHERS = (
    sa.select(table.c.sha, table.c.pusher)
    .where(
        table.c.repo == sa.bindparam("of_repo"),
        table.c.sha.in_(sa.bindparam("these", expanding=True)),
    )
    .order_by(table.c.seq)
)
_OLD = (
    sa.select(table.c.seq)
    .where(table.c.at < sa.bindparam("before"))
    .order_by(table.c.seq)
    .limit(sa.bindparam("at_most"))
)
_DROP = sa.delete(table).where(table.c.seq.in_(sa.bindparam("these", expanding=True)))
_AT_ONCE = 500
"""Values of one statement: SQLite takes 32,766, an index look-up each."""


class SqlPushes:
    """Who pushed which commit; implements ``store_ports.Pushes``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, push: Push) -> None:
        """Keep one. Safe to repeat: the first of a commit and pusher stays."""
        self._session.run(_ADD, repo=push.repo, sha=push.sha, pusher=push.pusher, at=push.at)

    def pushers(
        self, repo: RepoURL, commits: Collection[CommitSha]
    ) -> Mapping[CommitSha, tuple[str, ...]]:
        """Read who pushed some commits, in the order it was told; others are left out."""
        found: dict[CommitSha, tuple[str, ...]] = {}
        wanted = list(commits)
        for start in range(0, len(wanted), _AT_ONCE):
            these = wanted[start : start + _AT_ONCE]
            for row in self._session.rows(_PUSHERS, of_repo=repo, these=these):
                sha = CommitSha(row.sha)
                found[sha] = (*found.get(sha, ()), row.pusher)
        return found

    def drop(self, before: datetime, limit: int) -> int:
        """Delete what was told before, oldest first, at most ``limit``; returns how many went."""
        old = [row.seq for row in self._session.rows(_OLD, before=before, at_most=limit)]
        if old:
            self._session.run(_DROP, these=old)
        return len(old)
