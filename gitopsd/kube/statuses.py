"""The API server's refusals as values: ``Status`` JSON parsed and classified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.kube.objects import int_at, mapping_at, mappings_at, parse_integer, string_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

MAX_RETRY_AFTER = timedelta(minutes=10)


class StatusKind(Enum):
    """What a refusal means for the one who asked."""

    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    DENIED = "Denied"
    QUOTA = "QuotaExceeded"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    NAMESPACE_MISSING = "NamespaceMissing"
    NO_SUCH_KIND = "NoSuchKind"
    NOT_FOUND = "NotFound"
    FIELD_CONFLICT = "FieldConflict"
    ALREADY_EXISTS = "AlreadyExists"
    CONFLICT = "Conflict"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    UNKNOWN_FIELD = "UnknownField"
    STALE_FIELDS = "StaleManagedFields"
    TOO_LARGE = "TooLarge"
    BAD_REQUEST = "BadRequest"
    THROTTLED = "Throttled"
    WEBHOOK_UNREACHABLE = "WebhookUnreachable"
    UNAVAILABLE = "Unavailable"
    REFUSED = "Refused"


_RETRYABLE = frozenset(
    {
        StatusKind.NAMESPACE_TERMINATING,
        StatusKind.THROTTLED,
        StatusKind.WEBHOOK_UNREACHABLE,
        StatusKind.UNAVAILABLE,
    }
)

_DENIED = re.compile(r"denied the request|denied request|violates PodSecurity")
_NAMESPACE_MISSING = re.compile(r'namespaces "[^"]{1,253}" not found')
_NO_SUCH_KIND = "could not find the requested resource"
_UNKNOWN_FIELD = re.compile(r"strict decoding error|unknown field")
_GROUPS = re.compile(r" \(groups=\[[^\]]{0,1000}\]\)")
_NOT_DECLARED = "field not declared in schema"
_OF_LIVE_OBJECT = re.compile(r"typed live object|existing fields")


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of ``details.causes``.

    Attributes:
        reason: E.g. ``FieldManagerConflict`` or ``FieldValueInvalid``.
        field: Path of the field, e.g. ``.spec.replicas``.
        message: What is wrong with it.
    """

    reason: str = ""
    field: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A refusal of the API server.

    Attributes:
        code: HTTP status.
        reason: Machine word, e.g. ``Conflict``; may be empty.
        message: The server's sentence, as it wrote it; pass it through redaction before showing.
        causes: Details by field.
        retry_after: How long the server asks to be left alone; None when it does not say.
    """

    code: int
    reason: str = ""
    message: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after: timedelta | None = None


def parse_status(code: int, body: Json, retry_after: str = "") -> Status:
    """Read a refusal; anything that is no ``Status`` becomes one with an empty message.

    The groups of whoever asked are left out of the message: they are long, and what is wrong
    stands behind them.

    Args:
        code: HTTP status of the answer; the body's own is not believed.
        body: The decoded body, of any shape; a string is taken as the message.
        retry_after: Value of the ``Retry-After`` header in seconds; empty when there was none.
    """
    seconds = parse_integer(retry_after)
    if seconds is None:
        seconds = int_at(body, "details", "retryAfterSeconds")
    patience = None
    if seconds is not None and seconds >= 0:
        patience = timedelta(seconds=min(seconds, MAX_RETRY_AFTER.total_seconds()))
    return Status(
        code=code,
        reason=string_at(body, "reason"),
        message=_GROUPS.sub("", body if isinstance(body, str) else string_at(body, "message")),
        causes=tuple(
            Cause(string_at(item, "reason"), string_at(item, "field"), string_at(item, "message"))
            for item in mappings_at(mapping_at(body, "details"), "causes")
        ),
        retry_after=patience,
    )


def classify(status: Status) -> StatusKind:
    """Tell what a refusal means; a kind of its own for everything that is handled differently."""
    if _NOT_DECLARED in status.message:  # said with 500, and yet asking again cannot help
        stale = _OF_LIVE_OBJECT.search(status.message)
        return StatusKind.STALE_FIELDS if stale else StatusKind.UNKNOWN_FIELD
    special = _SPECIAL.get(status.code)
    if special is not None:
        return special(status)
    if "failed calling webhook" in status.message:
        return StatusKind.WEBHOOK_UNREACHABLE
    if status.code >= _SERVER_ERRORS:
        return StatusKind.UNAVAILABLE
    return _PLAIN.get(status.code, StatusKind.REFUSED)


def is_retryable(status: Status) -> bool:
    """Whether the same request may succeed later: 429, 5xx, a webhook or namespace on its way."""
    return classify(status) in _RETRYABLE


def _classify_bad_request(status: Status) -> StatusKind:
    if _DENIED.search(status.message):
        return StatusKind.DENIED
    if _UNKNOWN_FIELD.search(status.message):
        return StatusKind.UNKNOWN_FIELD
    return StatusKind.BAD_REQUEST


def _classify_forbidden(status: Status) -> StatusKind:
    if any(cause.reason == "NamespaceTerminating" for cause in status.causes):
        return StatusKind.NAMESPACE_TERMINATING
    if "because it is being terminated" in status.message:
        return StatusKind.NAMESPACE_TERMINATING
    if "exceeded quota" in status.message:
        return StatusKind.QUOTA
    if _DENIED.search(status.message):
        return StatusKind.DENIED
    return StatusKind.FORBIDDEN


def _classify_not_found(status: Status) -> StatusKind:
    if _NAMESPACE_MISSING.search(status.message):
        return StatusKind.NAMESPACE_MISSING
    if _NO_SUCH_KIND in status.message:
        return StatusKind.NO_SUCH_KIND
    return StatusKind.NOT_FOUND


def _classify_conflict(status: Status) -> StatusKind:
    if any(cause.reason == "FieldManagerConflict" for cause in status.causes):
        return StatusKind.FIELD_CONFLICT
    if status.reason == "AlreadyExists":
        return StatusKind.ALREADY_EXISTS
    return StatusKind.CONFLICT


def _classify_invalid(status: Status) -> StatusKind:
    return StatusKind.DENIED if _DENIED.search(status.message) else StatusKind.INVALID


_SERVER_ERRORS = 500
_SPECIAL = {
    400: _classify_bad_request,
    403: _classify_forbidden,
    404: _classify_not_found,
    409: _classify_conflict,
    422: _classify_invalid,
}
_PLAIN = {
    401: StatusKind.UNAUTHORIZED,
    408: StatusKind.UNAVAILABLE,
    410: StatusKind.EXPIRED,
    413: StatusKind.TOO_LARGE,
    429: StatusKind.THROTTLED,
}
