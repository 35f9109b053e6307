"""What all bodies, queries and answers of the API have in common."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from gitopsd.domain.manifests import Json
from gitopsd.domain.work import Page
from gitopsd.kube.redaction import redact_text

MOST_ROWS = 200
"""Rows of one page at most."""


class Model(BaseModel):
    """A value of the API: camelCase outside, and nothing that is not declared."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class NoBody(Model):
    """A body without fields: who acts comes from the credential, what from the address."""


class ReasonBody(Model):
    """Why somebody does something."""

    reason: str = Field("", max_length=1000, description="Why, for the audit log.")


class NoQuery(Model):
    """A query without parameters."""


class PageQuery(Model):
    """Which page of a list."""

    limit: int = Field(50, ge=1, le=MOST_ROWS, description="Rows at most.")
    before: str = Field("", max_length=200, description="`next` of the page before.")

    def page(self) -> Page:
        """Ask for one row more than wanted, to know whether a page follows."""
        return Page(self.limit + 1, self.before)


class Done(Model):
    """An action was done."""

    message: str = Field(description="What was done, in one sentence.")
    run: str | None = Field(None, description="The run it concerns or created.")
    id: str | None = Field(None, description="What it made besides a run.")


def to_json(value: Json) -> JsonValue:
    """Copy a stored value for an answer, every text redacted once more."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    return value if isinstance(value, bool | int | float) else None
