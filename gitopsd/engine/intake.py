"""From a raw delivery to hints to look.

Accepting costs one signature and one committed row; everything else happens afterwards, in
isolation, with the attempts counted before the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.contributions import Push
from gitopsd.domain.sources import (
    Delivery,
    DeliveryId,
    DeliveryState,
    GitPush,
    ImagePush,
    ImagePushes,
    Ping,
    ReceiverName,
    ReceiverSpec,
    RefName,
    RepoURL,
    Unconcerned,
)
from gitopsd.domain.work import WorkItem
from gitopsd.engine.image_hints import hint_images
from gitopsd.engine.looks import want_look
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import DeliveryError, PermanentError, SignatureError
from gitopsd.pipeline.tag_choice import concerns
from gitopsd.store_ports import Transaction
from gitopsd.webhooks.receivers import check_signature, delivery_key, parse_event, recognise
from gitopsd.webhooks.urls import covers, same_repository

_RESULTS = {
    DeliveryState.STORED: "stored",
    DeliveryState.DONE: "done",
    DeliveryState.DEAD_LETTERED: "dead-lettered",
}

TRIES = 3
"""A delivery that cannot be used after this many tries is dead-lettered."""

KEPT_HEADERS = frozenset(
    {
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "x-github-delivery",
        "x-github-event",
        "x-github-hook-id",
    }
)
"""Headers that are stored with a delivery; signatures and credentials never are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told.

    Attributes:
        status: HTTP status.
        message: One sentence; never says why a signature was refused.
        problem: What whoever keeps gitopsd running should know; the sender is not told.
    """

    status: int
    message: str
    problem: str = ""


async def accept_delivery(
    services: Services, name: ReceiverName, headers: Mapping[str, str], body: bytes
) -> Answer:
    """Check the signature over the raw bytes and store the delivery.

    Safe to repeat: the same delivery is stored once; sent again, it rings the look again.

    Raises:
        TemporaryError: The store does not answer (503).
    """
    spec = services.configuration().receivers.get(name)
    if spec is None:
        return Answer(404, "There is no receiver of that name.")
    secrets, problem = _read_secrets(services, spec)
    if not secrets:
        return Answer(503, "The receiver's secret cannot be read.", problem)
    try:
        check_signature(spec.type, headers, body, secrets, services.clock.now())
    except SignatureError:
        if problem:  # what cannot be read may be the one that fits: it is sent again
            return Answer(503, "The receiver's secret cannot be read.", problem)
        await services.store.transact(lambda tx: tx.deliveries.count_refused(name))
        _count(services, name, "", "refused")
        return Answer(401, "The signature is missing or wrong.")
    match recognise(spec.type, headers, body):
        case Ping():
            _count(services, name, "ping", "answered")
            return Answer(200, "Pong.", problem)
        case Unconcerned(reason=reason):
            _count(services, name, "other", "ignored")
            return Answer(200, f"Nothing to do: {reason}.", problem)
        case None:
            pass
    delivery = _delivery(spec, headers, body, services)
    await services.inbox.store(services.store, delivery)
    await services.doorbell.ring()
    _count(services, name, "", "stored")
    return Answer(202, "Stored.", problem)


def _count(services: Services, receiver: str, event: str, result: str) -> None:
    """Count a delivery; what it is about is known once its body was read."""
    services.telemetry.count(
        "gitopsd_deliveries_total", receiver=receiver, event=event, result=result
    )


def _read_secrets(services: Services, spec: ReceiverSpec) -> tuple[list[bytes], str]:
    """Read the secrets that can be read; the sentence names the files that cannot."""
    secrets, problems = [], []
    for path in spec.secret_files:
        try:
            secrets.append(services.read_secret(path))
        except PermanentError as error:
            problems.append(error.message)
    if not problems:
        return secrets, ""
    return secrets, f"receiver {spec.name}: {'; '.join(problems)}. Put it back, or name it no more"


def find_secret_problems(services: Services) -> tuple[str, ...]:
    """Name the receivers whose secret files cannot all be read now, one sentence each."""
    receivers = services.configuration().receivers.values()
    found = (_read_secrets(services, spec)[1] for spec in receivers)
    return tuple(problem for problem in found if problem)


def _delivery(
    spec: ReceiverSpec, headers: Mapping[str, str], body: bytes, services: Services
) -> Delivery:
    digest = hashlib.sha256(body).hexdigest()
    key = delivery_key(spec.type, headers, body)
    identity = hashlib.sha256(f"{spec.name}\n{key}\n{digest}".encode()).hexdigest()
    return Delivery(
        id=DeliveryId(f"d-{identity[:24]}"),
        receiver=spec.name,
        key=key,
        body_sha256=digest,
        headers=tuple(
            sorted((name, value) for name, value in headers.items() if name in KEPT_HEADERS)
        ),
        body=body,
        received_at=services.clock.now(),
    )


async def process_deliveries(services: Services, items: Sequence[WorkItem]) -> None:
    """Turn stored deliveries into hints to look, or dead-letter them, all in one transaction.

    For deliveries that are tried for the first time: claiming their work counted the try. When
    this fails, each of them is tried again by `process_delivery`, alone.

    Safe to repeat: a hint that is given twice only looks twice.
    """

    def work(tx: Transaction) -> list[tuple[Delivery, str]]:
        found = tx.deliveries.get_all([DeliveryId(item.subject) for item in items])
        tx.work.finish_all(items)
        return _process_all(tx, services, [replace(one, attempts=1) for one in found])

    await _process(services, work)


async def process_delivery(services: Services, item: WorkItem) -> None:
    """Try a delivery again that was tried before, as the only one that is tried.

    The try is counted before the work, and nothing but its beginning counts: a delivery that
    waited for its turn while another one killed the process has lost no try.

    Safe to repeat: a hint that is given twice only looks twice; a try is one of three.
    """

    def begin(tx: Transaction) -> bool:
        delivery = tx.deliveries.get(DeliveryId(item.subject))
        if delivery is None:
            tx.work.finish(item)
            return False
        tried = max(delivery.attempts, 1)
        if tried < TRIES:
            tx.deliveries.save(replace(delivery, attempts=tried + 1))
            return True
        reason = f"given up after {TRIES} tries, none of which came to an end; see the log"
        dead = replace(delivery, attempts=TRIES, reason=reason)
        tx.deliveries.save(replace(dead, state=DeliveryState.DEAD_LETTERED))
        tx.work.finish(item)
        return False

    def work(tx: Transaction) -> list[tuple[Delivery, str]]:
        found = tx.deliveries.get_all([DeliveryId(item.subject)])
        tx.work.finish(item)
        return _process_all(tx, services, found)

    if await retry_conflicts(services.store, begin):
        await _process(services, work)


async def _process(
    services: Services, work: Callable[[Transaction], list[tuple[Delivery, str]]]
) -> None:
    for delivery, event in await retry_conflicts(services.store, work):
        _count(services, delivery.receiver, event, _RESULTS[delivery.state])
    await services.doorbell.ring()


def _process_all(
    tx: Transaction, services: Services, found: Sequence[Delivery]
) -> list[tuple[Delivery, str]]:
    configuration = services.configuration()
    applications = tuple(configuration.applications.values())
    followed = watched_refs(applications)
    done = [
        _processed(
            tx,
            delivery,
            configuration.receivers.get(delivery.receiver),
            applications,
            followed,
            services.pace.settle,
        )
        for delivery in found
    ]
    tx.deliveries.save_all([delivery for delivery, _ in done])
    return done


def _processed(
    tx: Transaction,
    delivery: Delivery,
    spec: ReceiverSpec | None,
    applications: tuple[ApplicationSpec, ...],
    followed: frozenset[tuple[RepoURL, RefName]],
    settle: timedelta,
) -> tuple[Delivery, str]:
    """Do what a delivery asks for; returns it with what became of it, and what it is about."""
    if spec is None:
        reason = f"receiver {delivery.receiver} is no longer configured"
        return replace(delivery, state=DeliveryState.DEAD_LETTERED, reason=reason), ""
    try:
        received = parse_event(spec.type, dict(delivery.headers), delivery.body)
    except DeliveryError as error:
        return replace(delivery, state=DeliveryState.DEAD_LETTERED, reason=error.message), ""
    reason, event = "nothing to do", "other"
    if isinstance(received, GitPush):
        reason, event = _hint(tx, received, spec, followed), "push"
    elif isinstance(received, ImagePush):
        reason, event = hint_images(tx, (received,), spec, applications, settle), "image"
    elif isinstance(received, ImagePushes):
        reason, event = hint_images(tx, received.pushes, spec, applications, settle), "image"
    return replace(delivery, state=DeliveryState.DONE, reason=reason), event


def _hint(
    tx: Transaction,
    push: GitPush,
    spec: ReceiverSpec,
    followed: frozenset[tuple[RepoURL, RefName]],
) -> str:
    """Ask for a look at every watched ref that the push speaks of; returns what was done."""
    mine = sorted(
        (repo, ref)
        for repo, ref in followed
        if any(same_repository(repo, url) for url in push.urls) and _may_speak_of(spec, repo)
    )
    if not mine:
        return f"no application follows {push.urls[0] if push.urls else 'this repository'}"
    _keep_pusher(tx, push, {repo for repo, _ in mine})
    hits = [(repo, ref) for repo, ref in mine if concerns(ref, push.ref)]
    if not hits:
        return f"no application follows {push.ref}"
    for repo, ref in hits:
        want_look(tx, repo, ref, expected=push.after)
    if push.after is None:
        return f"{push.ref} was deleted; what runs keeps running"
    return f"looking at {push.ref}"


def _keep_pusher(tx: Transaction, push: GitPush, repos: Collection[RepoURL]) -> None:
    """Keep who pushed, to whatever ref: nobody approves what they pushed themselves."""
    if push.pusher and push.after is not None:
        for repo in sorted(repos):
            tx.pushes.add(Push(repo, push.after, push.pusher, tx.now))


def _may_speak_of(spec: ReceiverSpec, repo: RepoURL) -> bool:
    return not spec.sources or any(covers(prefix, repo) for prefix in spec.sources)


def watched_refs(applications: tuple[ApplicationSpec, ...]) -> frozenset[tuple[RepoURL, RefName]]:
    """List the refs that applications follow."""
    return frozenset(
        (application.source.repo, application.ref_of(stage))
        for application in applications
        for stage in application.stages
    )
