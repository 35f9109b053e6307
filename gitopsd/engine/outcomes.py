"""How a step's work ended, before it becomes an event of the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from gitopsd.domain.manifests import Digest
from gitopsd.domain.runs import LastLook


@dataclass(frozen=True, slots=True)
class Done:
    """The step did what it is for.

    Attributes:
        rendered: Render's product.
        plan: Diff's product.
        plan_empty: Diff: whether the plan changes nothing.
        plan_base: Diff: applied set that the plan was made against; None for an empty stage.
    """

    rendered: Digest | None = None
    plan: Digest | None = None
    plan_empty: bool = False
    plan_base: Digest | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step goes on later.

    Attributes:
        retry_after: When to look again.
        last_look: What the last look said.
        cursor: Where to go on.
        message: What it waits for.
        failing: Whether something shows a sign of failure, beyond not being ready yet.
        locked_out: Whether the cluster let us ask nothing.
        lasts: How long the step may last from its beginning; None for what was configured.
    """

    retry_after: timedelta
    last_look: LastLook = LastLook.NONE
    cursor: str = ""
    message: str = ""
    failing: bool = False
    locked_out: bool = False
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A definite verdict against the release.

    Attributes:
        reason: PascalCase word.
        message: One sentence with the object's kind and name and the cause.
        unwritten: Prepare: whether it is certain that the run has written nothing.
    """

    reason: str
    message: str
    unwritten: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The release contains bytes that are quarantined in this stage.

    Attributes:
        message: Which quarantine, since when and why.
    """

    message: str


Outcome: TypeAlias = Done | Waiting | Verdict | Quarantined
"""Infrastructure trouble is not here: it is raised as `gitopsd.errors.GitopsdError`."""
