"""What happens, as it happens: server-sent events."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta

from aiohttp import web
from pydantic import Field

from gitopsd.domain.manifests import Json
from gitopsd.domain.work import Notification
from gitopsd.entrypoints.http.api.results import expect
from gitopsd.entrypoints.http.authentication import authenticate
from gitopsd.entrypoints.http.models import Model, to_json
from gitopsd.entrypoints.http.permissions import Access, Principal
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text

HEARTBEAT = timedelta(seconds=15)
"""How often a quiet stream says that it lives, and the credential is checked again."""

_AT_ONCE = 100


class EventsQuery(Model):
    """Where to begin, and what to tell."""

    after: int | None = Field(
        None, ge=0, description="Begin after this number; 0 for everything; now if left out."
    )
    application: str = Field("", description="Only of this application.")


async def stream(call: Call) -> Answer:
    """Stream notifications until the client leaves, the token ends, or the process does."""
    query = expect(EventsQuery, call.query)
    position = await _begin(call, query)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(call.request)
    with contextlib.suppress(ConnectionError):
        await _tell(call, query, response, position)
    return response


async def _tell(
    call: Call, query: EventsQuery, response: web.StreamResponse, position: int
) -> None:
    """Write events until the stream has to end.

    Raises:
        ConnectionError: The client left.
    """
    await response.write(f"retry: 2000\nid: {position}\n\n".encode())
    principal: Principal | None = call.principal
    quiet = timedelta(0)
    while principal is not None and not call.service.changes.closed:
        if call.request.transport is None:
            return
        mark = call.service.changes.mark()
        rows = await _read(call, position)
        for number, notification in rows:
            position = number
            if _concerns(principal, query, notification):
                await response.write(_write(number, notification))
        if rows:
            continue
        woken = await call.service.changes.wait(mark, timedelta(seconds=1))
        quiet = timedelta(0) if woken else quiet + timedelta(seconds=1)
        if quiet >= HEARTBEAT:
            quiet = timedelta(0)
            await response.write(b": still here\n\n")
            principal = await _still(call)


async def _begin(call: Call, query: EventsQuery) -> int:
    last = call.request.headers.get("Last-Event-ID", "")
    if last.isdecimal():
        return int(last)
    if query.after is not None:
        return query.after
    return await call.service.services.store.read(lambda tx: tx.records.last_notification())


async def _read(call: Call, position: int) -> tuple[tuple[int, Notification], ...]:
    return await call.service.services.store.read(
        lambda tx: tuple(tx.records.notifications_after(position, _AT_ONCE))
    )


async def _still(call: Call) -> Principal | None:
    """Check the credential again; None when it does not count any more."""
    try:
        return await authenticate(call.request, call.service)
    except ProblemError:
        return None


def _concerns(principal: Principal, query: EventsQuery, notification: Notification) -> bool:
    application = notification.application
    if query.application and application != query.application:
        return False
    if not application:
        return principal.may_everywhere(Access.READ)
    return principal.may(Access.READ, application)


def _write(number: int, notification: Notification) -> bytes:
    document: dict[str, Json] = {
        "id": notification.id,
        "trigger": notification.trigger,
        "application": notification.application,
        "stage": notification.stage,
        "message": redact_text(notification.message),
        "at": notification.at.isoformat(),
        "details": to_json(notification.details),
    }
    data = json.dumps(document)
    return f"id: {number}\nevent: {notification.trigger}\ndata: {data}\n\n".encode()


ROUTES = (
    Route(
        "GET",
        "/events",
        stream,
        Access.READ,
        "Stream what happens as server-sent events; Last-Event-ID goes on where it stopped.",
        query=EventsQuery,
    ),
)
