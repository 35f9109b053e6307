"""Channels of notifications, and what each subscribes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which notifications a channel gets; empty tuples mean all."""

    triggers: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


class ChannelType(Enum):
    """Kind of a notification channel."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """Where notifications go.

    Attributes:
        name: Channel name.
        type: Kind of channel.
        url: Address of a webhook channel.
        secret_file: File with the signing secret of a webhook channel.
        subscriptions: What it gets.
        token_file: File with the token of a Slack or GitHub channel.
        conversation: Slack: id of the conversation that messages are posted to.
        repository: GitHub: ``OWNER/NAME`` that commits are looked for in; empty for the
            application's own repository.
        app_id: GitHub: id of the App that signs in with a key instead of a token.
        key_file: GitHub: file with that App's private key.
        installation_id: GitHub: id of the App's installation; empty to ask for it.
    """

    name: str
    type: ChannelType
    url: str = ""
    secret_file: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    token_file: str = ""
    conversation: str = ""
    repository: str = ""
    app_id: str = ""
    key_file: str = ""
    installation_id: str = ""

    @property
    def shows_reports(self) -> bool:
        """Whether it shows how things stand in one place, instead of one message for each event."""
        return self.type in (ChannelType.SLACK, ChannelType.GITHUB)
