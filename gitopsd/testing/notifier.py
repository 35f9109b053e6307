"""A notifier in memory: channels that take messages, or do not."""

from __future__ import annotations

from gitopsd.domain.config import ChannelSpec
from gitopsd.domain.work import Notification
from gitopsd.errors import GitopsdError


class MemoryNotifier:
    """Keeps what each channel received.

    Attributes:
        received: Channel name -> notifications in the order of their first arrival. A message id
            that comes twice is kept once, as receivers of the real messages are asked to do.
        sendings: How often `send` reached a channel, repeated messages included.
    """

    def __init__(self) -> None:
        self.received: dict[str, list[Notification]] = {}
        self.sendings = 0
        self._trouble: dict[str, GitopsdError] = {}

    def break_channel(self, channel: str, error: GitopsdError) -> None:
        """Make every sending to ``channel`` raise ``error`` until `mend_channel`."""
        self._trouble[channel] = error

    def mend_channel(self, channel: str) -> None:
        """Let a channel take messages again."""
        self._trouble.pop(channel, None)

    async def send(self, channel: ChannelSpec, notification: Notification) -> None:
        """Deliver to the channel's list. Safe to repeat: a known message id is not kept again."""
        trouble = self._trouble.get(channel.name)
        if trouble is not None:
            raise trouble
        self.sendings += 1
        kept = self.received.setdefault(channel.name, [])
        if all(known.id != notification.id for known in kept):
            kept.append(notification)
