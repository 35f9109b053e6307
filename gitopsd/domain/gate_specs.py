"""What ``gates:`` of a stage says; how each kind answers is decided in `gitopsd.pipeline`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from gitopsd.domain.asked_gates import ChecksGate, ExternalGate, PrometheusGate
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.releases import StageName
from gitopsd.domain.windows import WindowGate


@dataclass(frozen=True, slots=True)
class ApprovalGate:
    """People must agree to the plan.

    Attributes:
        subjects: ``group:NAME`` or ``user:SUBJECT`` who may vote.
        count: Approvals that are needed.
        deadline: How long the run waits before it expires.
    """

    subjects: tuple[str, ...]
    count: int = 1
    deadline: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ManualGate:
    """A person must name the release.

    Attributes:
        subjects: ``group:NAME`` or ``user:SUBJECT`` who may name it.
    """

    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SoakGate:
    """The release must have been verified upstream for a while.

    Attributes:
        stage: Upstream stage.
        duration: For how long.
    """

    stage: StageName
    duration: timedelta


GateSpec: TypeAlias = (
    ApprovalGate  # one line a kind, in the order of the documentation
    | ChecksGate
    | DependencyGate
    | ExternalGate
    | PrometheusGate
    | ManualGate
    | SoakGate
    | WindowGate
)
"""A configured gate."""
