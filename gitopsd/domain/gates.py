"""Gates and approvals as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import RunId


@dataclass(frozen=True, slots=True)
class Open:
    """The condition is met.

    Attributes:
        reason: Why, in one clause; may be empty.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The condition is not met yet, or a fact that it needs is missing.

    Attributes:
        reason: What is missing, in one clause.
        opener: What opens it: a command to type, a person to ask, a time to wait for.
        until: When it opens by itself; None when it does not.
    """

    reason: str
    opener: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The condition cannot be met any more; the run ends Aborted (Rejected).

    Attributes:
        reason: Who or what refused, in one clause.
    """

    reason: str


GateAnswer: TypeAlias = Open | Closed | Refused


@dataclass(frozen=True, slots=True)
class GateState:
    """One gate and what it answers.

    Attributes:
        name: ``approval``, ``soak``, ... for configured ones; ``freeze``, ``hold``, ... implicit.
        implicit: Whether it stands without being configured.
        answer: Open, Closed or Refused.
    """

    name: str
    implicit: bool
    answer: GateAnswer


class Decision(Enum):
    """What a person said."""

    APPROVE = "Approve"
    REJECT = "Reject"


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's approval or rejection, bound to the plan.

    Attributes:
        id: Row id.
        run: Run it was given for.
        plan: Plan it is bound to.
        subject: Who gave it, from the credential.
        groups: Groups the person was in when giving it.
        decision: Approve or reject.
        reason: In their words; may be empty.
        at: When.
        void_at: When it stopped counting (plan changed, database restored); None while it counts.
        known: Whether ``people.yaml`` knew the person then, and so said the groups.
        token: Id of the token it was given with; empty when there was none.
    """

    id: str
    run: RunId
    plan: Digest
    subject: str
    groups: tuple[str, ...]
    decision: Decision
    reason: str
    at: datetime
    void_at: datetime | None = None
    known: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class GateSkip:
    """A person let a run pass one gate that is not open, for one plan.

    Attributes:
        id: Row id.
        run: Run it was given for.
        plan: Plan it is bound to.
        gate: Name of the gate, as in `GateState`.
        content: What was configured for the gate then; a gate that was changed since is not
            passed. Empty for an implicit one.
        subject: Who, from the credential.
        reason: Why, in their words.
        at: When.
        void_at: When it stopped counting (database restored); None while it counts.
        token: Id of the token it was given with; empty when there was none.
    """

    id: str
    run: RunId
    plan: Digest
    gate: str
    content: str
    subject: str
    reason: str
    at: datetime
    void_at: datetime | None = None
    token: str = ""
