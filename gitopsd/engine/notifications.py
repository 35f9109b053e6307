"""Puts notifications into the outbox, for the channels that subscribed to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.config import Configuration
from gitopsd.domain.gates import Closed, GateState
from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.runs import Run
from gitopsd.domain.work import Notification, WorkItem, WorkKind
from gitopsd.engine.group_asking import GroupRequest, find_request
from gitopsd.engine.showing import begin_reports
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.commands import Trigger
from gitopsd.store_ports import Transaction


def notify(
    tx: Transaction,
    run: Run | None,
    trigger: Trigger,
    message: str,
    config: Configuration,
    *,
    stage: StageKey | None = None,
    anew: bool = False,
) -> None:
    """Store a notification and queue it for each subscribed channel.

    Safe to repeat: the id is made of the run, its version and the trigger, and of the time for what
    may happen to an ended run again and again (``anew``).
    """
    key = run.stage if run is not None else stage
    if key is None:
        return
    version = f"{run.id}.{run.version}" if run is not None else f"{key}@{tx.now.isoformat()}"
    moment = f"@{tx.now.isoformat()}" if anew and run is not None else ""
    notification = Notification(
        id=f"{version}{moment}.{trigger.value}",
        trigger=trigger.value,
        application=key.application,
        stage=key.stage,
        message=redact_text(message),
        at=tx.now,
        details=_details(tx, run),
    )
    publish(tx, notification, config, run=run)


def publish(
    tx: Transaction,
    notification: Notification,
    config: Configuration,
    *,
    run: Run | None = None,
) -> None:
    """Store a notification and queue it, or the report it belongs to, for each subscribed channel.

    Safe to repeat: a notification whose id is there already is not queued again.

    Args:
        tx: The transaction.
        notification: What happened.
        config: Which channels there are.
        run: Run that it happened to; None when it is about none.
    """
    if not tx.records.add_notification(notification):
        return
    spec = config.applications.get(ApplicationName(notification.application))
    labels = spec.labels if spec is not None else {}
    for channel in config.channels.values():
        if not concerns(channel, notification, labels):
            continue
        if channel.shows_reports:
            begin_reports(tx, channel, notification, run)
        else:
            tx.work.add(
                WorkItem(
                    key=f"notify:{notification.id}:{channel.name}",
                    kind=WorkKind.NOTIFY,
                    subject=notification.id,
                    payload={"channel": channel.name, "since": tx.now.isoformat()},
                    due_at=tx.now,
                )
            )


def ask_for_approval(
    tx: Transaction, run: Run, states: Sequence[GateState], config: Configuration
) -> None:
    """Tell the channels that a run waits for approvals, once for each plan.

    Where one approval is for all stages of a group, they are told once for the group; a plan that
    comes, or changes, when somebody has voted already is asked for by itself.

    Safe to repeat: what was asked for is stored by the run and its plan, whichever request it was
    part of.
    """
    for state in states:
        if state.name != "approval" or not isinstance(state.answer, Closed):
            continue
        alone = _ask_alone(tx, run, state.answer)
        if tx.records.notification(alone.id) is not None:
            continue
        request = find_request(tx, run)
        if request is None:
            publish(tx, alone, config, run=run)
        else:
            tx.records.add_notification(alone)
            publish(tx, _ask_together(alone, run, state.answer, request), config, run=run)


def _ask_alone(tx: Transaction, run: Run, answer: Closed) -> Notification:
    key, trigger = run.stage, Trigger.APPROVAL_REQUESTED.value
    return Notification(
        id=f"{run.id}.{run.plan}.{trigger}",
        trigger=trigger,
        application=key.application,
        stage=key.stage,
        message=f"{key}: {run.release} waits: {answer.reason}. To approve: {answer.opener}",
        at=tx.now,
        details=_details(tx, run),
    )


def _ask_together(
    alone: Notification, run: Run, answer: Closed, request: GroupRequest
) -> Notification:
    """Ask for the plans of a whole group; it is about none of its stages more than another."""
    name, group = run.stage.application, request.group.spec.name
    where = f"{name}, group {group} ({', '.join(request.stages)})"
    return replace(
        alone,
        id=request.id,
        stage="",
        message=f"{where}: {run.release} waits: {answer.reason}. "
        f"To approve: gitopsd approve {name} --group {group}",
        details={**alone.details, "group": group, "stages": list(request.stages)},
    )


def concerns(
    channel: ChannelSpec, notification: Notification, labels: dict[str, str] | object
) -> bool:
    """Tell whether a channel subscribed to a notification; one without subscriptions gets all."""
    owned = labels if isinstance(labels, dict) else {}
    if not channel.subscriptions:
        return True
    return any(
        (not item.triggers or notification.trigger in item.triggers)
        and (not item.applications or notification.application in item.applications)
        and all(owned.get(name) == value for name, value in item.labels.items())
        for item in channel.subscriptions
    )


def _details(tx: Transaction, run: Run | None) -> dict[str, str]:
    if run is None:
        return {}
    release = tx.releases.get(run.release)
    details = {"run": str(run.id), "kind": run.kind.value, "phase": run.phase.value}
    if release is not None:
        details |= {
            "release": str(release.id),
            "alias": release.alias,
            "commit": str(release.commit.sha),
            "subject": release.commit.subject,
            "author": release.commit.author,
        }
    if run.plan is not None:
        details["plan"] = str(run.plan)
    if run.failure is not None:
        details |= {"reason": run.failure.reason, "failure": redact_text(run.failure.message)}
    return details
