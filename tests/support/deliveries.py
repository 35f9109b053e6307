"""Deliveries for tests: stored ones from the fixtures, and freshly signed ones."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitopsd.domain.manifests import Json

FIXTURES = Path(__file__).parent.parent / "fixtures" / "webhooks"
GITHUB_SECRET = b"It's a Secret to Everybody"
GENERIC_SECRET = b"topsecret"
STANDARD_SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""The signed time of ``generic/push_standard_webhooks``."""


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """One delivery of the fixtures.

    Attributes:
        headers: Lower-case header names -> values.
        body: Raw bytes.
    """

    headers: dict[str, str]
    body: bytes


def load_delivery(provider: str, case: str) -> StoredDelivery:
    """Read ``tests/fixtures/webhooks/<provider>/<case>``."""
    folder = FIXTURES / provider / case
    headers = json.loads((folder / "headers.json").read_text(encoding="utf-8"))
    return StoredDelivery(headers, (folder / "body").read_bytes())


def sign(secret: bytes, body: bytes) -> str:
    """Compute ``sha256=<hex>`` over a body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def github_delivery(event: str, payload: Json, *, guid: str = "guid-1") -> StoredDelivery:
    """Make a delivery as GitHub would send it, signed with `GITHUB_SECRET`."""
    body = json.dumps(payload).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": guid,
        "x-github-hook-id": "1",
        "x-hub-signature-256": sign(GITHUB_SECRET, body),
    }
    return StoredDelivery(headers, body)
