"""``gates:`` of a stage."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from gitopsd.adapters.config_files.fields import Name, PositiveDuration, Section, Subject, refuse
from gitopsd.domain.config import ApprovalGate, GateSpec, SoakGate
from gitopsd.domain.releases import StageName


class ApprovalSection(Section):
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


class SoakSection(Section):
    """``soak:``: the release was verified upstream for a while."""

    stage: Name = Field(description="Upstream stage")
    duration: PositiveDuration = Field(alias="for", description="For how long")


class GateSection(Section):
    """One entry of ``gates:``."""

    NOT_YET: ClassVar[dict[str, str]] = {
        "window": "Use an approval, or `gitopsd freeze`, meanwhile",
        "checks": "Use an approval meanwhile",
        "prometheus": "Use a soak and HTTP checks meanwhile",
        "external": "Use an approval by a service's own token meanwhile",
    }

    approval: ApprovalSection | None = None
    soak: SoakSection | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.approval is None) == (self.soak is None):
            raise refuse(
                "an entry of gates is one gate",
                "Write one of `approval:` or `soak:`, and each gate as its own entry",
            )
        return self

    def to_domain(self) -> GateSpec:
        """Make the frozen value."""
        if self.approval is not None:
            return ApprovalGate(
                subjects=tuple(self.approval.subjects),
                count=self.approval.count,
                deadline=self.approval.deadline,
            )
        if self.soak is None:  # pragma: no cover - `_check_one` saw to it; mypy cannot know
            raise AssertionError
        return SoakGate(stage=StageName(self.soak.stage), duration=self.soak.duration)
