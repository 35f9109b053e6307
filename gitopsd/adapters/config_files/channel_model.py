"""The kind Channel: where notifications go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from gitopsd.adapters.config_files.application_model import MetadataSection
from gitopsd.adapters.config_files.fields import (
    FileName,
    HttpUrl,
    Name,
    OwnerAndName,
    Section,
    refuse,
)
from gitopsd.domain.channels import ChannelSpec, ChannelType, Subscription

Trigger: TypeAlias = Literal[
    "on-release-created",
    "on-run-started",
    "on-run-aborted",
    "on-run-errored",
    "on-approval-requested",
    "on-deployed",
    "on-verification-failed",
    "on-health-degraded",
    "on-promoted",
    "on-rollback-started",
    "on-rollback-succeeded",
    "on-rollback-failed",
    "on-git-agrees",
    "on-git-disagrees",
    "on-drift-detected",
    "on-frozen",
    "on-stalled",
]

_LATER = ("email", "pagerduty", "teams", "discord", "mattermost")
_CONVERSATION_PATTERN = r"^[CGD][A-Z0-9]{5,20}$"
_CONVERSATION = re.compile(_CONVERSATION_PATTERN.replace("$", r"\Z"))
_NUMBER = re.compile(r"[A-Za-z0-9.]{1,40}\Z")
# Keys of each type: those that it needs, and those that it may have.
_KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "webhook": (("url", "secretFile"), ()),
    "slack": (("tokenFile", "conversation"), ()),
    "github": ((), ("tokenFile", "app", "repository")),
}
_COMMON = ("type", "subscriptions")


def _refuse_later(value: object) -> object:
    if value in _LATER:
        raise refuse(f"`{value}` is not supported yet", "Use `webhook`, and forward from there")
    return value


def _check_conversation(value: str) -> str:
    if not _CONVERSATION.match(value):
        raise refuse(
            f"{value[:60]!r} is no id of a conversation",
            "Write the id, such as `C0123456789`: Slack shows it at the end of a channel's details",
        )
    return value


def _read_number(value: object) -> object:
    """Take an id as GitHub shows it, quoted or not."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_number(value: str) -> str:
    if not _NUMBER.match(value):
        raise refuse(f"{value[:60]!r} is no id", "Write it as GitHub shows it, such as `123456`")
    return value


def _write_conditions(schema: dict[str, Any]) -> None:
    """Let editors know which keys go with which type."""
    every = {key for needed, possible in _KEYS.values() for key in (*needed, *possible)}
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": {
                "required": list(needed),
                "properties": dict.fromkeys(sorted(every - {*needed, *possible}), False),
            },
        }
        for kind, (needed, possible) in _KEYS.items()
    ]


ChannelKind: TypeAlias = Annotated[
    Literal["webhook", "slack", "github"], BeforeValidator(_refuse_later)
]
Conversation: TypeAlias = Annotated[
    str,
    AfterValidator(_check_conversation),
    WithJsonSchema({"type": "string", "pattern": _CONVERSATION_PATTERN}),
]
Number: TypeAlias = Annotated[
    str,
    BeforeValidator(_read_number),
    AfterValidator(_check_number),
    WithJsonSchema({"type": ["string", "integer"]}),
]


class SubscriptionSection(Section):
    """One entry of ``subscriptions:``; what is left out means all."""

    triggers: list[Trigger] = Field(default=[], description="Triggers it gets")
    applications: list[Name] = Field(default=[], description="Applications it hears of")
    labels: dict[str, str] = Field(default={}, description="Labels of applications it hears of")


class AppSection(Section):
    """``app:`` of a GitHub channel: it signs in as a GitHub App."""

    id: Number = Field(description="Id of the App", examples=["123456"])
    key_file: FileName = Field(
        description="File with its private key", examples=["/run/secrets/github-app.pem"]
    )
    installation: Number | None = Field(
        default=None, description="Id of its installation; asked for if unset"
    )


class ChannelSection(Section):
    """``spec:`` of a channel."""

    model_config = ConfigDict(json_schema_extra=_write_conditions)

    type: ChannelKind = Field(description="Kind of the channel", examples=["webhook"])
    url: HttpUrl | None = Field(default=None, description="webhook: address of the messages")
    secret_file: FileName | None = Field(
        default=None, description="webhook: file with the signing secret"
    )
    token_file: FileName | None = Field(
        default=None, description="slack, github: file with the token"
    )
    conversation: Conversation | None = Field(
        default=None, description="slack: id of the conversation", examples=["C0123456789"]
    )
    repository: OwnerAndName | None = Field(
        default=None,
        description="github: OWNER/NAME of the commits; each application's own if unset",
    )
    app: AppSection | None = Field(default=None, description="github: an App instead of a token")
    subscriptions: Annotated[list[SubscriptionSection], Field(min_length=1)] = Field(
        description="What it gets", examples=["[{triggers: [on-stalled]}]"]
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        needed, possible = _KEYS[self.type]
        given = {
            field.alias or name
            for name, field in type(self).model_fields.items()
            if getattr(self, name) is not None
        }
        for key in needed:
            if key not in given:
                raise refuse(f"a {self.type} channel needs `{key}`", f"Write `{key}:` too")
        for key in sorted(given - {*needed, *possible, *_COMMON}):
            listed = ", ".join(f"`{name}`" for name in (*needed, *possible))
            raise refuse(f"a {self.type} channel has no `{key}`", f"Remove it; there are {listed}")
        if self.type == "github" and (self.token_file is None) == (self.app is None):
            raise refuse(
                "a github channel signs in with `tokenFile` or with `app`, one of the two",
                "Write `tokenFile: FILE`, or `app: {id: ..., keyFile: FILE}`",
            )
        return self


class Channel(Section):
    """Where notifications go."""

    api_version: Literal["gitopsd.io/v1"] = Field(alias="apiVersion")
    kind: Literal["Channel"]
    metadata: MetadataSection
    spec: ChannelSection

    def to_domain(self) -> ChannelSpec:
        """Make the frozen value."""
        spec = self.spec
        app = spec.app
        return ChannelSpec(
            name=self.metadata.name,
            type=ChannelType(spec.type),
            url=spec.url or "",
            secret_file=spec.secret_file or "",
            subscriptions=tuple(
                Subscription(tuple(one.triggers), tuple(one.applications), one.labels)
                for one in spec.subscriptions
            ),
            token_file=spec.token_file or "",
            conversation=spec.conversation or "",
            repository=spec.repository or "",
            app_id=app.id if app is not None else "",
            key_file=app.key_file if app is not None else "",
            installation_id=(app.installation or "") if app is not None else "",
        )
