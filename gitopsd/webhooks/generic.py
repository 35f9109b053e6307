"""Deliveries of anything that can sign: CI jobs, other Git hosts, scripts.

Signature: Standard Webhooks headers, or ``X-Gitopsd-Signature-256`` or ``X-Signature``, both
``sha256=<hex>`` over the raw body. The strongest one that was sent decides alone.

Body, as JSON::

    {"event": "push", "repository": "https://git.example/team/app.git", "ref": "refs/heads/main",
     "before": "<commit>", "after": "<commit>"}
    {"event": "image", "registry": "registry.example", "repository": "team/app", "tag": "1.4.2",
     "digest": "sha256:..."}
    {"event": "ping"}

``repository`` of a push may be a bare path (``team/app``); it then means that path on any host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import GitPush, ImagePush, Ping, Received, Unconcerned
from gitopsd.errors import DeliveryError
from gitopsd.webhooks.image_pushes import make_image_push
from gitopsd.webhooks.payload import (
    parse_before,
    parse_object,
    parse_ref,
    parse_sha,
    select_key,
    select_words,
    text_at,
    value_at,
)
from gitopsd.webhooks.signatures import check_hmac, check_standard_webhook
from gitopsd.webhooks.urls import drop_user, parse_repository_url

SIGNATURE_HEADERS: tuple[str, ...] = ("webhook-signature", "x-gitopsd-signature-256", "x-signature")
"""Headers that are left out of what is stored."""

_STANDARD, _OWN, _PLAIN = SIGNATURE_HEADERS
_KEY_HEADERS = ("webhook-id", "x-gitopsd-delivery", "idempotency-key")


def check_signature(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime
) -> None:
    """Check the signature that was sent.

    Raises:
        SignatureError: None was sent, it is wrong, or its time is too far from ``now``.
    """
    if _STANDARD in headers:
        check_standard_webhook(headers, body, secrets, now)
    elif _OWN in headers:
        check_hmac("X-Gitopsd-Signature-256", headers[_OWN], body, secrets)
    else:
        check_hmac("X-Signature", headers.get(_PLAIN), body, secrets)


def select_delivery_key(headers: Mapping[str, str], _body: bytes = b"") -> str:
    """Name the delivery by the id its sender gave it; empty when it gave none."""
    return select_key(next((headers[name] for name in _KEY_HEADERS if headers.get(name)), ""))


def recognise(_headers: Mapping[str, str], _body: bytes = b"") -> Ping | Unconcerned | None:
    """Tell what the headers alone tell: nothing."""
    return None


def parse_event(headers: Mapping[str, str], body: bytes) -> Received:
    """Read a delivery whose signature holds.

    Raises:
        DeliveryError: It cannot be used; the reason says why.
    """
    payload = parse_object(headers, body)
    event = text_at(payload, "event")
    if event == "push":
        return _parse_push(payload)
    if event == "image":
        return _parse_image(payload)
    if event == "ping":
        return Ping()
    if not event:
        raise DeliveryError('event is missing, expected "push" or "image"', reason="NoEvent")
    return Unconcerned(f"event {select_words(event)} concerns nothing here")


def _parse_push(payload: JsonObject) -> GitPush:
    repository = text_at(payload, "repository").strip()
    if parse_repository_url(repository) is None:
        raise DeliveryError(
            f"repository is {select_words(drop_user(repository))!r}, expected its address",
            reason="NoRepository",
        )
    deleted = value_at(payload, "deleted") is True
    return GitPush(
        urls=(drop_user(repository),),
        ref=parse_ref(text_at(payload, "ref")),
        before=parse_before(text_at(payload, "before")),
        after=None if deleted else parse_sha(text_at(payload, "after")),
        forced=value_at(payload, "forced") is True,
        pusher=select_words(text_at(payload, "pusher")),
    )


def _parse_image(payload: JsonObject) -> ImagePush:
    return make_image_push(
        text_at(payload, "registry"),
        text_at(payload, "repository"),
        text_at(payload, "tag"),
        text_at(payload, "digest"),
    )
