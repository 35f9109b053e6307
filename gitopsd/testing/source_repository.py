"""Git in memory: remotes that tests push to, and the mirror the engine reads them through."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha1
from itertools import islice
from typing import TypeAlias

from gitopsd.domain.contributions import CommitPeople, CommitRange
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import Commit, CommitSha, FileEntry, RefName, RepoURL
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.kube.canonical import digest_of
from gitopsd.ports import Clock, Rejection
from gitopsd.source_ports import CommitDraft, RemoteTag, SourceHead

FILE = "/objects.yaml"
"""Name of the one file that an overlay in memory is made of."""

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
        message: The whole message.
        files: Path -> content of other files; a commit inherits its parent's.
    """

    commit: Commit
    parent: CommitSha | None = None
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    people: CommitPeople = field(default_factory=lambda: CommitPeople(CommitSha("")))
    message: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


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
    contents: dict[str, Overlay] = field(default_factory=dict)
    refusals: list[str | GitopsdError] = field(default_factory=list)
    before_push: list[Callable[[], object]] = field(default_factory=list)


class MemoryRepositories:
    """Remotes and their mirrors in memory.

    Args:
        clock: Waited on for `latency`; without one every answer is immediate.

    Attributes:
        latency: How long each fetch takes.
        fetched: Address and ref of each fetch, in order.
        pushed: Address, ref and commit of each push that a remote took, in order.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.latency = timedelta(0)
        self.fetched: list[tuple[RepoURL, RefName]] = []
        self.pushed: list[tuple[RepoURL, RefName, CommitSha]] = []
        self._clock = clock
        self._remotes: dict[RepoURL, _Remote] = {}

    def commit(
        self,
        repo: RepoURL,
        subject: str,
        *,
        parent: CommitSha | None = None,
        overlays: Mapping[str, Overlay | bytes | None] | None = None,
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
            overlays: What changes of what its overlays render to, and of other files: their
                content, None for one that goes.
            author: Name and e-mail of who wrote it.
            committer: E-mail of who committed it; the author's when empty.
            co_authors: E-mails of its ``Co-authored-by`` trailers.
        """
        remote = self._remote(repo)
        before = remote.commits[parent] if parent else MemoryCommit(Commit(CommitSha("")))
        contents, files = dict(before.overlays), dict(before.files)
        for path, content in (overlays or {}).items():
            files.pop(path, None)
            if isinstance(content, bytes):
                files[path] = content
            elif content is not None:
                contents[path] = content
        parts = (subject, parent, author, sorted(contents.items(), key=lambda item: item[0]))
        signed = (committer, co_authors) if committer or co_authors else ()
        text = repr((*parts, *signed, *sorted(files.items())))
        sha = CommitSha(sha1(text.encode(), usedforsecurity=False).hexdigest())
        name, email = author
        commit = Commit(sha=sha, subject=subject, author=name, author_email=email)
        people = CommitPeople(sha, email, committer or email, co_authors)
        remote.commits[sha] = MemoryCommit(commit, parent, contents, people, subject, files)
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

    def refuse_pushes(self, repo: RepoURL, *answers: str | GitopsdError) -> None:
        """Answer the next pushes with refusals, as a hook does, or with errors."""
        self._remote(repo).refusals.extend(answers)

    def before_next_push(self, repo: RepoURL, act: Callable[[], object]) -> None:
        """Do something when the next push arrives, before the remote looks at it."""
        self._remote(repo).before_push.append(act)

    def message(self, repo: RepoURL, sha: CommitSha) -> str:
        """Tell a commit's whole message."""
        return self._remote(repo).commits[sha].message

    def history(self, repo: RepoURL, ref: RefName) -> tuple[CommitSha, ...]:
        """List what a remote ref points to and what came before it, newest first."""
        remote = self._remote(repo)
        return tuple(_history(remote, remote.refs.get(ref)))

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
        return self._mirrored(repo, sha).overlays.get(path)

    def file(self, repo: RepoURL, sha: CommitSha, path: str) -> bytes | None:
        """Read a file of a commit that is no overlay's; None when it has no such file.

        Raises:
            TemporaryError: ``CommitMissing``, when no fetched head contains the commit.
        """
        return self._mirrored(repo, sha).files.get(path)

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

    async def fetch_files(
        self, repo: RepoURL, sha: CommitSha, paths: Collection[str]
    ) -> Mapping[str, FileEntry]:
        """Read what paths of a commit hold: each overlay is one file, ``objects.yaml``."""
        commit = self._mirrored(repo, sha)
        files = {file_of(path): overlay for path, overlay in commit.overlays.items()}
        held = {name: content_id(files[name]) for name in paths if name in files}
        for name in paths:
            if name in commit.files:
                held[name] = sha1(commit.files[name], usedforsecurity=False).hexdigest()
        self._remote(repo).contents.update({content_id(one): one for one in files.values()})
        return {name: FileEntry(0o100644, blob) for name, blob in held.items()}

    async def fetch_marked(
        self, repo: RepoURL, head: CommitSha, line: str, limit: int
    ) -> CommitSha | None:
        """Find the newest commit whose message has a line."""
        self._mirrored(repo, head)
        remote = self._remote(repo)
        newest = islice(_history(remote, head), limit)
        marked = (one for one in newest if line in remote.commits[one].message.splitlines())
        return next(marked, None)

    async def write_commit(self, repo: RepoURL, draft: CommitDraft) -> CommitSha:
        """Write a commit into the mirror; an overlay's new content is JSON of what it renders to.

        Other files are written as they are; they are made and removed, never taken over by an id.
        """
        parent = self._mirrored(repo, draft.parent)
        overlays, files = dict(parent.overlays), dict(parent.files)
        for name, content in draft.files.items():
            path = name.removesuffix(FILE)
            if path == name:
                files.pop(name, None)
                files |= {name: content} if isinstance(content, bytes) else {}
                continue
            overlays.pop(path, None)
            if isinstance(content, FileEntry):
                overlays[path] = self._remote(repo).contents[content.blob]
            elif content is not None:
                overlays[path] = tuple(json.loads(content))
        remote = self._remote(repo)
        changed = (sorted(overlays.items()), sorted(files.items()))
        parts = (draft.message, draft.parent, draft.at, *changed)
        sha = CommitSha(sha1(repr(parts).encode(), usedforsecurity=False).hexdigest())
        subject = draft.message.partition("\n")[0]
        commit = Commit(sha, subject, "gitopsd", "gitopsd@localhost", draft.at)
        people = CommitPeople(sha, commit.author_email, commit.author_email)
        made = MemoryCommit(commit, draft.parent, overlays, people, draft.message, files)
        remote.commits[sha] = made
        remote.mirrored.add(sha)
        return sha

    async def push_commit(
        self, repo: RepoURL, ref: RefName, sha: CommitSha, *, onto: CommitSha
    ) -> str | None:
        """Move a remote ref from ``onto`` to a commit."""
        remote = self._remote(repo)
        if remote.before_push:
            remote.before_push.pop(0)()
        answer = remote.refusals.pop(0) if remote.refusals else None
        if isinstance(answer, GitopsdError):
            raise answer
        if answer is not None:
            return answer
        if remote.refs.get(ref) != onto:
            return "the branch moved meanwhile"
        remote.refs[ref] = sha
        self.pushed.append((repo, ref, sha))
        return None

    async def close(self) -> None:
        """End nothing: there are no children."""

    def _mirrored(self, repo: RepoURL, sha: CommitSha) -> MemoryCommit:
        remote = self._remote(repo)
        if sha not in remote.mirrored:
            message = f"the mirror does not hold commit {sha}; fetch a ref that contains it"
            raise TemporaryError(message, reason="CommitMissing")
        return remote.commits[sha]

    def _remote(self, repo: RepoURL) -> _Remote:
        return self._remotes.setdefault(repo, _Remote())

    @staticmethod
    def _serve(remote: _Remote, ref: RefName) -> CommitSha | None:
        head, looks = remote.served.get(ref, (None, 0))
        if not looks:
            return remote.refs.get(ref)
        remote.served[ref] = (head, looks - 1)
        return head


def file_of(path: str) -> str:
    """Name the one file that an overlay in memory is made of."""
    return f"{path}{FILE}"


def content_id(overlay: Overlay) -> str:
    """Name the content of that file: equal overlays have equal names."""
    return digest_of(repr(overlay) if isinstance(overlay, Rejection) else list(overlay))


def _history(remote: _Remote, head: CommitSha | None) -> Iterator[CommitSha]:
    """List a commit and what came before it."""
    while head is not None and head in remote.commits:
        yield head
        head = remote.commits[head].parent
