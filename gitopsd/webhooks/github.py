"""GitHub's deliveries: ``X-Hub-Signature-256``, JSON and form bodies, push and its kin.

Fields are read leniently: old and self-hosted servers leave out many that the schema requires. A
missing field never refuses a delivery unless nothing could be looked at without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import CommitSha, GitPush, Ping, Received, Unconcerned
from gitopsd.errors import DeliveryError, SignatureError
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
from gitopsd.webhooks.signatures import check_hmac
from gitopsd.webhooks.urls import drop_user, parse_repository_url

SIGNATURE_HEADERS: tuple[str, ...] = ("x-hub-signature-256", "x-hub-signature")
"""Headers that are left out of what is stored."""

_SIGNATURE, _OLD_SIGNATURE = SIGNATURE_HEADERS
_URL_FIELDS = ("clone_url", "ssh_url", "git_url", "html_url", "url")


def check_signature(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], _now: datetime
) -> None:
    """Check the HMAC-SHA256 of the raw body; the SHA-1 header is never enough.

    GitHub signs no time: a replay is found by its delivery key and body.

    Raises:
        SignatureError: It is missing or wrong.
    """
    value = headers.get(_SIGNATURE)
    if value is None and _OLD_SIGNATURE in headers:
        raise SignatureError("X-Hub-Signature is SHA-1 and not accepted; send X-Hub-Signature-256")
    check_hmac("X-Hub-Signature-256", value, body, secrets)


def select_delivery_key(headers: Mapping[str, str], _body: bytes = b"") -> str:
    """Name the delivery: hook id and GUID.

    The GUID alone names the event: all hooks that subscribe to it share it, and so does a
    redelivery (GitHub, "webhook events and payloads", delivery headers).
    """
    guid = headers.get("x-github-delivery", "")
    hook = headers.get("x-github-hook-id", "")
    return select_key(f"{hook}/{guid}") if guid else ""


def recognise(headers: Mapping[str, str], _body: bytes = b"") -> Ping | Unconcerned | None:
    """Tell what the headers alone tell; None when the body has to be read."""
    event = headers.get("x-github-event", "")
    if event == "ping":
        return Ping()
    if event in ("", "push", "delete"):
        return None
    if event == "create":
        return Unconcerned("create says nothing that the push event of the same ref does not say")
    return Unconcerned(f"GitHub event {select_words(event)} concerns nothing here")


def parse_event(headers: Mapping[str, str], body: bytes) -> Received:
    """Read a delivery whose signature holds.

    Raises:
        DeliveryError: It cannot be used; the reason says why.
    """
    known = recognise(headers)
    if known is not None:
        return known
    event = headers.get("x-github-event", "")
    if not event:
        raise DeliveryError("X-GitHub-Event is missing", reason="NoEvent")
    payload = parse_object(headers, body)
    return _parse_push(payload) if event == "push" else _parse_delete(payload)


def _parse_push(payload: JsonObject) -> GitPush:
    after = _find_after(payload)
    return GitPush(
        urls=_find_urls(payload),
        ref=parse_ref(text_at(payload, "ref")),
        before=parse_before(text_at(payload, "before")),
        after=after,
        forced=value_at(payload, "forced") is True,
        pusher=_find_pusher(payload),
    )


def _parse_delete(payload: JsonObject) -> GitPush:
    folder = {"branch": "heads", "tag": "tags"}.get(text_at(payload, "ref_type"))
    if folder is None:
        raise DeliveryError("ref_type is neither branch nor tag", reason="BadRef")
    return GitPush(
        urls=_find_urls(payload),
        ref=parse_ref(f"refs/{folder}/{text_at(payload, 'ref')}"),
        before=None,
        after=None,
        pusher=_find_pusher(payload),
    )


def _find_after(payload: JsonObject) -> CommitSha | None:
    if value_at(payload, "deleted") is True:
        return None
    after = text_at(payload, "after") or text_at(payload, "head_commit", "id")
    if not after:
        raise DeliveryError("the push names no commit: after is missing", reason="BadCommit")
    return parse_sha(after)


def _find_urls(payload: JsonObject) -> tuple[str, ...]:
    found = [text_at(payload, "repository", field).strip() for field in _URL_FIELDS]
    usable = tuple(dict.fromkeys(drop_user(url) for url in found if parse_repository_url(url)))
    if not usable:
        raise DeliveryError(
            "the payload names no repository: clone_url, ssh_url and html_url are missing",
            reason="NoRepository",
        )
    return usable


def _find_pusher(payload: JsonObject) -> str:
    return select_words(text_at(payload, "pusher", "name") or text_at(payload, "sender", "login"))
