"""How far Git agrees with Rollbacks, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from gitopsd.domain.agreements import Agreement, OwnCommit
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.store.agreement_tables import agreements as table
from gitopsd.store.agreement_tables import own_commits as commits
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Session, insert_new, upsert

_AGREEMENT = codec_of(Agreement)
_SAVE = upsert(table, "run")
_GET = sa.select(table.c.doc).where(table.c.run == sa.bindparam("of"))
_OWN = insert_new(commits, "repo", "sha")
_OWNER = sa.select(commits.c.run).where(
    commits.c.repo == sa.bindparam("of_repo"), commits.c.sha == sa.bindparam("of_sha")
)
_COMMITS = (
    sa.select(commits.c.sha).where(commits.c.run == sa.bindparam("of")).order_by(commits.c.seq)
)
_DROPS = tuple(
    sa.delete(one).where(one.c.run.in_(sa.bindparam("these", expanding=True)))
    for one in (table, commits)
)


class SqlAgreements:
    """How far Git agrees with Rollbacks; implements ``store_ports.Agreements``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, run: RunId) -> Agreement | None:
        """Read that of a Rollback."""
        row = self._session.first(_GET, of=run)
        return _AGREEMENT.decode(row.doc) if row is not None else None

    def save(self, agreement: Agreement) -> None:
        """Insert or replace one."""
        self._session.run(_SAVE, run=agreement.run, doc=_AGREEMENT.encode(agreement))

    def own(self, commit: OwnCommit) -> None:
        """Keep a commit of our own. Safe to repeat: the first run of a commit stays."""
        self._session.run(_OWN, repo=commit.repo, sha=commit.sha, run=commit.run, at=commit.at)

    def owner(self, repo: RepoURL, sha: CommitSha) -> RunId | None:
        """Tell which Rollback a commit was made for; None when it is not our own."""
        row = self._session.first(_OWNER, of_repo=repo, of_sha=sha)
        return RunId(row.run) if row is not None else None

    def commits(self, run: RunId) -> Sequence[CommitSha]:
        """Read the commits that were made for a Rollback, oldest first."""
        return [CommitSha(row.sha) for row in self._session.rows(_COMMITS, of=run)]

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete what is kept of some Rollbacks, their commits too. Safe to repeat."""
        for statement in _DROPS if runs else ():
            self._session.run(statement, these=list(runs))
