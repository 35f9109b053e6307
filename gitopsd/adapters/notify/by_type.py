"""One notifier for all channels: each type of channel has a sender of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gitopsd.adapters.notify.webhook import WebhookNotifier
from gitopsd.domain.config import ChannelSpec, ChannelType
from gitopsd.domain.work import Notification
from gitopsd.errors import PermanentError
from gitopsd.ports import Clock


class _Sender(Protocol):
    """What a module of this package offers."""

    async def send(self, channel: ChannelSpec, notification: Notification) -> None: ...

    async def close(self) -> None: ...


class NotifierByType:
    """Hands a notification to the sender of its channel's type; implements ``ports.Notifier``.

    Args:
        clock: Time of signatures.
    """

    def __init__(self, clock: Clock) -> None:
        self._senders: Mapping[ChannelType, _Sender] = {
            ChannelType.WEBHOOK: WebhookNotifier(clock),
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

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        for sender in self._senders.values():
            await sender.close()
