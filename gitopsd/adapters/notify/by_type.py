"""One notifier for all channels: each type of channel has a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gitopsd.adapters.notify.github import GitHubReports
from gitopsd.adapters.notify.outgoing import Outgoing
from gitopsd.adapters.notify.slack import SlackReports
from gitopsd.adapters.notify.webhook import WebhookNotifier
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import Report
from gitopsd.domain.work import Notification
from gitopsd.errors import PermanentError
from gitopsd.ports import Clock, Remember


class _Sender(Protocol):
    """What a module offers whose channels get one message for each event."""

    async def send(self, channel: ChannelSpec, notification: Notification) -> None: ...

    async def close(self) -> None: ...


class _Board(Protocol):
    """What a module offers whose channels show reports."""

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,
    ) -> None: ...


class NotifierByType:
    """Hands a message to the module of its channel's type; implements ``ports.Notifier``.

    Args:
        clock: Time of signatures and tokens.
        slack_url: Address of Slack's Web API; empty for the public one.
        github_url: Address of GitHub's REST API; empty for the public one.
        outgoing: Connections; its own unless given.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        slack_url: str = "",
        github_url: str = "",
        outgoing: Outgoing | None = None,
    ) -> None:
        self._outgoing = outgoing or Outgoing()
        self._senders: Mapping[ChannelType, _Sender] = {
            ChannelType.WEBHOOK: WebhookNotifier(clock, outgoing=self._outgoing),
        }
        self._boards: Mapping[ChannelType, _Board] = {
            ChannelType.SLACK: SlackReports(self._outgoing, clock, slack_url),
            ChannelType.GITHUB: GitHubReports(self._outgoing, clock, github_url),
        }

    async def send(self, channel: ChannelSpec, notification: Notification) -> None:
        """Send one notification. Safe to repeat: as safe as the type's own sender.

        Raises:
            TemporaryError: The channel did not take it; try again later.
            PermanentError: The channel will never take it, or nothing here sends to its type.
        """
        sender = self._senders.get(channel.type)
        if sender is None:
            message = f"channel {channel.name}: nothing here sends to {channel.type.value} channels"
            raise PermanentError(message)
        await sender.send(channel, notification)

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,
    ) -> None:
        """Show a report. Safe to repeat: as safe as the type's own module.

        Raises:
            TemporaryError: The channel did not take all of it; try again later.
            PermanentError: The channel will never take it, or its type shows no reports.
        """
        board = self._boards.get(channel.type)
        if board is None:
            message = f"channel {channel.name}: {channel.type.value} channels show no reports"
            raise PermanentError(message)
        await board.show(channel, report, known, remember, under=under)

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        for sender in self._senders.values():
            await sender.close()
        await self._outgoing.close()
