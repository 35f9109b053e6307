"""Who had a hand in the commits that a release brings to a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gitopsd.domain.sources import CommitSha, RepoURL


@dataclass(frozen=True, slots=True)
class CommitPeople:
    """Who made one commit, as Git holds it.

    Attributes:
        sha: The commit.
        author: The author's e-mail.
        committer: The committer's e-mail.
        co_authors: E-mails of its ``Co-authored-by`` trailers.
    """

    sha: CommitSha
    author: str = ""
    committer: str = ""
    co_authors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitRange:
    """The commits that a head has and an earlier one does not.

    Attributes:
        head: The later commit.
        since: The earlier one; None when there is none.
        commits: Those in between, the head too, newest first. Only the head when ``problem`` says
            why the others could not be found.
        problem: Why these are not all there are; empty when they are.
    """

    head: CommitSha
    since: CommitSha | None
    commits: tuple[CommitPeople, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Contributions:
    """Who had a hand in what a release brings.

    Attributes:
        range: Its commits since what the stage runs verified.
        pushers: Commit -> the logins that pushed it, as webhooks said.
    """

    range: CommitRange
    pushers: Mapping[CommitSha, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Push:
    """A webhook said who pushed a commit.

    Attributes:
        repo: Repository address as an application names it.
        sha: Commit that the ref pointed to after the push.
        pusher: Login of who pushed.
        at: When it was told.
    """

    repo: RepoURL
    sha: CommitSha
    pusher: str
    at: datetime
