"""One door to all providers: check, name, then read; nothing is read before its signature holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gitopsd.domain.sources import Ping, Received, ReceiverType, Unconcerned
from gitopsd.webhooks import distribution, generic, github


class _Provider(Protocol):
    """What a provider's module offers."""

    SIGNATURE_HEADERS: tuple[str, ...]

    def check_signature(
        self,
        headers: Mapping[str, str],
        body: bytes,
        secrets: Sequence[bytes],
        now: datetime,
        /,
    ) -> None: ...

    def select_delivery_key(self, headers: Mapping[str, str], body: bytes, /) -> str: ...

    def recognise(
        self, headers: Mapping[str, str], body: bytes, /
    ) -> Ping | Unconcerned | None: ...

    def parse_event(self, headers: Mapping[str, str], body: bytes, /) -> Received: ...


_PROVIDERS: Mapping[ReceiverType, _Provider] = {
    ReceiverType.GITHUB: github,
    ReceiverType.GENERIC: generic,
    ReceiverType.DISTRIBUTION: distribution,
}

SIGNATURE_HEADERS = frozenset(
    name for provider in _PROVIDERS.values() for name in provider.SIGNATURE_HEADERS
) | {"authorization", "cookie"}
"""Headers that are never stored: signatures, and what a sender may have added to log in."""


def check_signature(
    receiver_type: ReceiverType,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[bytes],
    now: datetime,
) -> None:
    """Check who sent a delivery; looks at the body's bytes and at nothing inside.

    Args:
        receiver_type: Wire format of the receiver.
        headers: Lower-case header names -> values.
        body: Raw bytes.
        secrets: Live secrets: one, or two while rotating. Empty ones never match.
        now: Time of arrival, aware.

    Raises:
        SignatureError: The signature is missing or wrong.
    """
    _PROVIDERS[receiver_type].check_signature(headers, body, secrets, now)


def delivery_key(receiver_type: ReceiverType, headers: Mapping[str, str], body: bytes = b"") -> str:
    """Name a delivery as its provider does; empty when it does not. At most 200 characters.

    Args:
        receiver_type: Wire format of the receiver.
        headers: Lower-case header names -> values.
        body: Raw bytes whose signature holds; read only for a provider that names deliveries there.
    """
    return _PROVIDERS[receiver_type].select_delivery_key(headers, body)


def recognise(
    receiver_type: ReceiverType, headers: Mapping[str, str], body: bytes = b""
) -> Ping | Unconcerned | None:
    """Tell whether a delivery is worth storing; None when it is.

    Args:
        receiver_type: Wire format of the receiver.
        headers: Lower-case header names -> values.
        body: Raw bytes whose signature holds; read only for a provider whose headers say nothing,
            and of which most deliveries concern nothing.
    """
    return _PROVIDERS[receiver_type].recognise(headers, body)


def parse_event(receiver_type: ReceiverType, headers: Mapping[str, str], body: bytes) -> Received:
    """Read a delivery whose signature holds.

    Args:
        receiver_type: Wire format of the receiver.
        headers: Lower-case header names -> values.
        body: Raw bytes.

    Raises:
        DeliveryError: It cannot be used; nothing else is raised, whatever the bytes are.
    """
    return _PROVIDERS[receiver_type].parse_event(headers, body)


def parse_delivery(
    receiver_type: ReceiverType,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[bytes],
    now: datetime,
) -> Received:
    """Check a delivery, then read it.

    Args:
        receiver_type: Wire format of the receiver.
        headers: Lower-case header names -> values.
        body: Raw bytes.
        secrets: Live secrets.
        now: Time of arrival, aware.

    Raises:
        SignatureError: The signature is missing or wrong.
        DeliveryError: The delivery cannot be used.
    """
    check_signature(receiver_type, headers, body, secrets, now)
    return parse_event(receiver_type, headers, body)
