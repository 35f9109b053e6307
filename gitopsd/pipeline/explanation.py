"""What `gitopsd explain` says, as values.

Theory: an `Explanation` follows from facts alone, and its text from the `Explanation` alone. So
what a person reads, what a program reads, and what a test holds still are the same thing. Each item
is one sentence with a figure, a name or a time, and names the command that would help.

Facts about a run, a stage, an application or a commit go in; `explained_run`, `explained_stage` and
`explained_application` decide what is said of them; `explanation_text` writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gitopsd.domain.gates import GateState
from gitopsd.domain.runs import RunId

NOTHING_MORE = "nothing: it is over"
"""What comes next where nothing does."""


class State(Enum):
    """How what is explained stands, in one word."""

    PENDING = "Pending"
    RUNNING = "Running"
    HELD = "Held"
    FROZEN = "Frozen"
    SUSPENDED = "Suspended"
    UNHEALTHY = "Unhealthy"
    UNREACHABLE = "Unreachable"
    LOCKED_OUT = "LockedOut"
    ENDING = "Ending"
    ROLLING_BACK = "RollingBack"
    STALLED = "Stalled"
    SUCCEEDED = "Succeeded"
    UNCHANGED = "Unchanged"
    FAILED = "Failed"
    ERRORED = "Errored"
    SUPERSEDED = "Superseded"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    OVERDUE = "Overdue"
    ABORTED = "Aborted"
    REDIRECTED = "Redirected"
    QUARANTINED = "Quarantined"
    RETIRED = "Retired"
    LIVE = "Live"
    VERIFIED = "Verified"
    DEGRADED = "Degraded"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"
    WAITING = "Waiting"
    EMPTY = "Empty"
    FOLLOWED = "Followed"
    NOT_USED = "NotUsed"


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that happened and changed nothing.

    Attributes:
        event: What happened, with names.
        reason: Why it changed nothing.
        at: When; None when that was not kept.
    """

    event: str
    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is waited for.

    Attributes:
        what: What, with the reason.
        who: What to do about it: a command to type, a person to ask, a time to wait for.
        until: When it ends by itself; None when it does not.
    """

    what: str
    who: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Foresight:
    """What gates would say at another time, if all that does not go by the clock stayed as it is.

    Attributes:
        at: That time.
        gates: What they would say.
        opens_at: First moment from then on at which those that go by the clock are all open; None
            when they do not open by themselves.
    """

    at: datetime
    gates: tuple[GateState, ...]
    opens_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something stands as it does, and what makes it go on.

    Attributes:
        subject: What is explained: an application, ``application/stage``, or a run.
        at: When the facts were read; "how long from now" is counted from here.
        state: How it stands, in one PascalCase word.
        since: Since when; None when that is not known.
        because: Why, one sentence each, the cause first.
        ignored: What happened and changed nothing, newest first.
        waiting_for: What it waits for, all at once; empty when for nothing.
        next: What happens next, and who makes it happen.
        run: The run it is about; None when it is about none.
        foresight: What the gates would say at the time that was asked for; None when none was.
    """

    subject: str
    at: datetime
    state: str
    since: datetime | None
    because: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    waiting_for: tuple[Wait, ...]
    next: str
    run: RunId | None = None
    foresight: Foresight | None = None
