"""``groups:`` of an application, and ``after:`` and ``promotion:`` of its stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from gitopsd.adapters.config_files.fields import Name, Section, refuse
from gitopsd.adapters.config_files.gates_model import ApprovalSection
from gitopsd.domain.config import StageSpec
from gitopsd.domain.groups import GroupSpec, OnFailure
from gitopsd.domain.releases import StageName

_LIST, _TEXT, _MAPPING = "[list]", "[text]", "[mapping]"
"""Tags of what may be written in two ways; `problems` leaves them out of places."""


class AfterSection(Section):
    """``after:`` with a word: all of these stages, or any of them."""

    all: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="A release needs the verification of each of these stages"
    )
    any: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="The verification of one of these stages is enough"
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.all is None) == (self.any is None):
            raise refuse(
                "a stage comes after all of some stages, or after any of them",
                "Write `after: {any: [eu, us]}`, or `after: [eu, us]` for all",
            )
        return self


def _is_mapping(value: object) -> str:
    return _MAPPING if isinstance(value, dict | AfterSection) else _LIST


def _is_text(value: object) -> str:
    return _LIST if isinstance(value, list) else _TEXT


After: TypeAlias = Annotated[
    Annotated[list[Name], Tag(_LIST)] | Annotated[AfterSection, Tag(_MAPPING)],
    Discriminator(_is_mapping),
]
"""A list of stages, which are all needed, or a mapping that says how many are."""

Wave: TypeAlias = Annotated[
    Annotated[Name, Tag(_TEXT)] | Annotated[Annotated[list[Name], Field(min_length=1)], Tag(_LIST)],
    Discriminator(_is_text),
]
"""One stage, or several that begin together."""


def read_after(after: list[str] | AfterSection) -> tuple[tuple[StageName, ...], bool]:
    """List the stages before, and tell whether one of them is enough."""
    if not isinstance(after, AfterSection):
        return tuple(map(StageName, after)), False
    return tuple(map(StageName, after.any or after.all or ())), after.any is not None


def ask_group(stage: StageSpec, groups: Iterable[GroupSpec]) -> StageSpec:
    """Put the approval of a stage's group behind the stage's own gates."""
    asked = (group.approval for group in groups if stage.group == group.name)
    return replace(stage, gates=(*stage.gates, *(gate for gate in asked if gate is not None)))


class GroupSection(Section):
    """One entry of ``groups:``."""

    name: Name = Field(
        description="Its name, which its stages give as group", examples=["production"]
    )
    order: list[Wave] = Field(
        default=[],
        description="Its stages, one after the other; a list among them begins together. "
        "Without it all begin together",
        examples=[["canary", ["eu", "us"], "asia"]],
    )
    max_failures: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Stages that a release may fail in before it goes no further"
    )
    on_failure: Literal["hold", "rollbackAll"] = Field(
        default="hold",
        description="hold: then it begins in no further stage; rollbackAll: it leaves those, too, "
        "that it had gone to",
    )
    approval: ApprovalSection | None = Field(
        default=None, description="One approval for the plans of all its stages"
    )

    def to_domain(self) -> GroupSpec:
        """Make the frozen value."""
        waves = ([one] if isinstance(one, str) else one for one in self.order)
        return GroupSpec(
            name=self.name,
            order=tuple(tuple(map(StageName, wave)) for wave in waves),
            max_failures=self.max_failures,
            on_failure=OnFailure(self.on_failure),
            approval=self.approval.to_domain() if self.approval is not None else None,
        )
