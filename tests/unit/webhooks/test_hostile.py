"""Whatever the bytes are, a receiver answers with a value or a DeliveryError."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json
from gitopsd.domain.sources import GitPush, ImagePush, Received, ReceiverType
from gitopsd.errors import DeliveryError, SignatureError
from gitopsd.webhooks.receivers import check_signature, delivery_key, parse_event, recognise
from gitopsd.webhooks.urls import parse_repository_url
from tests.support.deliveries import load_delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = st.sampled_from(ReceiverType)
EVENTS = st.sampled_from(["push", "delete", "create", "ping", "image", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "x-github-event", "x-github-delivery", "x-github-hook-id", "webhook-id",
         "webhook-timestamp", "webhook-signature", "x-signature", "x-hub-signature-256",
         "x-hub-signature", "x-gitopsd-signature-256", "idempotency-key"]
    ),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=80)
    | st.sampled_from(["push", "application/x-www-form-urlencoded", "1767225600", "sha256=0"]),
)  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[str, Json]:
    """A real payload in which some values were replaced, removed or added."""
    case = draw(st.sampled_from(["push_branch", "push_deleted", "push_tag", "delete_tag"]))
    delivery = load_delivery("github", case)
    payload = json.loads(delivery.body)
    for _ in range(draw(st.integers(1, 4))):
        _mutate(draw, payload)
    return delivery.headers["x-github-event"], payload


def _mutate(draw: st.DrawFn, payload: dict[str, Json]) -> None:
    place = payload
    while True:
        key = draw(st.sampled_from([*sorted(place), "event", "deleted"]))
        inner = place.get(key)
        if not isinstance(inner, dict) or not draw(st.booleans()):
            break
        place = inner
    if draw(st.booleans()):
        place[key] = draw(VALUES)
    else:
        place.pop(key, None)


def _read(receiver_type: ReceiverType, headers: dict[str, str], body: bytes) -> None:
    received: Received | None = None
    try:
        received = parse_event(receiver_type, headers, body)
    except SignatureError:
        pytest.fail("reading a body says nothing about its signature")
    except DeliveryError as error:
        error.message.encode()
    assert str(received).encode()
    if isinstance(received, GitPush):
        assert received.urls
        assert all(parse_repository_url(url) for url in received.urls)
        assert "\x00" not in str(received)
    elif isinstance(received, ImagePush):
        assert received.tag or received.digest


@given(TYPES, _mutated())
def test_mutated_payloads_never_crash(receiver_type: ReceiverType, made: tuple[str, Json]) -> None:
    """A real payload with values of other types in it is read or refused."""
    event, payload = made
    _read(receiver_type, {"x-github-event": event}, json.dumps(payload).encode())


@given(TYPES, HEADERS, st.binary(max_size=200))
@example(ReceiverType.GITHUB, {"x-github-event": "push"}, b"[" * 26_000)
@example(ReceiverType.GENERIC, {}, b'{"a":' * 26_000)
def test_random_bytes_never_crash(
    receiver_type: ReceiverType, headers: dict[str, str], body: bytes
) -> None:
    """Bytes of any kind under headers of any kind are read or refused."""
    _read(receiver_type, headers, body)
    assert len(delivery_key(receiver_type, headers)) <= 200
    delivery_key(receiver_type, headers).encode("ascii")
    recognise(receiver_type, headers)


@given(TYPES, EVENTS, VALUES, VALUES, VALUES)
def test_random_values_never_crash(
    receiver_type: ReceiverType, event: str, ref: Json, repository: Json, after: Json
) -> None:
    """Right keys with values of any type are read or refused."""
    payload = {"event": event, "ref": ref, "repository": repository, "after": after}
    body = json.dumps(payload | {"ref_type": "tag"}).encode()
    _read(receiver_type, {"x-github-event": event}, body)


@given(TYPES, HEADERS, st.binary(max_size=50), st.lists(st.binary(max_size=8), max_size=2))
def test_forged_signatures_never_pass_and_never_crash(
    receiver_type: ReceiverType, headers: dict[str, str], body: bytes, secrets: list[bytes]
) -> None:
    """Headers of any kind are refused as a wrong signature and in no other way."""
    with pytest.raises(SignatureError):
        check_signature(receiver_type, headers, body, secrets, NOW)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_any_text_is_an_address_or_none(text: str) -> None:
    """Reading an address never fails, and what is read can be written again."""
    address = parse_repository_url(text)
    if address is not None:
        assert "@" not in address.host
        assert str(address).encode()
