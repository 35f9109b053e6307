"""Notifications of the CNCF Distribution registry (``docker-registry``) and of its forks.

There is no signature: the operator lists a header that every request carries, here
``Authorization: Bearer SECRET``. The body is an envelope of events; only pushes of manifests under
a tag are hints. Children of an index come as pushes without a tag, layers as pushes of another
media type, and pulls, mounts and deletions concern nothing. Source: the project's page on
notifications, and its package ``notifications``.

Each event has an id; a request that was not answered with 2xx or 3xx comes again with the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

from gitopsd.domain.manifests import Json
from gitopsd.domain.sources import ImagePush, ImagePushes, Ping, Received, Unconcerned
from gitopsd.errors import DeliveryError
from gitopsd.webhooks.image_pushes import make_image_push
from gitopsd.webhooks.payload import parse_object, select_key, select_words, text_at
from gitopsd.webhooks.signatures import check_static

SIGNATURE_HEADERS: tuple[str, ...] = ("authorization",)
"""Headers that are left out of what is stored."""

MANIFEST_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
"""Media types of what a tag of an image points to."""

_NOTHING = Unconcerned("no tag of an image was pushed")


def check_signature(
    headers: Mapping[str, str], _body: bytes, secrets: Sequence[bytes], _now: datetime
) -> None:
    """Check the header that the registry was told to send.

    Raises:
        SignatureError: It is missing or wrong.
    """
    check_static("Authorization", headers.get("authorization"), secrets)


def select_delivery_key(headers: Mapping[str, str], body: bytes) -> str:
    """Name the delivery by the ids of its events; empty when they have none."""
    try:
        events = _list_events(headers, body)
    except DeliveryError:
        return ""
    ids = list(dict.fromkeys(filter(None, (text_at(event, "id") for event in events))))
    if len(ids) > 1:
        return "sha256:" + hashlib.sha256("\n".join(ids).encode()).hexdigest()
    return select_key(ids[0]) if ids else ""


def recognise(headers: Mapping[str, str], body: bytes) -> Ping | Unconcerned | None:
    """Tell whether any event is a hint: a registry reports each pull, unless it is told not to.

    A body that cannot be read is worth storing, so that somebody sees it.
    """
    try:
        events = _list_events(headers, body)
    except DeliveryError:
        return None
    return None if any(_is_tag_push(event) for event in events) else _NOTHING


def parse_event(headers: Mapping[str, str], body: bytes) -> Received:
    """Read a delivery whose header holds the secret.

    An event that is malformed is left out as long as another is not.

    Raises:
        DeliveryError: It cannot be used; the reason says why.
    """
    pushes: dict[tuple[str, str], ImagePush] = {}
    problem: DeliveryError | None = None
    seen: set[str] = set()
    for event in _list_events(headers, body):
        known = text_at(event, "id")
        if (known and known in seen) or not _is_tag_push(event):
            continue
        seen.add(known)
        try:
            push = _parse_push(event)
        except DeliveryError as error:
            problem = error
            continue
        pushes[push.repository, push.tag] = push
    if pushes:
        return ImagePushes(tuple(pushes.values()))
    if problem is not None:
        raise problem
    return _NOTHING


def _list_events(headers: Mapping[str, str], body: bytes) -> Sequence[Json]:
    events = parse_object(headers, body).get("events")
    if not isinstance(events, list):
        raise DeliveryError(
            f"events is {select_words(type(events).__name__)}, expected a list",
            reason="NoEvents",
        )
    return events


def _is_tag_push(event: Json) -> bool:
    return (
        text_at(event, "action") == "push"
        and text_at(event, "target", "mediaType").partition(";")[0].strip() in MANIFEST_TYPES
        and text_at(event, "target", "tag") != ""
    )


def _parse_push(event: Json) -> ImagePush:
    return make_image_push(
        text_at(event, "request", "host"),
        text_at(event, "target", "repository"),
        text_at(event, "target", "tag"),
        text_at(event, "target", "digest"),
    )
