"""What became of making Git agree with a rollback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gitopsd.domain.config import RollbackGit
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RefName, RepoURL


class AgreementState(Enum):
    """Where it stands.

    Waiting: it is still tried. Committed: one commit on the branch says what was restored.
    Unneeded: Git said so already, or what failed was no commit. LeftToPerson: nothing is done any
    more, and the message says why.
    """

    WAITING = "Waiting"
    COMMITTED = "Committed"
    UNNEEDED = "Unneeded"
    LEFT_TO_PERSON = "LeftToPerson"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far Git agrees with one Rollback; at most one commit comes of it.

    Attributes:
        run: The Rollback.
        stage: Its stage.
        policy: What was asked for when it ended.
        repo: Repository that is committed to.
        ref: Branch that is committed to.
        since: When the Rollback ended; the commit's time, so that the same commit is made twice.
        state: Where it stands.
        commit: The commit on the branch; None while there is none.
        message: One sentence about the last try, or about why it ended.
        refusals: Pushes that the remote refused.
        told: Whether people were told that it needs one of them.
        tried_at: When it was tried last; None before that.
    """

    run: RunId
    stage: StageKey
    policy: RollbackGit
    repo: RepoURL
    ref: RefName
    since: datetime
    state: AgreementState = AgreementState.WAITING
    commit: CommitSha | None = None
    message: str = ""
    refusals: int = 0
    told: bool = False
    tried_at: datetime | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is done about it."""
        return self.state is not AgreementState.WAITING


@dataclass(frozen=True, slots=True)
class OwnCommit:
    """A commit that gitopsd made, stored before it is pushed: that is how it is recognised.

    Attributes:
        repo: Repository it is for.
        sha: Its id.
        run: The Rollback that it follows.
        at: When it was stored.
    """

    repo: RepoURL
    sha: CommitSha
    run: RunId
    at: datetime
