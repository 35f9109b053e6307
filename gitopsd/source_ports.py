"""Protocols of Git: remotes and their mirrors, and what is stored about commits of our own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gitopsd.domain.agreements import Agreement, OwnCommit
from gitopsd.domain.contributions import CommitRange
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import Commit, CommitSha, FileEntry, RefName, RepoURL


@dataclass(frozen=True, slots=True)
class SourceHead:
    """What a remote ref points to.

    Attributes:
        commit: The commit, fetched into the mirror.
        rewound: True when the previous head is not an ancestor of it.
        to_ancestor: True when it is itself an ancestor of the previous head.
    """

    commit: Commit
    rewound: bool = False
    to_ancestor: bool = False


@dataclass(frozen=True, slots=True)
class RemoteTag:
    """A tag of a remote.

    Attributes:
        target: Id that it holds: of a commit, or of an annotated tag's own object.
        commit: Id that this comes to in the end; of something else when it tags no commit.
    """

    target: CommitSha
    commit: CommitSha


@dataclass(frozen=True, slots=True)
class CommitDraft:
    """A commit to make; who makes it stands in the repository's configuration.

    Attributes:
        parent: The commit it builds on.
        files: Path -> what it holds then: an entry, new content, or None for a file that goes.
        message: The whole message.
        at: Its time, so that the same draft makes the same commit.
    """

    parent: CommitSha
    files: Mapping[str, FileEntry | bytes | None]
    message: str
    at: datetime


class SourceRepository(Protocol):
    """Git: mirrors of remotes, read from the object database, never checked out."""

    async def fetch_head(
        self, repo: RepoURL, ref: RefName, *, previous: CommitSha | None = None
    ) -> SourceHead | None:
        """Fetch a ref and tell where it points; None when the remote does not have it.

        Raises:
            TemporaryError: The remote did not answer within the deadline, or refused for now
                (``reason`` ``Credential`` for 401/403, ``HostKey`` for an unknown or wrong key).
            PermanentError: The address or the credentials' configuration cannot be used.
        """

    async def fetch_tags(self, repo: RepoURL) -> Mapping[str, RemoteTag]:
        """Ask for all tags, by name without ``refs/tags/``; fetches nothing of what they point to.

        Raises:
            TemporaryError: As for `fetch_head`.
            PermanentError: As for `fetch_head`.
        """

    async def fetch_commit(self, repo: RepoURL, sha: CommitSha) -> Commit | None:
        """Read a commit from the mirror; None when the mirror does not hold it."""

    async def contains(self, repo: RepoURL, descendant: CommitSha, ancestor: CommitSha) -> bool:
        """Tell whether ``ancestor`` is ``descendant`` or in its history."""

    async def fetch_range(
        self, repo: RepoURL, head: CommitSha, since: CommitSha, limit: int
    ) -> CommitRange:
        """Read who made the commits that ``head`` has and ``since`` does not, newest first.

        Reads the mirror alone. At most ``limit`` commits are read; where there are more, or the
        mirror does not hold ``since``, the answer says so in its ``problem``.

        Raises:
            TemporaryError: ``CommitMissing``, when the mirror does not hold ``head``;
                ``MirrorDamaged``, when it cannot be read.
        """

    async def pin(self, repo: RepoURL, sha: CommitSha) -> None:
        """Keep a released commit from garbage collection. Safe to repeat: sets one ref."""

    async def fetch_files(
        self, repo: RepoURL, sha: CommitSha, paths: Collection[str]
    ) -> Mapping[str, FileEntry]:
        """Read from the mirror what paths of a commit hold; those that are no files are left out.

        Raises:
            TemporaryError: ``CommitMissing``, when the mirror does not hold the commit.
        """

    async def fetch_marked(
        self, repo: RepoURL, head: CommitSha, line: str, limit: int
    ) -> CommitSha | None:
        """Find the newest of the last ``limit`` commits whose message has exactly this line.

        Raises:
            TemporaryError: ``CommitMissing``, when the mirror does not hold ``head``.
        """

    async def write_commit(self, repo: RepoURL, draft: CommitDraft) -> CommitSha:
        """Write a commit into the mirror, where nobody sees it; `push_commit` takes it further.

        Safe to repeat: equal drafts make the equal commit.

        Raises:
            TemporaryError: ``CommitMissing``, when the mirror does not hold its parent.
            PermanentError: ``NoPushCredential``, when nothing says how commits are pushed.
        """

    async def push_commit(
        self, repo: RepoURL, ref: RefName, sha: CommitSha, *, onto: CommitSha
    ) -> str | None:
        """Move a remote ref from ``onto`` to a commit, and never by force.

        Safe to repeat: a ref that does not point to ``onto`` any more stays where it is.

        Returns:
            None when the remote took it, else why it did not.

        Raises:
            TemporaryError: The remote did not answer within the deadline, or refused for now; it
                may have taken the commit all the same.
            PermanentError: The address or the credentials' configuration cannot be used.
        """

    async def close(self) -> None:
        """End children."""


class Agreements(Protocol):
    """How far Git agrees with Rollbacks, and the commits that were made for that."""

    def get(self, run: RunId) -> Agreement | None:
        """Read that of a Rollback."""

    def save(self, agreement: Agreement) -> None:
        """Insert or replace one."""

    def own(self, commit: OwnCommit) -> None:
        """Keep a commit of our own. Safe to repeat: the first run of a commit stays."""

    def owner(self, repo: RepoURL, sha: CommitSha) -> RunId | None:
        """Tell which Rollback a commit was made for; None when it is not our own."""

    def commits(self, run: RunId) -> Sequence[CommitSha]:
        """Read the commits that were made for a Rollback, oldest first."""

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete what is kept of some Rollbacks, their commits too. Safe to repeat."""
