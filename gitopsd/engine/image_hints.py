"""Asks for looks at images that somebody follows: by what a sender says, and by ourselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.images import ImagePolicy
from gitopsd.domain.sources import ImagePush, ReceiverSpec
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.errors import PermanentError
from gitopsd.kube.images import parse_image
from gitopsd.pipeline.image_choice import may_want
from gitopsd.store_ports import Transaction

NAMED = 3
"""Images that the sentence about a delivery names."""


def want_image_look(tx: Transaction, name: str, *, delay: timedelta = timedelta(0)) -> None:
    """Ask for a look at an image. Safe to repeat: one look may answer many hints."""
    tx.work.add(
        WorkItem(
            key=f"look:image {name}",
            kind=WorkKind.LOOK_AT_IMAGE,
            subject=name,
            due_at=tx.now + delay,
        )
    )


def followers_of(
    applications: Iterable[ApplicationSpec], name: str
) -> dict[ImagePolicy, list[ApplicationSpec]]:
    """List who follows an image, by policy."""
    found: dict[ImagePolicy, list[ApplicationSpec]] = {}
    for application in applications:
        for source in application.images:
            if source.name == name:
                found.setdefault(source.policy, []).append(application)
    return found


def want_images_of(tx: Transaction, application: ApplicationSpec | None) -> None:
    """Ask for a look at every image of an application: what a quarantine allows has changed."""
    for source in application.images if application is not None else ():
        want_image_look(tx, source.name)


def hint_images(
    tx: Transaction,
    pushes: Sequence[ImagePush],
    spec: ReceiverSpec,
    applications: Sequence[ApplicationSpec],
    delay: timedelta,
) -> str:
    """Ask for a look at every followed image that pushes speak of; returns what was done."""
    followed = dict.fromkeys(
        source.name
        for application in applications
        for source in application.images
        if _may_speak_of(spec, source.name)
    )
    spoken = {
        (name, push.tag) for push in pushes for name in followed if _is_same(name, push.repository)
    }
    if not spoken:
        return f"no application follows {_list(push.repository for push in pushes)}"
    wanted = dict.fromkeys(
        name
        for name, tag in sorted(spoken)
        if not tag or any(may_want(policy, tag) for policy in followers_of(applications, name))
    )
    if not wanted:
        return f"no policy wants {_list(f'{name}:{tag}' for name, tag in sorted(spoken))}"
    for name in wanted:
        want_image_look(tx, name, delay=delay)
    return f"looking at {_list(wanted)}"


def _is_same(name: str, repository: str) -> bool:
    """Tell whether a sender may mean a followed image.

    The host is not compared: a registry reports itself by the name that the pusher used. A look
    too many costs a question or two; a missed hint costs a poll interval.
    """
    try:
        return parse_image(name).repository == parse_image(repository).repository
    except PermanentError:
        return False


def _may_speak_of(spec: ReceiverSpec, name: str) -> bool:
    return not spec.sources or any(_covers(prefix, name) for prefix in spec.sources)


def _covers(prefix: str, name: str) -> bool:
    """Tell whether an image lies at or under a prefix: ``ghcr.io``, ``https://ghcr.io/acme/``."""
    written = prefix.partition("://")[2] or prefix
    written = written.strip("/").lower()
    return name == written or name.startswith(f"{written}/")


def _list(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{', '.join(found[:NAMED])}{more}"
