"""What every kind of check has in common."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from gitopsd.adapters.config_files.fields import PositiveDuration, Section
from gitopsd.domain.checks import Check


class CheckKindSection(Section):
    """What every kind of check has in common."""

    name: str = Field(default="", description="What people call the check")
    within: PositiveDuration = Field(
        default=timedelta(seconds=60), description="How long the check may take to succeed"
    )
    timeout: PositiveDuration = Field(
        default=timedelta(seconds=10), description="Bound of one whole attempt"
    )
    successes: Annotated[int, Field(ge=1, le=100)] = Field(default=1, description="In a row")

    @abstractmethod
    def to_domain(self) -> Check:
        """Make the frozen value."""
