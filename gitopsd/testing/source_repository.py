"""Git in memory: remotes that tests push to, and the mirror the engine reads them through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha1
from typing import TypeAlias

from gitopsd.domain.contributions import CommitPeople, CommitRange
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import Commit, CommitSha, RefName, RepoURL
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.ports import Clock, Rejection, RemoteTag, SourceHead

_TAGS = "refs/tags/"

Overlay: TypeAlias = tuple[JsonObject, ...] | Rejection
"""What an overlay directory renders to, or why it cannot."""


@dataclass(frozen=True, slots=True)
class MemoryCommit:
    """A commit with what its overlays render to.

    Attributes:
        commit: What Git says about it.
        parent: The commit before it; None for a first one.
        overlays: Overlay directory -> what it renders to; a commit inherits its parent's.
        people: Who made it.
    """

    commit: Commit
    parent: CommitSha | None = None
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    people: CommitPeople = field(default_factory=lambda: CommitPeople(CommitSha("")))


@dataclass(slots=True)
class _Remote:
    """One remote repository and its mirror here."""

    commits: dict[CommitSha, MemoryCommit] = field(default_factory=dict)
    refs: dict[RefName, CommitSha] = field(default_factory=dict)
    served: dict[RefName, tuple[CommitSha | None, int]] = field(default_factory=dict)
    mirrored: set[CommitSha] = field(default_factory=set)
    pinned: set[CommitSha] = field(default_factory=set)
    failures: list[GitopsdError] = field(default_factory=list)
    annotated: dict[RefName, CommitSha] = field(default_factory=dict)
    refused: dict[RefName, GitopsdError] = field(default_factory=dict)


class MemoryRepositories:
    """Remotes and their mirrors in memory.

    Args:
        clock: Waited on for `latency`; without one every answer is immediate.

    Attributes:
        latency: How long each fetch takes.
        fetched: Address and ref of each fetch, in order.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.latency = timedelta(0)
        self.fetched: list[tuple[RepoURL, RefName]] = []
        self._clock = clock
        self._remotes: dict[RepoURL, _Remote] = {}

    def commit(
        self,
        repo: RepoURL,
        subject: str,
        *,
        parent: CommitSha | None = None,
        overlays: Mapping[str, Overlay] | None = None,
        author: tuple[str, str] = ("A developer", "developer@example.test"),
        committer: str = "",
        co_authors: tuple[str, ...] = (),
    ) -> CommitSha:
        """Make a commit on the remote without moving any ref to it.

        Equal arguments make the equal commit, as in Git.

        Args:
            repo: The remote.
            subject: First line of its message.
            parent: The commit before it.
            overlays: What changes of what its overlays render to.
            author: Name and e-mail of who wrote it.
            committer: E-mail of who committed it; the author's when empty.
            co_authors: E-mails of its ``Co-authored-by`` trailers.
        """
        remote = self._remote(repo)
        inherited = remote.commits[parent].overlays if parent else {}
        contents = {**inherited, **(overlays or {})}
        parts = (subject, parent, author, sorted(contents.items(), key=lambda item: item[0]))
        signed = (committer, co_authors) if committer or co_authors else ()
        text = repr((*parts, *signed))
        sha = CommitSha(sha1(text.encode(), usedforsecurity=False).hexdigest())
        name, email = author
        commit = Commit(sha=sha, subject=subject, author=name, author_email=email)
        people = CommitPeople(sha, email, committer or email, co_authors)
        remote.commits[sha] = MemoryCommit(commit, parent, contents, people)
        return sha

    def push(self, repo: RepoURL, ref: RefName, sha: CommitSha) -> None:
        """Move a remote ref, by force when it has to be.

        Raises:
            KeyError: Nobody made that commit.
        """
        remote = self._remote(repo)
        remote.refs[ref] = remote.commits[sha].commit.sha
        remote.annotated.pop(ref, None)

    def annotate(self, repo: RepoURL, name: str, sha: CommitSha) -> CommitSha:
        """Push an annotated tag of a commit; returns the id of the tag's own object."""
        ref = RefName(f"refs/tags/{name}")
        self.push(repo, ref, sha)
        text = f"tag {name} {sha}"
        tag = CommitSha(sha1(text.encode(), usedforsecurity=False).hexdigest())
        self._remote(repo).annotated[ref] = tag
        return tag

    def delete(self, repo: RepoURL, ref: RefName) -> None:
        """Delete a remote ref."""
        remote = self._remote(repo)
        del remote.refs[ref]
        remote.annotated.pop(ref, None)

    def fail(self, repo: RepoURL, error: GitopsdError, *, times: int = 1) -> None:
        """Answer the next fetches with an error."""
        self._remote(repo).failures.extend([error] * times)

    def refuse(self, repo: RepoURL, ref: RefName, error: GitopsdError | None) -> None:
        """Answer every fetch of a ref with an error; None ends that."""
        refused = self._remote(repo).refused
        refused.pop(ref, None)
        if error is not None:
            refused[ref] = error

    def lag(self, repo: RepoURL, ref: RefName, *, looks: int) -> None:
        """Serve what the ref points to now to the next fetches, whatever is pushed meanwhile."""
        remote = self._remote(repo)
        remote.served[ref] = (remote.refs.get(ref), looks)

    def pinned(self, repo: RepoURL) -> frozenset[CommitSha]:
        """Tell which commits were pinned."""
        return frozenset(self._remote(repo).pinned)

    def overlay(self, repo: RepoURL, sha: CommitSha, path: str) -> Overlay | None:
        """Read what an overlay of a commit renders to; None when it has no such overlay.

        Raises:
            TemporaryError: ``CommitMissing``, when no fetched head contains the commit.
        """
        remote = self._remote(repo)
        if sha not in remote.mirrored:
            message = f"the mirror does not hold commit {sha}; fetch a ref that contains it"
            raise TemporaryError(message, reason="CommitMissing")
        return remote.commits[sha].overlays.get(path)

    async def fetch_head(
        self, repo: RepoURL, ref: RefName, *, previous: CommitSha | None = None
    ) -> SourceHead | None:
        """Fetch a ref and tell where it points."""
        self.fetched.append((repo, ref))
        if self._clock is not None and self.latency:
            await self._clock.sleep(self.latency)
        remote = self._remote(repo)
        if remote.failures:
            raise remote.failures.pop(0)
        if ref in remote.refused:
            raise remote.refused[ref]
        head = self._serve(remote, ref)
        if head is None:
            return None
        remote.mirrored.update(_history(remote, head))
        return SourceHead(
            commit=remote.commits[head].commit,
            rewound=previous is not None and previous not in _history(remote, head),
            to_ancestor=previous not in (None, head) and head in _history(remote, previous),
        )

    async def fetch_tags(self, repo: RepoURL) -> Mapping[str, RemoteTag]:
        """Ask for all tags."""
        remote = self._remote(repo)
        if remote.failures:
            raise remote.failures.pop(0)
        return {
            ref.removeprefix(_TAGS): RemoteTag(remote.annotated.get(ref, sha), sha)
            for ref, sha in remote.refs.items()
            if ref.startswith(_TAGS)
        }

    async def fetch_commit(self, repo: RepoURL, sha: CommitSha) -> Commit | None:
        """Read a commit from the mirror."""
        remote = self._remote(repo)
        return remote.commits[sha].commit if sha in remote.mirrored else None

    async def contains(self, repo: RepoURL, descendant: CommitSha, ancestor: CommitSha) -> bool:
        """Tell whether ``ancestor`` is ``descendant`` or in its history."""
        remote = self._remote(repo)
        if not {descendant, ancestor} <= remote.mirrored:
            return False
        return ancestor in _history(remote, descendant)

    async def fetch_range(
        self, repo: RepoURL, head: CommitSha, since: CommitSha, limit: int
    ) -> CommitRange:
        """Read who made the commits that ``head`` has and ``since`` does not, newest first."""
        remote = self._remote(repo)
        if head not in remote.mirrored:
            message = f"the mirror does not hold commit {head}; fetch a ref that contains it"
            raise TemporaryError(message, reason="CommitMissing")
        if since not in remote.mirrored:
            problem = f"the mirror does not hold {since[:12]}, which runs"
            return CommitRange(head, since, (remote.commits[head].people,), problem)
        known = set(_history(remote, since))
        found = [one for one in _history(remote, head) if one not in known]
        problem = f"there are more than {limit} since {since[:12]}" if len(found) > limit else ""
        people = tuple(remote.commits[one].people for one in found[:limit])
        return CommitRange(head, since, people, problem)

    async def pin(self, repo: RepoURL, sha: CommitSha) -> None:
        """Keep a released commit."""
        self._remote(repo).pinned.add(sha)

    async def close(self) -> None:
        """End nothing: there are no children."""

    def _remote(self, repo: RepoURL) -> _Remote:
        return self._remotes.setdefault(repo, _Remote())

    @staticmethod
    def _serve(remote: _Remote, ref: RefName) -> CommitSha | None:
        head, looks = remote.served.get(ref, (None, 0))
        if not looks:
            return remote.refs.get(ref)
        remote.served[ref] = (head, looks - 1)
        return head


def _history(remote: _Remote, head: CommitSha | None) -> Iterator[CommitSha]:
    """List a commit and what came before it."""
    while head is not None and head in remote.commits:
        yield head
        head = remote.commits[head].parent
