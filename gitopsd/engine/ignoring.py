"""Keeps and reads what happened and changed nothing, so that people can be told why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from gitopsd.domain.config import ApplicationSpec, Configuration
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Run, RunId, Step
from gitopsd.domain.sources import (
    Delivery,
    DeliveryState,
    GitPush,
    ImagePush,
    ImagePushes,
    ReceiverSpec,
)
from gitopsd.domain.work import Evidence, EvidenceKind, Page
from gitopsd.errors import DeliveryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.events import Event
from gitopsd.pipeline.explanation import Ignored
from gitopsd.pipeline.ignored_events import is_told
from gitopsd.store_ports import Transaction
from gitopsd.webhooks.receivers import parse_event
from gitopsd.webhooks.urls import covers, same_repository

MOST_TOLD = 5
"""Ignored things of one source that are told, newest first."""

_AUDIT = Page(limit=200)
_DELIVERIES = Page(limit=50)
_LARGEST_READ = 256 * 1024
"""Bytes of a delivery that is read again to find out what it is about."""


def keep_ignored(tx: Transaction, run: Run, event: Event, reason: str) -> None:
    """Keep why an event changed nothing of a run, unless it comes again and again by design.

    Safe to repeat: each kind of event has one piece of evidence, the first of the newest reason.
    """
    if not is_told(event):
        return
    name = type(event).__name__
    content = {"event": _say_event(event, name), "reason": redact_clause(reason)}
    for piece in tx.runs.evidence(run.id):
        if piece.kind is EvidenceKind.IGNORED and piece.key == name and piece.content == content:
            return
    step = run.step or Step.RENDER
    tx.runs.put_evidence(Evidence(run.id, step, EvidenceKind.IGNORED, tx.now, content, key=name))


def load_ignored_of_run(tx: Transaction, run: RunId) -> tuple[Ignored, ...]:
    """Read what happened to a run and changed nothing, and what people were refused of it."""
    events = [
        Ignored(str(piece.content.get("event")), str(piece.content.get("reason")), piece.at)
        for piece in tx.runs.evidence(run)
        if piece.kind is EvidenceKind.IGNORED and isinstance(piece.content, dict)
    ]
    return _newest([*events, *load_refusals(tx, (str(run),))])


def load_ignored_of_stage(
    tx: Transaction, key: StageKey, runs: Iterable[RunId]
) -> tuple[Ignored, ...]:
    """Read what people were refused of a stage, and what was ignored of its runs under way."""
    path = f"applications/{key.application}/stages/{key.stage}"
    found = [*load_refusals(tx, (str(key), path))]
    for run in runs:
        found += load_ignored_of_run(tx, run)
    return _newest(found)


def load_refusals(tx: Transaction, targets: tuple[str, ...]) -> tuple[Ignored, ...]:
    """Read the actions of people on something that were refused lately, newest first."""
    entries = (
        entry
        for entry in tx.records.audit(_AUDIT)
        if entry.target in targets and entry.outcome.startswith("refused: ")
    )
    return tuple(
        Ignored(
            f"{entry.action} by {entry.subject}", entry.outcome.removeprefix("refused: "), entry.at
        )
        for entry in islice(entries, MOST_TOLD)
    )


def load_ignored_deliveries(
    tx: Transaction, application: ApplicationSpec, config: Configuration, *, sure: bool = False
) -> tuple[Ignored, ...]:
    """Read the deliveries that speak of an application and changed nothing.

    Args:
        tx: A reading transaction.
        application: The application.
        config: The configuration in force.
        sure: Leave out what may speak of other applications: deliveries that could not be read,
            and badly signed requests.
    """
    found = tuple(islice(_ignored_deliveries(tx, application, config, sure=sure), MOST_TOLD))
    refused = tx.deliveries.refused()
    badly_signed = (
        Ignored(
            f"{refused[name]} requests to receiver {name}",
            "their signature was missing or wrong; compare the secret there and here",
        )
        for name, spec in config.receivers.items()
        if refused.get(name) and _may_speak_of(spec, application)
    )
    return found if sure else (*found, *badly_signed)


def _ignored_deliveries(
    tx: Transaction, application: ApplicationSpec, config: Configuration, *, sure: bool
) -> Iterator[Ignored]:
    for row, size in tx.deliveries.page_without_bodies(_DELIVERIES):
        spec = config.receivers.get(row.receiver)
        if spec is None or not _is_ignored(row) or not _may_speak_of(spec, application):
            continue
        what = f"delivery {row.id} to receiver {row.receiver}"
        if row.state is DeliveryState.DEAD_LETTERED:
            if not sure:
                yield Ignored(what, f"dead-lettered: {row.reason}", row.received_at)
            continue
        whole = tx.deliveries.get(row.id) if size <= _LARGEST_READ else None
        if whole is not None and _speaks_of(whole, spec, application):
            yield Ignored(what, row.reason, row.received_at)


def _is_ignored(row: Delivery) -> bool:
    asked = row.reason.startswith("looking at")
    return row.state is not DeliveryState.STORED and not asked


def _may_speak_of(spec: ReceiverSpec, application: ApplicationSpec) -> bool:
    images = [image.name for image in application.images]
    named = any(image.startswith(prefix) for image in images for prefix in spec.sources)
    return (
        not spec.sources
        or named
        or any(covers(prefix, application.source.repo) for prefix in spec.sources)
    )


def _speaks_of(whole: Delivery, spec: ReceiverSpec, application: ApplicationSpec) -> bool:
    try:
        received = parse_event(spec.type, dict(whole.headers), whole.body)
    except DeliveryError:
        return False
    if isinstance(received, GitPush):
        return any(same_repository(application.source.repo, url) for url in received.urls)
    names = {image.name for image in application.images}
    if isinstance(received, ImagePush):
        return received.repository in names
    return isinstance(received, ImagePushes) and any(
        push.repository in names for push in received.pushes
    )


def _say_event(event: Event, name: str) -> str:
    by = getattr(event, "by", "")
    return f"{name} by {by}" if by else name


def _newest(found: list[Ignored]) -> tuple[Ignored, ...]:
    found.sort(key=lambda one: one.at.isoformat() if one.at is not None else "", reverse=True)
    return tuple(found[:MOST_TOLD])
