"""Sends what waits in the outbox to the channels, and says when one does not take it.

A channel in trouble is left alone for a while as a whole; its messages wait. What waited for a day
is given up, counted and logged. Nothing here is waited for by a release.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import ChannelState, MessageHandle, Report, StageReport
from gitopsd.domain.work import Notification, WorkItem
from gitopsd.engine.pauses import AT_ONCE, AT_ONCE_EVERYWHERE, Pause
from gitopsd.engine.reporting import compose_report, find_parent
from gitopsd.engine.services import Services
from gitopsd.engine.showing import parse_subject
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from gitopsd.ports import MISCONFIGURED, MISCONFIGURED_PART
from gitopsd.store_ports import Transaction

GIVE_UP_AFTER = timedelta(hours=24)
"""What no channel took for this long is dropped and counted."""

BUDGET = timedelta(seconds=60)
"""Bound of all requests for one report; well below the time that a claim lasts."""

_SOON = timedelta(seconds=1)
_SPREAD_SECONDS = 4

_LOG = logging.getLogger(__name__)


async def send_queued(services: Services, item: WorkItem) -> timedelta | None:
    """Send one queued message; returns when to try again, None when it is settled.

    Safe to repeat: a webhook's receiver sees the same message id, a report is found again.
    """
    name = str(item.payload.get("channel", ""))
    channel = services.configuration().channels.get(name)
    if channel is None:
        return None
    pause = _pause_of(services, channel)
    rest = pause.rest(services.clock.monotonic())
    everywhere = sum(other.under_way for other in services.pauses.values())
    if rest or pause.under_way >= AT_ONCE or everywhere >= AT_ONCE_EVERYWHERE:
        return rest + _spread(item)
    pause.under_way += 1
    try:
        message = await _prepare(services, channel, item)
        if message is None:
            return None
        rest = pause.rest_of(message.part, services.clock.monotonic())
        if rest:
            return rest + _spread(item)
        return await _send(services, channel, pause, item, message)
    finally:
        pause.under_way -= 1


@dataclass(frozen=True, slots=True)
class _Message:
    """What is sent.

    Attributes:
        send: Sends it; returns when to try again when another one must be shown first.
        part: Part of the channel that it belongs to, a repository; empty for all of it.
    """

    send: Callable[[], Awaitable[timedelta | None]]
    part: str = ""


async def _send(
    services: Services, channel: ChannelSpec, pause: Pause, item: WorkItem, message: _Message
) -> timedelta | None:
    try:
        wait = await message.send()
    except _UnrecordedError:
        return _SOON
    except PermanentError as error:
        return await _refused(services, channel, pause, item, error, message.part)
    except GitopsdError as error:
        return await _failed(services, channel, pause, item, error)
    if wait is None:
        await _works(services, channel, pause, message.part)
    return wait


async def _prepare(services: Services, channel: ChannelSpec, item: WorkItem) -> _Message | None:
    """Read what is to be sent; None when there is nothing any more."""
    if not item.payload.get("shows"):
        notification = await services.store.read(lambda tx: tx.records.notification(item.subject))
        return _Message(partial(_tell, services, channel, notification)) if notification else None
    subject = parse_subject(item.subject)

    def read(tx: Transaction) -> tuple[MessageHandle | None, MessageHandle | None, Report | None]:
        handle = tx.handles.get(channel.name, item.subject)
        parent = find_parent(tx, subject)
        above = tx.handles.get(channel.name, parent) if parent else None
        return handle, above, compose_report(tx, channel, subject, services.public_url)

    handle, above, report = await services.store.read(read)
    if handle is None or report is None:
        return None
    part = report.repository if isinstance(report, StageReport) else ""
    return _Message(partial(_show, services, channel, handle, above, report), part)


async def _tell(services: Services, channel: ChannelSpec, notification: Notification) -> None:
    await services.notifier.send(channel, notification)


async def _show(
    services: Services,
    channel: ChannelSpec,
    handle: MessageHandle,
    above: MessageHandle | None,
    report: Report,
) -> timedelta | None:
    """Show a report; returns when to try again when another one must be shown first."""
    if above is not None and above.shown_at is None:
        return _SOON
    memory = _Memory(services, handle)
    under = above.state if above is not None else None
    try:
        async with asyncio.timeout(BUDGET.total_seconds()):
            await services.notifier.show(
                channel, report, handle.state, memory.remember, under=under
            )
    except TimeoutError as error:
        bound = BUDGET.total_seconds()
        raise TemporaryError(f"channel {channel.name}: not done within {bound:g} s") from error
    await memory.finish()
    return None


class _UnrecordedError(TemporaryError):
    """What a channel shows could not be stored: no fault of the channel's."""


class _Memory:
    """Stores what an adapter wants to know the next time.

    Args:
        services: The ports.
        handle: The handle as it was read.
    """

    def __init__(self, services: Services, handle: MessageHandle) -> None:
        self._services = services
        self._handle = handle

    async def remember(self, state: JsonObject) -> None:
        """Store a state.

        Raises:
            _UnrecordedError: The database does not answer, or another process shows the same
                report, something newer or older; everything is looked at anew.
        """
        await self._save(replace(self._handle, state=state))

    async def finish(self) -> None:
        """Store that everything is shown as it stood."""
        if self._handle.shown_at is None:
            await self._save(replace(self._handle, shown_at=self._services.clock.now()))

    async def _save(self, changed: MessageHandle) -> None:
        known = self._handle.version
        changed = replace(changed, version=known + 1)
        try:
            await self._services.store.transact(
                lambda tx: tx.handles.save(changed, expected_version=known)
            )
        except GitopsdError as error:
            raise _UnrecordedError(error.message) from error
        self._handle = changed


def _pause_of(services: Services, channel: ChannelSpec) -> Pause:
    pause = services.pauses.get(channel.name)
    if pause is None or pause.spec != channel:
        pause = services.pauses[channel.name] = Pause(channel)
    return pause


def _spread(item: WorkItem) -> timedelta:
    """Let what waits for one channel not come back all at once."""
    share = zlib.crc32(f"{item.key}{item.attempts}".encode()) % (_SPREAD_SECONDS * 1000)
    return timedelta(milliseconds=250 + share)


async def _works(services: Services, channel: ChannelSpec, pause: Pause, part: str) -> None:
    mended = pause.parts.pop(part, None) is not None
    works = pause.work(services.clock.monotonic())
    if works and (pause.problem or mended):
        _LOG.info("channel %s takes messages again", channel.name)
    if works:
        pause.problem = ""
    await _note(services, channel, pause)


async def _failed(
    services: Services, channel: ChannelSpec, pause: Pause, item: WorkItem, error: GitopsdError
) -> timedelta | None:
    """Note trouble that may pass, and say when to try again."""
    services.telemetry.count("gitopsd_notification_failures_total", channel=channel.name)
    wait = pause.fail(services.clock.monotonic(), getattr(error, "retry_after", None))
    if not pause.problem:
        _LOG.warning("%s; what waits for it is sent when it answers again", error.message)
    pause.problem = error.message
    await _note(services, channel, pause)
    return await _wait_or_give_up(services, channel, item, error.message, wait + _spread(item))


async def _refused(
    services: Services,
    channel: ChannelSpec,
    pause: Pause,
    item: WorkItem,
    error: PermanentError,
    part: str,
) -> timedelta | None:
    """Drop a message that will never be taken; wait when it is the channel that must be mended."""
    services.telemetry.count("gitopsd_notification_failures_total", channel=channel.name)
    if error.reason not in (MISCONFIGURED, MISCONFIGURED_PART):
        await _drop(services, channel, item, error.message)
        return None
    now, why = services.clock.monotonic(), error.message
    if why not in pause.told:
        _LOG.error("%s", why)
    if part and error.reason == MISCONFIGURED_PART:
        wait = pause.leave_part_alone(part, now, why)
    else:
        wait = pause.leave_alone(now)
        pause.problem = why
    await _note(services, channel, pause)
    return await _wait_or_give_up(services, channel, item, why, wait + _spread(item))


async def _wait_or_give_up(
    services: Services, channel: ChannelSpec, item: WorkItem, problem: str, wait: timedelta
) -> timedelta | None:
    if services.clock.now() - _waiting_since(services, item) <= GIVE_UP_AFTER:
        return wait
    await _drop(services, channel, item, problem)
    return None


def _waiting_since(services: Services, item: WorkItem) -> datetime:
    try:
        return datetime.fromisoformat(str(item.payload.get("since", "")))
    except ValueError:
        return services.clock.now()


async def _drop(services: Services, channel: ChannelSpec, item: WorkItem, why: str) -> None:
    _LOG.error("%s is given up for channel %s: %s", item.subject, channel.name, why)
    services.telemetry.count("gitopsd_notifications_dropped_total", channel=channel.name)

    def work(tx: Transaction) -> None:
        state = tx.handles.channel(channel.name) or ChannelState(channel.name, "", tx.now)
        dropped = state.dropped + 1
        tx.handles.save_channel(replace(state, dropped=dropped, dropped_at=tx.now, dropped_why=why))

    await _store(services, work)


async def _note(services: Services, channel: ChannelSpec, pause: Pause) -> None:
    """Keep how a channel fares where people see it; only changes are written.

    What is stored is compared, and not what this process said last: the one before, or another
    beside it, may have said something else.
    """
    problem = pause.told

    def work(tx: Transaction) -> None:
        state = tx.handles.channel(channel.name) or ChannelState(channel.name, "", tx.now)
        since = state.since if bool(state.problem) == bool(problem) else tx.now
        tx.handles.save_channel(replace(state, problem=problem, since=since))

    try:
        state = await services.store.read(lambda tx: tx.handles.channel(channel.name))
    except GitopsdError:
        return  # it is compared again with the next message
    if problem != (state.problem if state is not None else ""):
        await _store(services, work)


async def _store(services: Services, work: Callable[[Transaction], None]) -> None:
    try:
        await services.store.transact(work)
    except GitopsdError as error:
        _LOG.warning("how a channel fares could not be stored: %s", error.message)
