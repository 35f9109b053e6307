"""Which reports a channel shows, and when they are due to be shown again.

A report begins with the first notification about its subject that the channel subscribed to, and
follows every change of it from then on. It waits in the outbox under one key, so a channel that is
slow, or away, gets the newest state and not every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import Configuration
from gitopsd.domain.releases import Release, ReleaseId
from gitopsd.domain.reports import MessageHandle
from gitopsd.domain.runs import Run, RunKind, Step
from gitopsd.domain.work import Notification, Page, WorkItem, WorkKind
from gitopsd.pipeline.commands import Trigger
from gitopsd.store_ports import Transaction

COALESCE = timedelta(seconds=2)
"""Steps follow each other quickly; a report of a run on its way is shown again this seldom."""

CALLS = frozenset(
    trigger.value
    for trigger in (
        Trigger.VERIFICATION_FAILED,
        Trigger.HEALTH_DEGRADED,
        Trigger.ROLLBACK_FAILED,
        Trigger.STALLED,
        Trigger.GIT_DISAGREES,
        Trigger.DRIFT_DETECTED,
        Trigger.FROZEN,
    )
)
"""What people must hear of: an updated message rings no phone, so these are messages too.

A run without a verdict is none of them: it is tried again every few minutes, and when something
was changed already, the stage is stalled, which is.
"""

_BACK = Page(limit=50)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a handle is about, as its name says.

    Attributes:
        kind: ``release``, ``approval``, ``approvals``, ``call`` or ``stage``.
        name: The rest.
        topic: What concerns it.
    """

    kind: str
    name: str
    topic: str = ""

    def __str__(self) -> str:
        """``kind:name``."""
        return f"{self.kind}:{self.name}"


def parse_subject(text: str) -> Subject:
    """Read a subject's name; the topic is not part of it."""
    kind, _, name = text.partition(":")
    return Subject(kind, name)


def begin_reports(
    tx: Transaction, channel: ChannelSpec, notification: Notification, run: Run | None
) -> None:
    """Show what a notification is about in a channel from now on.

    Safe to repeat: a subject that is shown already is shown again, in the same place. The request
    for a group waits a moment, since its stages' plans come one right after the other.

    Args:
        tx: The transaction.
        channel: A channel that shows reports and subscribed to the notification.
        notification: What happened.
        run: Run that it happened to; None when it is about none.
    """
    for subject in _subjects(tx, channel, notification, run):
        handle = MessageHandle(channel.name, str(subject), subject.topic, tx.now)
        tx.handles.begin(handle)
        _schedule(tx, handle, COALESCE if subject.kind == "approvals" else timedelta(0))


def refresh_reports(tx: Transaction, run: Run, config: Configuration) -> None:
    """Let every report that a run concerns be shown again.

    Safe to repeat: a report that stands as it is shown asks nobody.
    """
    if not any(channel.shows_reports for channel in config.channels.values()):
        return
    story = find_story(tx, run)
    topics = {run.id} if story is None else {run.id, story.id, story.commit.sha}
    on_its_way = run.live and run.step is not Step.GATE
    wait = COALESCE if on_its_way else timedelta(0)
    for handle in tx.handles.about(topics):
        if handle.channel in config.channels:
            _schedule(tx, handle, wait)


def find_story(tx: Transaction, run: Run) -> Release | None:
    """Find the release whose story a run belongs to: a Rollback belongs to what it replaces."""
    if run.kind is not RunKind.ROLLBACK:
        return tx.releases.get(run.release)
    seen = False
    for other in tx.runs.page(_BACK, stage=run.stage):
        if seen and other.kind is RunKind.ROLLOUT and other.mutated:
            return tx.releases.get(other.release)
        seen = seen or other.id == run.id
    return tx.releases.get(run.release)


def _subjects(
    tx: Transaction, channel: ChannelSpec, notification: Notification, run: Run | None
) -> tuple[Subject, ...]:
    story = find_story(tx, run) if run is not None else _named(tx, notification)
    if channel.type is ChannelType.GITHUB:
        if story is None or run is None:
            return ()
        sha, told = story.commit.sha, notification.details.get("stages")
        stages = told if isinstance(told, list | tuple) else [run.stage.stage]
        application = run.stage.application
        return tuple(Subject("stage", f"{application}/{name}/{sha}", sha) for name in stages)
    if run is not None and notification.trigger == Trigger.APPROVAL_REQUESTED.value:
        if notification.details.get("group"):
            return (Subject("approvals", run.id, run.release),)
        return (Subject("approval", f"{run.id}:{run.plan}", run.id),)
    call = Subject("call", notification.id)
    if story is None:
        return (call,)
    release = Subject("release", story.id, story.id)
    return (release, call) if notification.trigger in CALLS else (release,)


def _named(tx: Transaction, notification: Notification) -> Release | None:
    named = notification.details.get("release")
    return tx.releases.get(ReleaseId(named)) if isinstance(named, str) else None


def _schedule(tx: Transaction, handle: MessageHandle, wait: timedelta) -> None:
    tx.work.add(
        WorkItem(
            key=f"show:{handle.channel}:{handle.subject}",
            kind=WorkKind.NOTIFY,
            subject=handle.subject,
            payload={"channel": handle.channel, "since": tx.now.isoformat(), "shows": True},
            due_at=tx.now + wait,
        )
    )
