"""``tags:`` of a source or a stage: which of Git's tags are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator

from gitopsd.adapters.config_files.fields import Section, refuse
from gitopsd.adapters.config_files.images_model import VersionRangeText
from gitopsd.domain.sources import RefName
from gitopsd.errors import DeliveryError
from gitopsd.pipeline.tag_choice import ANY, TAGS, TagSelector, format_selector
from gitopsd.webhooks.payload import parse_ref

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_FORBIDDEN = "[]"


def _check_pattern(value: str) -> str:
    plain = value.replace("*", "x").replace("?", "x")
    try:
        parse_ref(f"{TAGS}{plain}")
    except DeliveryError:
        plain = _FORBIDDEN
    if any(sign in plain for sign in _FORBIDDEN) or value.startswith("refs/"):
        raise refuse(
            f"{value[:60]!r} is no pattern of tags",
            "Write a tag's name, `*` for any signs and `?` for one, such as `v*`",
        )
    return value


class TagsSection(Section):
    """``tags:``: a pattern, or a range of versions, or both; a pattern alone is written as text."""

    semver: VersionRangeText | None = Field(
        default=None, description="Versions that count; the highest is followed", examples=[">=1"]
    )
    pattern: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        default=None,
        description="Names that count, such as api/v*; versions stand after what all begin with",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: object) -> object:
        return {"pattern": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if self.semver is None and self.pattern is None:
            raise refuse(
                "it says nothing about tags", 'Write `tags: "v*"`, or `tags: {semver: ">=1"}`'
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Let a pattern alone be text."""
        mapping: dict[str, Any] = handler.resolve_ref_schema(handler(core))
        text = {"type": "string", "description": "Pattern of the tags, such as v*"}
        return {"anyOf": [text, mapping]}

    def to_domain(self) -> TagSelector:
        """Make the frozen value."""
        return TagSelector(self.pattern or ANY, self.semver or "")


def followed_ref(branch: str | None, tags: TagsSection | None) -> RefName | None:
    """Name what a line follows; None when neither is written."""
    if tags is not None:
        return format_selector(tags.to_domain())
    return RefName(f"refs/heads/{branch}") if branch is not None else None
