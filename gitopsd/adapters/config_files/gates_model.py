"""``gates:`` of a stage."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from gitopsd.adapters.config_files.fields import Name, PositiveDuration, Section, Subject, refuse
from gitopsd.adapters.config_files.gate_asked_model import (
    ChecksSection,
    ExternalSection,
    PrometheusSection,
)
from gitopsd.adapters.config_files.gate_dependency_model import DependencySection
from gitopsd.adapters.config_files.gate_window_model import WindowSection
from gitopsd.domain.gate_specs import (
    ApprovalGate,
    GateSpec,
    ManualGate,
    SoakGate,
)
from gitopsd.domain.releases import StageName


class GateKindSection(Section):
    """What every kind of gate has in common."""

    @abstractmethod
    def to_domain(self) -> GateSpec:
        """Make the frozen value."""


class ApprovalSection(GateKindSection):
    """``approval:``: people agree to the plan."""

    subjects: Annotated[list[Subject], Field(min_length=1)] = Field(
        alias="from", description="Who may vote"
    )
    count: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="Approvals that are needed"
    )
    deadline: PositiveDuration = Field(
        default=timedelta(hours=24), description="How long the run waits before it expires"
    )

    def to_domain(self) -> ApprovalGate:
        """Make the frozen value."""
        return ApprovalGate(subjects=tuple(self.subjects), count=self.count, deadline=self.deadline)


class ManualSection(GateKindSection):
    """``manual:``: a person names the release with ``gitopsd promote``."""

    subjects: Annotated[list[Subject], Field(min_length=1)] = Field(
        alias="from", description="Who may name a release"
    )

    def to_domain(self) -> ManualGate:
        """Make the frozen value."""
        return ManualGate(subjects=tuple(self.subjects))


class SoakSection(GateKindSection):
    """``soak:``: the release was verified upstream for a while."""

    stage: Name = Field(description="Upstream stage")
    duration: PositiveDuration = Field(alias="for", description="For how long")

    def to_domain(self) -> SoakGate:
        """Make the frozen value."""
        return SoakGate(stage=StageName(self.stage), duration=self.duration)


class GateSection(Section):
    """One entry of ``gates:``."""

    approval: ApprovalSection | None = None
    checks: ChecksSection | None = None
    external: ExternalSection | None = None
    prometheus: PrometheusSection | None = None
    manual: ManualSection | None = None
    soak: SoakSection | None = None
    window: WindowSection | None = None
    dependency: DependencySection | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self._given) != 1:
            raise refuse(
                "an entry of gates is one gate",
                "Write one kind, such as `approval:`, and each gate as its own entry; "
                "`gitopsd schema Application` lists the kinds",
            )
        return self

    @property
    def _given(self) -> list[GateKindSection]:
        fields = (getattr(self, name) for name in type(self).model_fields)
        return [one for one in fields if one is not None]

    def to_domain(self) -> GateSpec:
        """Make the frozen value."""
        return self._given[0].to_domain()
