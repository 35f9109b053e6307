"""How far Git agrees with Rollbacks, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gitopsd.domain.agreements import Agreement, OwnCommit
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.testing.memory_tables import Journal, Table


class MemoryAgreements:
    """How far Git agrees with Rollbacks, and the commits that were made for that."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[RunId, Agreement] = Table(journal)
        self._commits: Table[tuple[RepoURL, CommitSha], OwnCommit] = Table(journal)

    def get(self, run: RunId) -> Agreement | None:
        """Read that of a Rollback."""
        return self._rows.get(run)

    def save(self, agreement: Agreement) -> None:
        """Insert or replace one."""
        self._rows.put(agreement.run, agreement)

    def own(self, commit: OwnCommit) -> None:
        """Keep a commit of our own; the first run of a commit stays."""
        key = (commit.repo, commit.sha)
        if key not in self._commits:
            self._commits.insert(key, commit)

    def owner(self, repo: RepoURL, sha: CommitSha) -> RunId | None:
        """Tell which Rollback a commit was made for; None when it is not our own."""
        found = self._commits.get((repo, sha))
        return found.run if found is not None else None

    def commits(self, run: RunId) -> Sequence[CommitSha]:
        """Read the commits that were made for a Rollback, oldest first."""
        return [one.sha for one in self._commits if one.run == run]

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete what is kept of some Rollbacks, their commits too."""
        for run in runs:
            self._rows.remove(run)
        for key, one in self._commits.items():
            if one.run in runs:
                self._commits.remove(key)
