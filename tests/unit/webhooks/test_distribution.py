"""Notifications of the Distribution registry."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.sources import ImagePush, ImagePushes, ReceiverType, Unconcerned
from gitopsd.errors import DeliveryError, SignatureError
from gitopsd.webhooks import distribution
from gitopsd.webhooks.receivers import (
    SIGNATURE_HEADERS,
    check_signature,
    delivery_key,
    parse_delivery,
    parse_event,
    recognise,
)
from tests.support.deliveries import load_delivery

KIND = ReceiverType.DISTRIBUTION
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = b"topsecret"
INDEX = "application/vnd.oci.image.index.v1+json"
DIGEST = "sha256:" + "d" * 64
NAME = "registry.example.test/team/shop-api"


def _event(**target: Json) -> dict[str, Json]:
    plain: dict[str, Json] = {"mediaType": INDEX, "repository": "team/api", "tag": "1"}
    return {
        "id": target.pop("id", "one"),
        "action": target.pop("action", "push"),
        "target": {**plain, "digest": DIGEST, **target},
        "request": {"host": target.pop("host", "registry.example:5000")},
    }


def _body(*events: Json) -> bytes:
    return json.dumps({"events": list(events)}).encode()


@pytest.mark.parametrize(
    "case, tag, ending",
    [
        ("push_tag", "1.0", "91a4b4ca39d3300c0ecd72d3a0b29b"),
        ("push_index", "1.4.2", "57dcfa323bf9d24416d83d"),
        ("push_docker_manifest", "docker", "118500d3ed38d658af385ea699ea42"),
    ],
)
def test_a_tag_of_an_image_is_a_hint(case: str, tag: str, ending: str) -> None:
    """A push of a manifest or an index under a tag names the image as the pusher calls it."""
    delivery = load_delivery("distribution", case)

    received = parse_delivery(KIND, delivery.headers, delivery.body, [SECRET], NOW)

    assert isinstance(received, ImagePushes)
    (push,) = received.pushes
    assert (push.repository, push.tag) == (NAME, tag)
    assert push.digest.endswith(ending)
    assert recognise(KIND, delivery.headers, delivery.body) is None


@pytest.mark.parametrize(
    "case", ["push_child", "push_blob", "mount_blob", "pull", "delete_tag", "delete_manifest"]
)
def test_everything_else_concerns_nothing(case: str) -> None:
    """Children of an index, layers, mounts, pulls and deletions are answered and not stored."""
    delivery = load_delivery("distribution", case)

    known = recognise(KIND, delivery.headers, delivery.body)

    assert isinstance(known, Unconcerned)
    assert parse_event(KIND, delivery.headers, delivery.body) == known


@pytest.mark.parametrize("kind", ["application/octet-stream", "", "application/json"])
def test_a_tag_of_something_else_is_no_hint(kind: str) -> None:
    """Only what a tag of an image can point to counts."""
    assert isinstance(recognise(KIND, {}, _body(_event(mediaType=kind))), Unconcerned)


@pytest.mark.parametrize("kind", ["list.v2", "v2"])
def test_the_older_types_count_too(kind: str) -> None:
    """Docker's own manifests and lists are images as well."""
    media_type = f"application/vnd.docker.distribution.manifest.{kind}+json"

    assert recognise(KIND, {}, _body(_event(mediaType=media_type))) is None


def test_a_batch_is_read_event_by_event() -> None:
    """Each image and tag is told once, with what was said last; others do not disturb it."""
    body = _body(
        _event(id="1", tag="a"),
        _event(id="2", tag="b", action="delete"),
        _event(id="3", tag="a", digest="sha256:" + "e" * 64),
        _event(id="4", tag="c", mediaType=f"{INDEX}; charset=utf-8"),
        "no event at all",
    )

    received = parse_event(KIND, {}, body)

    name = "registry.example:5000/team/api"
    assert received == ImagePushes(
        (ImagePush(name, "a", "sha256:" + "e" * 64), ImagePush(name, "c", DIGEST))
    )


def test_an_event_counts_once() -> None:
    """An event whose id was read already is left out; those without an id all count."""
    body = _body(
        _event(id="1", tag="a"),
        _event(id="1", tag="b"),
        _event(id="", tag="c"),
        _event(id="", tag="d"),
    )

    received = parse_event(KIND, {}, body)

    assert isinstance(received, ImagePushes)
    assert [push.tag for push in received.pushes] == ["a", "c", "d"]


def test_a_malformed_event_spoils_no_other() -> None:
    """An event with an impossible name is left out while another can be used."""
    body = _body(_event(id="1", repository="Team/API"), _event(id="2"))

    received = parse_event(KIND, {}, body)

    assert isinstance(received, ImagePushes)
    assert len(received.pushes) == 1


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"{", "NotJson"),
        (b"{}", "NoEvents"),
        (b'{"events": {}}', "NoEvents"),
        (_body(_event(repository="Team/API")), "BadImage"),
        (_body(_event(digest="sha256:1")), "BadImage"),
        (_body(_event(tag="..")), "BadImage"),
    ],
)
def test_what_cannot_be_read_is_stored_with_its_reason(body: bytes, reason: str) -> None:
    """Such a delivery is worth storing, has a reason, and a name only when its events have ids."""
    assert recognise(KIND, {}, body) is None
    with pytest.raises(DeliveryError) as caught:
        parse_event(KIND, {}, body)
    assert caught.value.reason == reason


def test_the_reason_names_what_was_found() -> None:
    """The sentence about a missing list says what stands in its place."""
    with pytest.raises(DeliveryError, match=r"^events is NoneType, expected a list$"):
        parse_event(KIND, {}, b"{}")


@pytest.mark.parametrize(
    "body, key",
    [
        (_body(_event(id="one")), "one"),
        (_body(_event(id="one"), _event(id="one", tag="2")), "one"),
        (_body(_event(id="")), ""),
        (_body(), ""),
        (b"{", ""),
    ],
)
def test_a_delivery_is_named_by_its_events(body: bytes, key: str) -> None:
    """The id of its event names a delivery: a repeated sending is the same delivery."""
    assert delivery_key(KIND, {}, body) == key


def test_a_batch_is_named_by_all_its_events() -> None:
    """Two batches have one name only when they hold the same events in the same order."""
    one = delivery_key(KIND, {}, _body(_event(id="a"), _event(id="b")))

    # As the version before names it, which may store the same delivery in a rolling upgrade.
    assert one == f"sha256:{hashlib.sha256(b'a' + bytes([10]) + b'b').hexdigest()}"
    assert one == delivery_key(KIND, {}, _body(_event(id="a"), _event(id="b", tag="other")))
    assert one != delivery_key(KIND, {}, _body(_event(id="a"), _event(id="c")))
    assert delivery_key(KIND, {}, _body(_event(id="\u00fc"), _event(id="b"))).startswith("sha256:")


@pytest.mark.parametrize("value", ["Bearer topsecret", "topsecret"])
def test_the_secret_is_believed_with_and_without_its_scheme(value: str) -> None:
    """Operators write the header as they like; either live secret counts."""
    check_signature(KIND, {"authorization": value}, b"", [b"other", SECRET], NOW)


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "bearer topsecret", "Bearer topsecre", "Basic topsecret", "ü"],
)
def test_another_secret_is_refused(value: str) -> None:
    """Anything but the secret is refused, whatever its signs are."""
    with pytest.raises(SignatureError, match=r"^Authorization (does not match|is missing)$"):
        check_signature(KIND, {"authorization": value}, b"", [SECRET], NOW)


def test_no_secret_believes_nobody() -> None:
    """A missing header, and a receiver without a secret, are refused with their reasons."""
    with pytest.raises(SignatureError, match=r"^Authorization is missing$"):
        check_signature(KIND, {}, b"", [SECRET], NOW)
    with pytest.raises(SignatureError, match=r"^the receiver has no secret$"):
        check_signature(KIND, {"authorization": "Bearer "}, b"", [b""], NOW)
    assert distribution.SIGNATURE_HEADERS == ("authorization",)
    assert "authorization" in SIGNATURE_HEADERS
