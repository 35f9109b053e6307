"""From what a sender says about images to looks at those that somebody follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec, ReceiverSpec
from gitopsd.domain.sources import ImagePush
from gitopsd.engine.image_looks import followers_of, want_image_look
from gitopsd.errors import PermanentError
from gitopsd.kube.images import parse_image
from gitopsd.pipeline.image_choice import may_want
from gitopsd.store_ports import Transaction

NAMED = 3
"""Images that the sentence about a delivery names."""


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
