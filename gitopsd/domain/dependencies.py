"""What a stage asks of another application's stage."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.domain.releases import StageKey


@dataclass(frozen=True, slots=True)
class DependencyGate:
    """Another application's stage must run something verified.

    Attributes:
        on: That stage.
        healthy: Whether the last look at it must have seen it healthy.
        same_commit: Whether it must run what the run's own commit made of it, or something newer:
            for applications of one repository.
    """

    on: StageKey
    healthy: bool = True
    same_commit: bool = False
