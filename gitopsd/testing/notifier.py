"""A notifier in memory: channels that take messages, or do not."""

from __future__ import annotations

import asyncio

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import Report, StageReport
from gitopsd.domain.work import Notification
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.ports import Remember


class MemoryNotifier:
    """Keeps what each channel received.

    Attributes:
        received: Channel name -> notifications in the order of their first arrival. A message id
            that comes twice is kept once, as receivers of the real messages are asked to do.
        sendings: How often `send` or `show` reached a channel, repeated messages included.
        asked: How often each channel was asked, whatever came of it.
        shown: Channel name -> report id -> the report as it is shown.
        made: Report ids in the order in which they were first shown; one that is there twice was
            not found again.
        history: Everything that was shown, in order.
        forget_after: Ids of reports whose next showing is done, and its answer lost.
        forgets_first: Whether that happens to the first showing of every report.
        unseen: Repository -> what is raised instead of showing anything of it.
    """

    def __init__(self) -> None:
        self.received: dict[str, list[Notification]] = {}
        self.sendings = 0
        self.asked: dict[str, int] = {}
        self.shown: dict[str, dict[str, Report]] = {}
        self.made: list[str] = []
        self.history: list[Report] = []
        self.forget_after: set[str] = set()
        self.forgets_first = False
        self.unseen: dict[str, GitopsdError] = {}
        self._told: set[str] = set()
        self._hanging: set[str] = set()
        self._trouble: dict[str, GitopsdError] = {}

    def break_channel(self, channel: str, error: GitopsdError) -> None:
        """Make every sending to ``channel`` raise ``error`` until `mend_channel`."""
        self._trouble[channel] = error

    def mend_channel(self, channel: str) -> None:
        """Let a channel take messages again."""
        self._trouble.pop(channel, None)
        self._hanging.discard(channel)

    def hang_channel(self, channel: str) -> None:
        """Let ``channel`` take messages and never answer until `mend_channel`."""
        self._hanging.add(channel)

    async def send(self, channel: ChannelSpec, notification: Notification) -> None:
        """Deliver to the channel's list. Safe to repeat: a known message id is not kept again."""
        await self._reach(channel)
        kept = self.received.setdefault(channel.name, [])
        if all(known.id != notification.id for known in kept):
            kept.append(notification)

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,
    ) -> None:
        """Show a report. Safe to repeat: what is shown already is found by the report's id.

        Raises:
            TemporaryError: It is shown, and nobody knows: see `forget_after`.
        """
        await self._reach(channel)
        if isinstance(report, StageReport) and report.repository in self.unseen:
            raise self.unseen[report.repository]
        place = self.shown.setdefault(channel.name, {})
        if not known and report.id not in place:
            self.made.append(report.id)
        if place.get(report.id) != report:
            self.history.append(report)
        place[report.id] = report
        first = report.id not in self._told
        self._told.add(report.id)
        if report.id in self.forget_after or (first and self.forgets_first):
            self.forget_after.discard(report.id)
            raise TemporaryError(f"the answer about {report.id} was lost")
        if not known:
            await remember({"id": report.id, "under": str(under) if under is not None else ""})

    async def _reach(self, channel: ChannelSpec) -> None:
        self.asked[channel.name] = self.asked.get(channel.name, 0) + 1
        if channel.name in self._hanging:
            await asyncio.Event().wait()
        trouble = self._trouble.get(channel.name)
        if trouble is not None:
            raise trouble
        self.sendings += 1
