"""Reads from the API server's audit log when objects were written; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

_WRITES = ("create", "update", "patch", "delete")
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """One request that the API server answered.

    Attributes:
        received_at: When its headers were read.
        answered_at: When its answer was complete.
        verb: ``get``, ``list``, ``patch``, ...
        resource: ``deployments``, with its subresource after a slash.
        namespace: Namespace; empty for none.
        name: Object's name; empty for a collection.
        agent: User agent.
        user: Who asked.
        dry_run: Whether it could change nothing.
        status: HTTP status.
    """

    received_at: datetime
    answered_at: datetime
    verb: str
    resource: str
    namespace: str
    name: str
    agent: str
    user: str
    dry_run: bool
    status: int

    @property
    def wrote(self) -> bool:
        """Whether it changed, or could have changed, what is stored."""
        return self.verb in _WRITES and not self.dry_run and self.status in _SUCCESS


def parse_audit(events: Iterable[Mapping[str, Any]]) -> list[AuditedRequest]:
    """Read the answered requests of an audit log, in the order of the log."""
    return [_parse(event) for event in events if event.get("stage") == "ResponseComplete"]


def _parse(event: Mapping[str, Any]) -> AuditedRequest:
    target = event.get("objectRef") or {}
    query = parse_qs(urlsplit(str(event.get("requestURI", ""))).query)
    resource = "/".join(
        part for part in (target.get("resource", ""), target.get("subresource", "")) if part
    )
    return AuditedRequest(
        received_at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        answered_at=datetime.fromisoformat(event["stageTimestamp"]),
        verb=str(event.get("verb", "")),
        resource=resource,
        namespace=str(target.get("namespace", "")),
        name=str(target.get("name", "")),
        agent=str(event.get("userAgent", "")),
        user=str((event.get("user") or {}).get("username", "")),
        dry_run="dryRun" in query,
        status=int((event.get("responseStatus") or {}).get("code", 0)),
    )


def find_first_writes(
    requests: Iterable[AuditedRequest], *, namespace: str, user: str, since: datetime
) -> dict[str, datetime]:
    """Tell when each object of a namespace was written first by a user after a time.

    Returns:
        ``resource/name`` -> when the answer to its write was complete.
    """
    found: dict[str, datetime] = {}
    for one in sorted(requests, key=lambda one: one.answered_at):
        mine = one.wrote and (one.namespace, one.user) == (namespace, user)
        if mine and one.received_at >= since:
            found.setdefault(f"{one.resource}/{one.name}", one.answered_at)
    return found


def find_last_write(
    requests: Sequence[AuditedRequest],
    *,
    namespace: str,
    user: str,
    since: datetime,
    until: datetime | None = None,
) -> AuditedRequest | None:
    """Find the last write of a user in a namespace that was received within a time."""
    found = [
        request
        for request in requests
        if request.wrote
        and request.namespace == namespace
        and request.user == user
        and request.received_at >= since
        and (until is None or request.received_at < until)
    ]
    return max(found, key=lambda request: request.answered_at, default=None)
