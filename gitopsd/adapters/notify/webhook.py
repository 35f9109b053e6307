"""The signed generic webhook: one JSON message, with Standard Webhooks headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, timedelta

import orjson

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.notify.outgoing import TIMEOUT, USER_AGENT, Outgoing, find_pause
from gitopsd.adapters.outgoing_addresses import check_literal_address
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.manifests import Json
from gitopsd.domain.work import Notification
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import is_sensitive_name, redact_clause, redact_text
from gitopsd.ports import Clock
from gitopsd.webhooks.signatures import compute_standard_signature

_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)
_TRY_AGAIN = (408, 425, 429)
_READ_BYTES = 1000
_MAX_DEPTH = 8


class WebhookNotifier:
    """Sends notifications to webhook channels; one message for each event.

    Args:
        clock: Time of the signature; real time unless given.
        timeout: Bound of one sending.
        allow_loopback: Whether a channel may be on this machine.
        outgoing: Connections to share; then these two are its business.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        timeout: timedelta = TIMEOUT,
        allow_loopback: bool = True,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._outgoing = outgoing or Outgoing(allow_loopback=allow_loopback, timeout=timeout)

    async def send(self, channel: ChannelSpec, notification: Notification) -> None:
        """Send one notification.

        Safe to repeat: the message id is made of the notification and the channel, so the receiver
        can tell a second sending from a second message.

        Raises:
            TemporaryError: The channel did not take it; ``retry_after`` when it said for how long.
            PermanentError: The channel will never take it.
        """
        body = write_message(notification)
        headers = self._sign(channel, notification, body)
        where = f"channel {channel.name}"
        check_literal_address(channel.url, allow_loopback=self._outgoing.allow_loopback)
        async with (
            self._outgoing.request_to(where),
            self._outgoing.session().post(
                channel.url, data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            said = await response.content.read(_READ_BYTES)
        self._judge(where, response.status, response.headers, said)

    async def close(self) -> None:
        """Close connections."""
        await self._outgoing.close()

    def _sign(
        self, channel: ChannelSpec, notification: Notification, body: bytes
    ) -> dict[str, str]:
        try:
            secret = load_secret(channel.secret_file)
        except PermanentError as error:  # a file that is being replaced comes back
            raise TemporaryError(f"channel {channel.name}: {error.message}") from error
        message_id = compute_message_id(channel, notification)
        now = self._clock.now()
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": compute_standard_signature(secret, message_id, now, body),
        }

    def _judge(self, where: str, status: int, headers: Mapping[str, str], said: bytes) -> None:
        if status in _OK:
            return
        words = redact_clause(said.decode("utf-8", "replace"))
        message = f"{where} answered {status}" + (f": {words}" if words else "")
        if status in _REDIRECTS:
            raise PermanentError(f"{message}. Redirects are not followed: write the final url")
        if status in _CLIENT_ERRORS and status not in _TRY_AGAIN:
            raise PermanentError(message)
        pause = find_pause(headers, self._clock.now())
        raise TemporaryError(message, retry_after=pause)


def compute_message_id(channel: ChannelSpec, notification: Notification) -> str:
    """Make the stable id of a message: the same for each sending, plain ASCII, without dots."""
    told = f"{channel.name}\n{notification.id}".encode()
    return f"msg_{hashlib.sha256(told).hexdigest()[:32]}"


def write_message(notification: Notification) -> bytes:
    """Write the body, redacted.

    The shape is that of the Standard Webhooks specification: ``type``, ``timestamp``, ``data``.
    """
    return orjson.dumps(
        {
            "type": notification.trigger,
            "timestamp": notification.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "id": notification.id,
                "application": notification.application,
                "stage": notification.stage,
                "message": redact_text(notification.message),
                "details": _redact(notification.details, 0),
            },
        }
    )


def _redact(value: Json, depth: int) -> Json:
    if isinstance(value, str):
        return redact_text(value)
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {
            key: "***" if is_sensitive_name(key) else _redact(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact(inner, depth + 1) for inner in value]
    return value
