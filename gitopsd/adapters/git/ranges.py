"""Who made the commits between two others, read from a mirror."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import SortMode

from gitopsd.adapters.git.reading import damage_told, decode_text, open_mirror, resolve_commit
from gitopsd.domain.contributions import CommitPeople, CommitRange
from gitopsd.domain.sources import CommitSha
from gitopsd.errors import TemporaryError

_LONGEST_MESSAGE: Final = 100_000
_MOST_CO_AUTHORS: Final = 50
_LONGEST_EMAIL: Final = 320
_CO_AUTHOR: Final = re.compile(r"(?im)^co-authored-by:[^<\n]*<([^<>\n]+)>[ \t\r]*$")
"""GitHub's way to name several authors of one commit; a squashed pull request has them all."""


def read_range(path: Path, head: CommitSha, since: CommitSha, limit: int) -> CommitRange:
    """Read who made the commits that ``head`` has and ``since`` does not, newest first.

    Raises:
        TemporaryError: ``CommitMissing``, when the mirror does not hold ``head``.
        DamageError: The mirror does not hold what its refs promise.
    """
    repository = _open(path)
    newest = resolve_commit(repository, head) if repository is not None else None
    if repository is None or newest is None:
        message = f"the mirror does not hold commit {head}; fetch a ref that contains it"
        raise TemporaryError(message, reason="CommitMissing")
    with damage_told():
        if resolve_commit(repository, since) is None:
            problem = f"the mirror does not hold {since[:12]}, which runs"
            return CommitRange(head, since, (_describe(newest),), problem)
        walker = repository.walk(newest.id, SortMode.TOPOLOGICAL)
        walker.hide(pygit2.Oid(hex=since))
        found = [_describe(commit) for commit in islice(walker, limit + 1)]
    more = len(found) > limit
    problem = f"there are more than {limit} since {since[:12]}" if more else ""
    return CommitRange(head, since, tuple(found[:limit]), problem)


def _open(path: Path) -> pygit2.Repository | None:
    with damage_told():
        return open_mirror(path) if path.is_dir() else None


def _describe(commit: pygit2.Commit) -> CommitPeople:
    message = decode_text(commit.raw_message[:_LONGEST_MESSAGE])
    co_authors = dict.fromkeys(found.strip() for found in _CO_AUTHOR.findall(message))
    return CommitPeople(
        sha=CommitSha(str(commit.id)),
        author=_email(decode_text(commit.author.raw_email)),
        committer=_email(decode_text(commit.committer.raw_email)),
        co_authors=tuple(_email(one) for one in list(co_authors)[:_MOST_CO_AUTHORS]),
    )


def _email(text: str) -> str:
    return text[:_LONGEST_EMAIL]
