"""Which requests were made: a witness for tests and for people who watch a demo."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

KEPT_REQUESTS = 5000


@dataclass(frozen=True, slots=True)
class Requested:
    """One request, as it was answered.

    Attributes:
        time: When it was answered; a stream, when it began.
        verb: As in RBAC rules.
        method: HTTP method.
        path: Path and query.
        user_agent: The client.
        user: Who asked.
        impersonated: As whom; empty: as himself.
        field_manager: Who writes.
        dry_run: Whether nothing was to be written.
        status: HTTP status; 0 when there was no answer.
    """

    time: datetime
    verb: str
    method: str
    path: str
    user_agent: str
    user: str
    impersonated: str
    field_manager: str
    dry_run: bool
    status: int


class RequestLog:
    """The newest requests, numbered from 1 without gaps."""

    def __init__(self, keep: int = KEPT_REQUESTS) -> None:
        self._entries: deque[tuple[int, Requested]] = deque(maxlen=keep)
        self._last = 0

    def append(self, entry: Requested) -> None:
        """Note a request."""
        self._last += 1
        self._entries.append((self._last, entry))

    def since(self, seq: int) -> list[JsonObject]:
        """Every kept request after that number, oldest first."""
        return [_describe(number, entry) for number, entry in self._entries if number > seq]


def _describe(number: int, entry: Requested) -> JsonObject:
    return {
        "seq": number,
        "time": entry.time.isoformat(),
        "verb": entry.verb,
        "method": entry.method,
        "path": entry.path,
        "userAgent": entry.user_agent,
        "user": entry.user,
        "impersonated": entry.impersonated,
        "fieldManager": entry.field_manager,
        "dryRun": entry.dry_run,
        "status": entry.status,
    }
