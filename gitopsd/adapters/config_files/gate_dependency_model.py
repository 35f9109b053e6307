"""``dependency:`` of a stage's gates: another application's stage runs something verified."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gitopsd.adapters.config_files.fields import Name, Section
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.releases import ApplicationName, StageKey, StageName


class DependencySection(Section):
    """``dependency:``: another application's stage runs something verified."""

    application: Name = Field(description="The other application")
    stage: Name = Field(description="Its stage")
    healthy: bool = Field(
        default=True, description="Whether it must have been healthy at the last look"
    )
    commit: Literal["any", "same"] = Field(
        default="any",
        description="same: it must run what this very commit made of it, or something newer",
    )

    def to_domain(self) -> DependencyGate:
        """Make the frozen value."""
        return DependencyGate(
            on=StageKey(ApplicationName(self.application), StageName(self.stage)),
            healthy=self.healthy,
            same_commit=self.commit == "same",
        )
