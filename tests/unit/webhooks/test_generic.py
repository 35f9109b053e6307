"""Deliveries of anything that can sign."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.sources import (
    CommitSha,
    GitPush,
    ImagePush,
    Ping,
    Received,
    ReceiverType,
    RefName,
    Unconcerned,
)
from gitopsd.errors import DeliveryError, SignatureError
from gitopsd.webhooks import receivers
from gitopsd.webhooks.receivers import (
    check_signature,
    delivery_key,
    parse_delivery,
    parse_event,
    recognise,
)
from tests.support.deliveries import (
    GENERIC_SECRET,
    STANDARD_AT,
    STANDARD_SECRET,
    load_delivery,
    sign,
)

GENERIC = ReceiverType.GENERIC
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PUSH = GitPush(
    ("team/shop-deploy",), RefName("refs/heads/main"), CommitSha("a" * 40), CommitSha("b" * 40)
)
DIGEST = "sha256:d03f79ff962d8add61bfdab427001911f7f3b2428057dcfa323bf9d24416d83d"
PUSH_BODY: JsonObject = {
    "event": "push", "repository": "team/app", "ref": "refs/heads/main", "after": "b" * 40
}  # fmt: skip
IMAGE_BODY: JsonObject = {"event": "image", "repository": "team/app", "tag": "1"}


def _parse(payload: Json) -> Received:
    return parse_event(GENERIC, {}, json.dumps(payload).encode())


def _refused(payload: Json) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        _parse(payload)
    return caught.value


def test_a_push_is_read() -> None:
    """A push signed over its body becomes a Git push."""
    delivery = load_delivery("generic", "push")
    received = parse_delivery(GENERIC, delivery.headers, delivery.body, [GENERIC_SECRET], NOW)
    assert received == PUSH


def test_an_image_is_read() -> None:
    """An image push signed with gitopsd's own header becomes an image push."""
    delivery = load_delivery("generic", "image")
    received = parse_delivery(GENERIC, delivery.headers, delivery.body, [GENERIC_SECRET], NOW)
    assert received == ImagePush("registry.example.test/team/shop-api", "1.4.2", DIGEST)
    assert delivery_key(GENERIC, delivery.headers) == "build-118"


def test_standard_webhooks_are_read() -> None:
    """The same push signed by Standard Webhooks is the same fact, for five minutes."""
    delivery = load_delivery("generic", "push_standard_webhooks")
    secrets = [GENERIC_SECRET, STANDARD_SECRET]
    received = parse_delivery(GENERIC, delivery.headers, delivery.body, secrets, STANDARD_AT)
    assert received == PUSH
    with pytest.raises(SignatureError):
        check_signature(
            GENERIC, delivery.headers, delivery.body, secrets, STANDARD_AT + timedelta(minutes=6)
        )


def test_the_strongest_signature_decides() -> None:
    """A replayed delivery does not get in by a second header without a time."""
    body = b"{}"
    plain, own = {"x-signature": sign(b"k", body)}, {"x-gitopsd-signature-256": sign(b"k", body)}
    check_signature(GENERIC, plain, body, [b"k"], NOW)
    check_signature(GENERIC, own, body, [b"k"], NOW)
    with pytest.raises(SignatureError) as caught:
        check_signature(GENERIC, {**plain, "x-gitopsd-signature-256": "x"}, body, [b"k"], NOW)
    assert caught.value.message.startswith("X-Gitopsd-Signature-256 ")
    with pytest.raises(SignatureError) as caught:
        check_signature(GENERIC, {**plain, **own, "webhook-signature": "x"}, body, [b"k"], NOW)
    assert caught.value.message == "webhook-id or webhook-signature is missing"


def test_an_unsigned_delivery_is_refused() -> None:
    """The refusal names the header to send."""
    with pytest.raises(SignatureError) as caught:
        check_signature(GENERIC, {"x-hub-signature-256": sign(b"k", b"")}, b"", [b"k"], NOW)
    assert caught.value.message == "X-Signature is missing"


@pytest.mark.parametrize(
    "headers, key",
    [
        ({"webhook-id": "a", "x-gitopsd-delivery": "b", "idempotency-key": "c"}, "a"),
        ({"webhook-id": "", "x-gitopsd-delivery": "b", "idempotency-key": "c"}, "b"),
        ({"idempotency-key": "c"}, "c"),
        ({}, ""),
        ({"webhook-id": "x" * 200}, "x" * 200),
        ({"webhook-id": "x" * 201}, "sha256:" + hashlib.sha256(b"x" * 201).hexdigest()),
    ],
)
def test_the_key_is_the_senders(headers: dict[str, str], key: str) -> None:
    """The sender's id names the delivery; a monstrous one is named by its digest."""
    assert delivery_key(GENERIC, headers) == key


@pytest.mark.parametrize("odd", ["a b", "größe", "a\x00", "\udcff", "\x7f"])
def test_odd_keys_are_named_by_their_digest(odd: str) -> None:
    """What a database or a log could not hold never becomes a key; equal ids stay equal."""
    made = delivery_key(GENERIC, {"webhook-id": odd})
    assert made.startswith("sha256:")
    assert made == delivery_key(GENERIC, {"webhook-id": odd})
    assert made != delivery_key(GENERIC, {"webhook-id": odd + "x"})


def test_the_body_has_to_be_read() -> None:
    """Nothing is known of a generic delivery from its headers."""
    assert recognise(GENERIC, {"x-github-event": "ping"}) is None


def test_signatures_are_not_among_what_is_stored() -> None:
    """Every header that proves who sent is named, so that the inbox leaves it out."""
    assert {
        "authorization", "cookie", "webhook-signature", "x-gitopsd-signature-256",
        "x-hub-signature", "x-hub-signature-256", "x-signature",
    } == receivers.SIGNATURE_HEADERS  # fmt: skip


def test_a_ping_is_a_ping() -> None:
    """A sender may test the address."""
    assert _parse({"event": "ping"}) == Ping()


def test_unknown_events_concern_nothing() -> None:
    """They are answered with their name, cut to what people can read."""
    assert _parse({"event": "build"}) == Unconcerned("event build concerns nothing here")
    assert _parse({"event": "b\n"}) == Unconcerned("event b concerns nothing here")


@pytest.mark.parametrize("payload", [{}, {"event": None}, {"event": ["push"]}, {"event": ""}])
def test_a_body_without_event_is_refused(payload: Json) -> None:
    """The refusal says what to write."""
    refused = _refused(payload)
    assert refused.reason == "NoEvent"
    assert refused.message == 'event is missing, expected "push" or "image"'


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"repository": " https://git.example/a "}, {"urls": ("https://git.example/a",)}),
        (
            {"repository": "https://bot:pw@git.example/a"},
            {"urls": ("https://git.example/a",)},
        ),
        ({"before": "a" * 40}, {"before": "a" * 40}),
        ({"before": "x"}, {"before": None}),
        ({"after": "0" * 40}, {"after": None}),
        ({"deleted": True, "after": None}, {"after": None}),
        ({"deleted": True}, {"after": None}),
        ({"deleted": 1}, {"after": "b" * 40}),
        ({"forced": True}, {"forced": True}),
        ({"forced": 1}, {"forced": False}),
        ({"pusher": "ci\x00"}, {"pusher": "ci"}),
        ({"pusher": {}}, {"pusher": ""}),
    ],
)
def test_pushes_are_read_leniently(changed: JsonObject, expected: dict[str, object]) -> None:
    """An odd field costs its own value, not the delivery."""
    push = _parse({**PUSH_BODY, **changed})
    assert isinstance(push, GitPush)
    assert {name: getattr(push, name) for name in expected} == expected


@pytest.mark.parametrize(
    "changed, reason, message",
    [
        ({"repository": ""}, "NoRepository", "repository is '', expected its address"),
        ({"repository": 7}, "NoRepository", "repository is '', expected its address"),
        (
            {"repository": "https://bot:pw@h:x/"},
            "NoRepository",
            "repository is 'https://h:x/', expected its address",
        ),
        ({"repository": "a b"}, "NoRepository", "repository is 'a b', expected its address"),
        (
            {"ref": "main"},
            "BadRef",
            "ref is 'main', expected a full name such as refs/heads/main",
        ),
        ({"after": ""}, "BadCommit", "the commit is '', expected 40 or 64 hex digits"),
        ({"after": "HEAD"}, "BadCommit", "the commit is 'HEAD', expected 40 or 64 hex digits"),
    ],
)
def test_unusable_pushes_are_refused(changed: JsonObject, reason: str, message: str) -> None:
    """Without repository, ref or commit there is nothing to look at."""
    refused = _refused({**PUSH_BODY, **changed})
    assert (refused.reason, refused.message) == (reason, message)


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, ImagePush("team/app", "1")),
        ({"registry": "ghcr.io"}, ImagePush("ghcr.io/team/app", "1")),
        ({"registry": "localhost:5000"}, ImagePush("localhost:5000/team/app", "1")),
        ({"repository": "r.example/a/b/c__d.e-f--g"}, ImagePush("r.example/a/b/c__d.e-f--g", "1")),
        ({"tag": "", "digest": DIGEST}, ImagePush("team/app", "", DIGEST)),
        ({"digest": "sha512:" + "0" * 128}, ImagePush("team/app", "1", "sha512:" + "0" * 128)),
        ({"tag": "_" + "a" * 127}, ImagePush("team/app", "_" + "a" * 127)),
        ({"repository": "a" * 255}, ImagePush("a" * 255, "1")),
    ],
)
def test_image_pushes_are_read(changed: JsonObject, expected: ImagePush) -> None:
    """Host, path, tag and digest in the forms that registries use."""
    assert _parse({**IMAGE_BODY, **changed}) == expected


@pytest.mark.parametrize(
    "repository",
    ["", "Team/App", "team/app:1", "team//app", "/team", "team/", "-a/b", "a/b@sha256:0", "a b/c",
     "a/../b", "a___b", "a" * 256, "host:123456/a", None],
)  # fmt: skip
def test_malformed_images_are_refused(repository: Json) -> None:
    """What no registry takes as a name goes no further."""
    refused = _refused({**IMAGE_BODY, "repository": repository})
    assert refused.reason == "BadImage"
    assert refused.message.endswith(", expected host/path without tag")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"tag": "a b"}, "tag or digest is malformed"),
        ({"tag": ".a"}, "tag or digest is malformed"),
        ({"tag": "a" * 129}, "tag or digest is malformed"),
        ({"digest": "sha256:0"}, "tag or digest is malformed"),
        ({"digest": DIGEST + "0"}, "tag or digest is malformed"),
        ({"tag": "", "digest": ""}, "the image push names neither tag nor digest"),
        ({"tag": None}, "the image push names neither tag nor digest"),
    ],
)
def test_malformed_tags_and_digests_are_refused(changed: JsonObject, message: str) -> None:
    """A tag or a digest is needed, and must be one."""
    refused = _refused({**IMAGE_BODY, **changed})
    assert (refused.reason, refused.message) == ("BadImage", message)
