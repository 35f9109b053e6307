"""What is done in a mirror alone: commits and files read in threads, own commits written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gitopsd.adapters.git import ranges, reading, writing
from gitopsd.adapters.git.addresses import Address, parse_address, select_repository
from gitopsd.adapters.git.credentials import push_spec_of
from gitopsd.adapters.git.failures import damage_error
from gitopsd.adapters.git.mirrors import place_mirror
from gitopsd.domain.contributions import CommitRange
from gitopsd.domain.sources import Commit, CommitSha, FileEntry, RepositorySpec, RepoURL
from gitopsd.source_ports import CommitDraft


class MirrorAccess:
    """The half of `gitopsd.ports.SourceRepository` that speaks to no remote.

    Args:
        root: Directory of the mirrors; this process owns it.
        repositories: The configured credentials.
        allow_local: Accept paths and ``file://`` as addresses, for tests and demonstrations.
    """

    def __init__(
        self,
        root: Path,
        repositories: Callable[[], tuple[RepositorySpec, ...]],
        *,
        allow_local: bool,
    ) -> None:
        self._root = root
        self._repositories = repositories
        self._allow_local = allow_local
        self._locks: dict[RepoURL, asyncio.Lock] = {}
        self._damaged: set[RepoURL] = set()

    async def fetch_commit(self, repo: RepoURL, sha: CommitSha) -> Commit | None:
        """Read a commit from the mirror; None when the mirror does not hold it."""
        mirror = place_mirror(self._root, repo)
        with self._damage_told(repo):
            return await asyncio.to_thread(reading.find_commit, mirror.path, sha)

    async def contains(self, repo: RepoURL, descendant: CommitSha, ancestor: CommitSha) -> bool:
        """Tell whether ``ancestor`` is ``descendant`` or in its history."""
        mirror = place_mirror(self._root, repo)
        with self._damage_told(repo):
            return await asyncio.to_thread(reading.is_ancestor, mirror.path, descendant, ancestor)

    async def fetch_range(
        self, repo: RepoURL, head: CommitSha, since: CommitSha, limit: int
    ) -> CommitRange:
        """Read who made the commits that ``head`` has and ``since`` does not, newest first."""
        mirror = place_mirror(self._root, repo)
        with self._damage_told(repo):
            return await asyncio.to_thread(ranges.read_range, mirror.path, head, since, limit)

    async def fetch_files(
        self, repo: RepoURL, sha: CommitSha, paths: Collection[str]
    ) -> Mapping[str, FileEntry]:
        """Read what paths of a commit hold; those that are no files are left out."""
        mirror = place_mirror(self._root, repo)
        with self._damage_told(repo):
            return await asyncio.to_thread(writing.read_files, mirror.path, sha, paths)

    async def fetch_marked(
        self, repo: RepoURL, head: CommitSha, line: str, limit: int
    ) -> CommitSha | None:
        """Find the newest of the last ``limit`` commits whose message has exactly this line."""
        mirror = place_mirror(self._root, repo)
        with self._damage_told(repo):
            return await asyncio.to_thread(writing.find_marked, mirror.path, head, line, limit)

    async def pin(self, repo: RepoURL, sha: CommitSha) -> None:
        """Keep a released commit from garbage collection. Safe to repeat: sets one ref."""
        mirror = place_mirror(self._root, repo)
        async with self._locks.setdefault(repo, asyncio.Lock()):
            with self._damage_told(repo):
                await asyncio.to_thread(reading.set_pin, mirror.path, sha)

    async def write_commit(self, repo: RepoURL, draft: CommitDraft) -> CommitSha:
        """Write a commit into the mirror. Safe to repeat: equal drafts make the equal commit.

        Raises:
            TemporaryError: ``CommitMissing``, when the mirror does not hold its parent.
            PermanentError: ``NoPushCredential``, when nothing says how commits are pushed.
        """
        address = parse_address(repo, allow_local=self._allow_local)
        push = push_spec_of(address, select_repository(repo, self._repositories()))
        mirror = place_mirror(self._root, repo)
        async with self._locks.setdefault(repo, asyncio.Lock()):
            with self._damage_told(repo):
                return await asyncio.to_thread(
                    writing.write_commit, mirror.path, draft, push.author_name, push.author_email
                )

    @contextmanager
    def open_tree(self, repo: RepoURL, sha: CommitSha) -> Iterator[reading.CommitTree]:
        """Open a commit's tree, for the calling thread alone.

        Raises:
            TemporaryError: ``MirrorDamaged``, when the mirror cannot be read.
        """
        path = place_mirror(self._root, repo).path
        with self._damage_told(repo), reading.open_tree(path, sha) as tree:
            yield tree

    @contextmanager
    def _damage_told(self, repo: RepoURL) -> Iterator[None]:
        """Let a mirror that does not hold what it should be made anew at the next fetch."""
        try:
            yield
        except reading.DamageError as error:
            self._damaged.add(repo)
            raise damage_error(Address(repo, ""), error) from error
