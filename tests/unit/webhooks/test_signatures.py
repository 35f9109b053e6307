"""Signatures over raw bytes."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.errors import SignatureError
from gitopsd.webhooks.signatures import (
    check_hmac,
    check_standard_webhook,
    compute_standard_signature,
    find_secret_problem,
)
from tests.support.deliveries import (
    GENERIC_SECRET,
    GITHUB_SECRET,
    STANDARD_SECRET,
    load_delivery,
    sign,
)

BODY = b'{"ref":"refs/heads/main"}'
AT = datetime(2026, 1, 1, tzinfo=UTC)
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)


def _standard(**changed: str) -> dict[str, str]:
    signature = compute_standard_signature(STANDARD_SECRET, "msg_1", AT, BODY)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(AT.timestamp())),
        "webhook-signature": signature,
    }
    return headers | {name.replace("_", "-"): value for name, value in changed.items()}


def test_hmac_accepts_the_published_vector() -> None:
    """The example of GitHub's documentation verifies."""
    value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    check_hmac("X-Hub-Signature-256", value, b"Hello, World!", [GITHUB_SECRET])


def test_hmac_accepts_upper_case_digits() -> None:
    """Hex is hex in either case."""
    value = "sha256=" + sign(GENERIC_SECRET, BODY).removeprefix("sha256=").upper()
    check_hmac("X-Signature", value, BODY, [GENERIC_SECRET])


@pytest.mark.parametrize("position", [0, 1])
def test_hmac_accepts_either_secret_while_rotating(position: int) -> None:
    """Old and new secret are both live."""
    secrets = [b"another", b"another"]
    secrets[position] = GENERIC_SECRET
    check_hmac("X-Signature", sign(GENERIC_SECRET, BODY), BODY, secrets)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256=",
        "sha1=cb6fba49bef000871f99d16a1ae8bebc85d29174",
        sign(GENERIC_SECRET, BODY).removeprefix("sha256="),
        sign(GENERIC_SECRET, BODY) + "00",
        sign(GENERIC_SECRET, BODY) + "\n",
        " " + sign(GENERIC_SECRET, BODY),
        "sha256=" + "ä" * 64,
        "sha256=" + "٣" * 64,
        "sha256=\udcff" + "0" * 63,
    ],
)
def test_hmac_refuses_other_forms(value: str) -> None:
    """Anything but 64 hex digits after ``sha256=`` is refused, non-ASCII text included."""
    with pytest.raises(SignatureError) as caught:
        check_hmac("X-Signature", value, BODY, [GENERIC_SECRET])
    assert caught.value.message == "X-Signature is not of the form sha256=<64 hex digits>"
    assert caught.value.status == 401


def test_hmac_refuses_a_missing_header() -> None:
    """No header, no entry."""
    with pytest.raises(SignatureError) as caught:
        check_hmac("X-Signature", None, BODY, [GENERIC_SECRET])
    assert caught.value.message == "X-Signature is missing"


def test_hmac_refuses_a_wrong_signature() -> None:
    """A signature under another secret, or of another body, does not match."""
    with pytest.raises(SignatureError) as caught:
        check_hmac("X-Signature", sign(b"wrong", BODY), BODY, [GENERIC_SECRET, b"other"])
    assert caught.value.message == "X-Signature does not match"
    with pytest.raises(SignatureError):
        check_hmac("X-Signature", sign(GENERIC_SECRET, BODY), BODY + b" ", [GENERIC_SECRET])


@pytest.mark.parametrize("secrets", [[], [b""], [b"", b""]])
def test_an_empty_secret_signs_nothing(secrets: list[bytes]) -> None:
    """Whoever signs with the empty key stays outside, with either scheme."""
    with pytest.raises(SignatureError) as caught:
        check_hmac("X-Signature", sign(b"", BODY), BODY, secrets)
    assert caught.value.message == "the receiver has no secret"
    headers = _standard(webhook_signature=compute_standard_signature(b"", "msg_1", AT, BODY))
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(headers, BODY, secrets, AT)
    assert caught.value.message == "the receiver has no secret"


def test_an_empty_secret_beside_a_live_one_signs_nothing() -> None:
    """One forgotten file does not open the door that the other closes."""
    with pytest.raises(SignatureError):
        check_hmac("X-Signature", sign(b"", BODY), BODY, [b"", GENERIC_SECRET])
    check_hmac("X-Signature", sign(GENERIC_SECRET, BODY), BODY, [b"", GENERIC_SECRET])


def test_standard_webhook_accepts_the_published_vector() -> None:
    """The example of the specification verifies."""
    delivery = load_delivery("generic", "published_vector")
    check_standard_webhook(delivery.headers, delivery.body, [STANDARD_SECRET], VECTOR_AT)


def test_standard_webhook_makes_the_published_vector() -> None:
    """What gitopsd signs is what the specification's example says."""
    delivery = load_delivery("generic", "published_vector")
    made = compute_standard_signature(
        STANDARD_SECRET,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        VECTOR_AT + timedelta(microseconds=999_999),
        delivery.body,
    )
    assert made == delivery.headers["webhook-signature"]


def test_standard_webhook_accepts_a_second_known_vector() -> None:
    """A signing token as other Git hosts make it verifies."""
    headers = {
        "webhook-id": "5f8b7a6c-1111-4222-8333-444455556666",
        "webhook-timestamp": "1767225600",
        "webhook-signature": "v1,0F3fzvLoYrcgUFyXsf6mofPnmhEwodst0NmYm+2aHnI=",
    }
    secret = b"whsec_YoPhCpVGXnA7vl+nSnBrg8WZ7Hi0B4mtD63Sufv5gfI="
    check_standard_webhook(headers, BODY, [secret], AT)


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_standard_webhook_tolerates_five_minutes(minutes: int) -> None:
    """A clock that is five minutes off still delivers."""
    now = AT + timedelta(minutes=minutes)
    check_standard_webhook(_standard(), BODY, [STANDARD_SECRET], now)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_standard_webhook_refuses_other_times(seconds: int) -> None:
    """A captured delivery cannot be replayed later, nor prepared in advance."""
    now = AT + timedelta(seconds=seconds)
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(_standard(), BODY, [STANDARD_SECRET], now)
    assert caught.value.message == "webhook-timestamp is more than 5 minutes from now"


@pytest.mark.parametrize(
    "timestamp", ["", "now", "1e9", "-1", "1767225600.0", "٣", "9" * 12, " 1767225600"]
)
def test_standard_webhook_refuses_other_timestamps(timestamp: str) -> None:
    """A time that is no number of seconds is refused, without an error of another kind."""
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(_standard(webhook_timestamp=timestamp), BODY, [STANDARD_SECRET], AT)
    assert caught.value.message == "webhook-timestamp is not a number of seconds"


def test_standard_webhook_reads_the_largest_timestamp() -> None:
    """The farthest time that can be written is only too far away."""
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(_standard(webhook_timestamp="9" * 11), BODY, [b"x"], AT)
    assert caught.value.message == "webhook-timestamp is more than 5 minutes from now"


@pytest.mark.parametrize("name", ["webhook_id", "webhook_signature"])
def test_standard_webhook_refuses_missing_headers(name: str) -> None:
    """Id and signature must both be there."""
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(_standard(**{name: ""}), BODY, [STANDARD_SECRET], AT)
    assert caught.value.message == "webhook-id or webhook-signature is missing"
    headers = _standard()
    del headers[name.replace("_", "-")]
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(headers, BODY, [STANDARD_SECRET], AT)
    assert caught.value.message == "webhook-id or webhook-signature is missing"
    del headers["webhook-timestamp"]
    headers |= {"webhook-id": "a", "webhook-signature": "b"}
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(headers, BODY, [STANDARD_SECRET], AT)
    assert caught.value.message == "webhook-timestamp is not a number of seconds"


def test_standard_webhook_takes_one_right_signature_among_several() -> None:
    """While a sender rotates its key it signs with both; unknown versions are passed over."""
    right = compute_standard_signature(STANDARD_SECRET, "msg_1", AT, BODY)
    headers = _standard(webhook_signature=f"v1a,AAAA v1,AAAA {right}")
    check_standard_webhook(headers, BODY, [b"old", STANDARD_SECRET], AT)


@pytest.mark.parametrize(
    "signature",
    ["v1,AAAA", "v2,", "\udcff\ud800", compute_standard_signature(b"x", "m", AT, BODY)],
)
def test_standard_webhook_refuses_wrong_signatures(signature: str) -> None:
    """No right one among those sent: refused."""
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(_standard(webhook_signature=signature), BODY, [STANDARD_SECRET], AT)
    assert caught.value.message == "webhook-signature does not match"


@pytest.mark.parametrize("changed", [{"webhook_id": "msg_2"}, {"webhook_timestamp": "1767225601"}])
def test_standard_webhook_signs_id_and_time(changed: dict[str, str]) -> None:
    """An id or a time that was not signed does not pass."""
    with pytest.raises(SignatureError):
        check_standard_webhook(_standard(**changed), BODY, [STANDARD_SECRET], AT)


def test_standard_webhook_takes_ids_of_any_text() -> None:
    """An id outside ASCII is signed as UTF-8; one that is no text at all only fails to match."""
    signature = compute_standard_signature(STANDARD_SECRET, "größe", AT, BODY)
    headers = _standard(webhook_id="größe", webhook_signature=signature)
    check_standard_webhook(headers, BODY, [STANDARD_SECRET], AT)
    with pytest.raises(SignatureError):
        check_standard_webhook(_standard(webhook_id="\ud800"), BODY, [STANDARD_SECRET], AT)


def test_a_secret_without_prefix_is_taken_as_it_is() -> None:
    """Senders that know nothing of ``whsec_`` use the bytes of the file."""
    signature = compute_standard_signature(GENERIC_SECRET, "msg_1", AT, BODY)
    check_standard_webhook(_standard(webhook_signature=signature), BODY, [GENERIC_SECRET], AT)


def test_a_broken_key_signs_nothing() -> None:
    """A ``whsec_`` secret that does not decode is no empty key."""
    signature = compute_standard_signature(b"", "msg_1", AT, BODY)
    headers = _standard(webhook_signature=signature)
    with pytest.raises(SignatureError) as caught:
        check_standard_webhook(headers, BODY, [b"whsec_???", b"whsec_"], AT)
    assert caught.value.message == "webhook-signature does not match"


@pytest.mark.parametrize(
    "secret, problem",
    [
        (b"", "it is empty"),
        (b"topsecret", ""),
        (b"whsec_" + b64encode(b"x" * 24), ""),
        (b"whsec_", "it begins with whsec_ but what follows is not base64"),
        (b"whsec_?", "it begins with whsec_ but what follows is not base64"),
        (b"whsec_QUJD?", "it begins with whsec_ but what follows is not base64"),
    ],
)
def test_unusable_secrets_are_named(secret: bytes, problem: str) -> None:
    """The configuration refuses secrets that could never match."""
    assert find_secret_problem(secret) == problem
