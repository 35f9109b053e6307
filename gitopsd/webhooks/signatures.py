"""Signatures over raw bytes; every comparison is of bytes and takes constant time."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from gitopsd.errors import SignatureError

TOLERANCE = timedelta(minutes=5)
"""How far a signed time may be from now, either way (Standard Webhooks, "verifying")."""

_HEX_DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})")
_SECONDS = re.compile(r"[0-9]{1,11}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PREFIX = b"whsec_"


def check_hmac(header: str, value: str | None, body: bytes, secrets: Sequence[bytes]) -> None:
    """Check ``sha256=<hex>``: HMAC-SHA256 of the body under one of the secrets.

    Args:
        header: Name of the header, for the message.
        value: Its value; None when it was not sent.
        body: Raw bytes.
        secrets: Live secrets; empty ones count as none.

    Raises:
        SignatureError: It is missing, of another form, or no secret makes it.
    """
    live = _select_live(secrets)
    if value is None:
        raise SignatureError(f"{header} is missing")
    found = _HEX_DIGEST.fullmatch(value)
    if found is None:
        raise SignatureError(f"{header} is not of the form sha256=<64 hex digits>")
    given = found[1].lower().encode()
    wanted = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in live]
    _compare(header, [given], wanted)


def check_static(header: str, value: str | None, secrets: Sequence[bytes]) -> None:
    """Check a header that carries the secret itself: ``Bearer SECRET``, or nothing but the secret.

    Args:
        header: Name of the header, for the message.
        value: Its value; None when it was not sent.
        secrets: Live secrets; empty ones count as none.

    Raises:
        SignatureError: It is missing, or holds none of the secrets.
    """
    live = _select_live(secrets)
    if not value:
        raise SignatureError(f"{header} is missing")
    # Digests of one length are compared, so that the time does not tell a secret's length either.
    given = [hashlib.sha256(value.encode("utf-8", "backslashreplace")).digest()]
    wanted = [
        hashlib.sha256(prefix + secret).digest() for secret in live for prefix in (b"", b"Bearer ")
    ]
    _compare(header, given, wanted)


def check_standard_webhook(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime
) -> None:
    """Check ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

    The rules are those of the Standard Webhooks specification 1.0: HMAC-SHA256 over
    ``id.timestamp.body``, several signatures separated by spaces, symmetric scheme ``v1``; others
    are passed over. A secret ``whsec_<base64>`` is decoded; any other is taken as it is.

    Args:
        headers: Lower-case header names -> values.
        body: Raw bytes.
        secrets: Live secrets; empty ones count as none.
        now: Time of arrival, aware.

    Raises:
        SignatureError: Something is missing, too old, too new, or no secret makes a signature.
    """
    live = _select_live(secrets)
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not message_id or not signatures:
        raise SignatureError("webhook-id or webhook-signature is missing")
    if not _SECONDS.fullmatch(timestamp):
        raise SignatureError("webhook-timestamp is not a number of seconds")
    sent = _EPOCH + timedelta(seconds=int(timestamp))
    if abs(now - sent) > TOLERANCE:
        raise SignatureError("webhook-timestamp is more than 5 minutes from now")
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "backslashreplace") + body
    wanted = [b"v1," + _sign(key, signed) for secret in live if (key := _decode_secret(secret))]
    given = signatures.encode("utf-8", "backslashreplace").split(b" ")
    _compare("webhook-signature", given, wanted)


def compute_standard_signature(secret: bytes, message_id: str, at: datetime, body: bytes) -> str:
    """Sign a message as `check_standard_webhook` checks it.

    Args:
        secret: ``whsec_<base64>`` or raw bytes.
        message_id: Stable id of the message.
        at: When it is sent, aware; whole seconds count.
        body: Raw bytes.

    Returns:
        The value of ``webhook-signature``.
    """
    signed = f"{message_id}.{int(at.timestamp())}.".encode() + body
    return "v1," + _sign(_decode_secret(secret), signed).decode()


def find_secret_problem(secret: bytes) -> str:
    """Say why a secret cannot be used; empty when it can.

    Args:
        secret: Content of a secret file without the newline at its end.
    """
    if not secret:
        return "it is empty"
    if not _decode_secret(secret):
        return "it begins with whsec_ but what follows is not base64"
    return ""


def _select_live(secrets: Sequence[bytes]) -> list[bytes]:
    live = [secret for secret in secrets if secret]
    if not live:
        # An HMAC under the empty key can be made by anybody.
        raise SignatureError("the receiver has no secret")
    return live


def _decode_secret(secret: bytes) -> bytes:
    """Decode ``whsec_`` keys; empty when the base64 is broken."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        return b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""


def _sign(key: bytes, signed: bytes) -> bytes:
    return b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _compare(header: str, given: Sequence[bytes], wanted: Sequence[bytes]) -> None:
    # A list, not a generator: how long it takes does not tell which secret was right.
    matches = [hmac.compare_digest(one, other) for one in given for other in wanted]
    if not any(matches):
        raise SignatureError(f"{header} does not match")
