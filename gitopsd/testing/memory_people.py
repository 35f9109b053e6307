"""In-memory votes, skipped gates, and who pushed which commit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.contributions import Push
from gitopsd.domain.gates import GateSkip, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.domain.work import Page
from gitopsd.testing.memory_tables import Journal, Table, page_of


class MemoryVotes:
    """Approvals and rejections."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[str, Vote] = Table(journal)

    def add(self, vote: Vote) -> None:
        """Store a vote; the same subject, run and plan replaces the earlier one."""
        voter = (vote.subject, vote.run, vote.plan)
        for row in self._rows:
            if (row.subject, row.run, row.plan) == voter:
                self._rows.remove(row.id)
        self._rows.insert(vote.id, vote)

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete every vote for some runs."""
        for row in self._rows:
            if row.run in runs:
                self._rows.remove(row.id)

    def of_run(self, run: RunId) -> Sequence[Vote]:
        """Read a run's votes, void ones too, oldest first."""
        return [row for row in self._rows if row.run == run]

    def void(self, run: RunId, *, keep_plan: Digest | None, at: datetime) -> int:
        """Void a run's votes but those for ``keep_plan``; returns how many."""
        rows = [row for row in self.of_run(run) if row.void_at is None and row.plan != keep_plan]
        for row in rows:
            self._rows.put(row.id, replace(row, void_at=at))
        return len(rows)

    def page(self, page: Page) -> Sequence[Vote]:
        """List, newest first."""
        return page_of(reversed(self._rows), page, lambda row: row.id)


class MemorySkips:
    """Gates that people let runs pass."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[str, GateSkip] = Table(journal)

    def add(self, skip: GateSkip) -> None:
        """Store one.

        Raises:
            ConflictError: Its id is there already.
        """
        self._rows.insert(skip.id, skip)

    def of_run(self, run: RunId) -> Sequence[GateSkip]:
        """Read a run's, void ones too, oldest first."""
        return [row for row in self._rows if row.run == run]

    def void(self, run: RunId, at: datetime) -> int:
        """Void a run's; returns how many counted until now."""
        rows = [row for row in self.of_run(run) if row.void_at is None]
        for row in rows:
            self._rows.put(row.id, replace(row, void_at=at))
        return len(rows)

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete those of some runs."""
        for row in self._rows:
            if row.run in runs:
                self._rows.remove(row.id)


class MemoryPushes:
    """Who pushed which commit."""

    def __init__(self, journal: Journal) -> None:
        self._rows: Table[tuple[RepoURL, CommitSha, str], Push] = Table(journal)

    def add(self, push: Push) -> None:
        """Keep one; the first of a commit and pusher stays."""
        key = (push.repo, push.sha, push.pusher)
        if key not in self._rows:
            self._rows.insert(key, push)

    def pushers(
        self, repo: RepoURL, commits: Collection[CommitSha]
    ) -> Mapping[CommitSha, tuple[str, ...]]:
        """Read who pushed some commits, in the order it was told."""
        found: dict[CommitSha, tuple[str, ...]] = {}
        for row in self._rows:
            if row.repo == repo and row.sha in commits:
                found[row.sha] = (*found.get(row.sha, ()), row.pusher)
        return found

    def drop(self, before: datetime, limit: int) -> int:
        """Delete what was told before, oldest first."""
        old = [key for key, row in self._rows.items() if row.at < before][:limit]
        for key in old:
            self._rows.remove(key)
        return len(old)
