"""What a commit says about keeping a stage on what runs there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.sources import CommitSha


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a stage is kept on.

    Attributes:
        release: The release.
        commit: Its commit.
        since: Since when.
    """

    release: ReleaseId
    commit: CommitSha
    since: datetime


@dataclass(frozen=True, slots=True)
class PinFile:
    """The pin file of one stage, as a release's own commit holds it.

    Attributes:
        path: Where it lies in the repository.
        pinned: What it says; None when it cannot be used.
        problem: Why it cannot be used, in one clause that names it; empty when it can.
    """

    path: str
    pinned: Pinned | None = None
    problem: str = ""
