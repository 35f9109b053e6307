"""Groups of stages that a release goes to together: in which order, and when it goes no further."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.releases import StageName


class OnFailure(Enum):
    """What becomes of a release that failed in more stages of a group than the group allows."""

    HOLD = "hold"
    """It begins in no further stage of the group."""
    ROLLBACK_ALL = "rollbackAll"
    """It leaves those, too, that it had gone to."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A group of stages as configured.

    Attributes:
        name: Its name, which its stages give as their ``group``.
        order: Waves, each the stages that may begin together; empty for all at once.
        max_failures: Stages that a release may fail in before it goes no further.
        on_failure: What becomes of it then.
        approval: Who agrees to the plans of all its stages; it is among the gates of each of them.
            None when nobody has to.
    """

    name: str
    order: tuple[tuple[StageName, ...], ...] = ()
    max_failures: int = 0
    on_failure: OnFailure = OnFailure.HOLD
    approval: ApprovalGate | None = None
