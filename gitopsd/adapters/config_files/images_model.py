"""``images:`` of an application."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gitopsd.adapters.config_files.fields import Name, Section, refuse
from gitopsd.domain.images import (
    DigestPolicy,
    ImagePolicy,
    ImageSource,
    NewestPolicy,
    SemverPolicy,
)
from gitopsd.errors import PermanentError
from gitopsd.kube.images import parse_image
from gitopsd.pipeline.versions import parse_range

_PATTERN_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-*?")
_LONGEST_PATTERN = 128


def _check_image(value: str) -> str:
    try:
        parsed = parse_image(value)
    except PermanentError as error:
        raise refuse(error.message, "Write for example `ghcr.io/acme/api`") from None
    if parsed.tag or parsed.digest:
        raise refuse(
            f"{value[:60]!r} names a tag or digest, which the policy chooses",
            f"Write `{parsed.written}`",
        )
    return value


def _check_range(value: str) -> str:
    try:
        parse_range(value)
    except ValueError as error:
        raise refuse(
            f"this is no range of versions: {error}", "Write for example `>=1.4 <2` or `^1.4`"
        ) from None
    return value


def _check_pattern(value: str) -> str:
    if not value or len(value) > _LONGEST_PATTERN or not _PATTERN_SIGNS.issuperset(value):
        raise refuse(
            f"{value[:60]!r} is no pattern of tags",
            "Write signs of a tag, `*` for any signs and `?` for one, such as `main-*`",
        )
    return value


def _check_tag(value: str) -> str:
    try:
        parsed = parse_image(f"image:{value}")
    except PermanentError:
        raise refuse(f"{value[:60]!r} is no tag", "Write a tag such as `main`") from None
    if parsed.tag != value:
        raise refuse(f"{value[:60]!r} is no tag", "Write a tag such as `main`")
    return value


ImageName = Annotated[str, AfterValidator(_check_image)]
VersionRangeText = Annotated[str, AfterValidator(_check_range)]
TagPattern = Annotated[str, AfterValidator(_check_pattern)]
Tag = Annotated[str, AfterValidator(_check_tag)]


class PolicySection(Section):
    """``policy:``: which image is wanted; one of these."""

    semver: VersionRangeText | None = Field(
        default=None, description="The highest version in this range", examples=[">=1.4 <2"]
    )
    newest: TagPattern | None = Field(
        default=None,
        description="The image created last among the tags of this pattern",
        examples=["main-*"],
    )
    digest: Tag | None = Field(
        default=None, description="Whatever this tag points to", examples=["main"]
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        given = [self.semver, self.newest, self.digest]
        if sum(one is not None for one in given) != 1:
            raise refuse(
                "a policy is one of `semver`, `newest` and `digest`",
                'Write for example `semver: ">=1.4 <2"`',
            )
        return self

    def to_domain(self) -> ImagePolicy:
        """Make the frozen value."""
        if self.semver is not None:
            return SemverPolicy(self.semver)
        if self.newest is not None:
            return NewestPolicy(self.newest)
        return DigestPolicy(self.digest or "")


class ImageSection(Section):
    """One entry of ``images:``."""

    name: ImageName = Field(description="Image without tag", examples=["ghcr.io/acme/ai-core-api"])
    policy: PolicySection = Field(
        description="Which image is wanted", examples=['{semver: ">=1.4 <2"}']
    )
    group: Name | None = Field(
        default=None, description="Images of one group move together, as one build"
    )

    def to_domain(self) -> ImageSource:
        """Make the frozen value, with the name in full."""
        return ImageSource(
            name=parse_image(self.name).name,
            policy=self.policy.to_domain(),
            group=self.group or "",
        )
