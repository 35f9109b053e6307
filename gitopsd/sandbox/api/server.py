"""The API server over HTTPS: faults, the request log, and the way into and out of JSON."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from multidict import CIMultiDict

from gitopsd.sandbox.api.calls import (
    JSON_TYPE,
    Answer,
    Call,
    default_manager,
    refusal_answer,
)
from gitopsd.sandbox.api.faults import Facts
from gitopsd.sandbox.api.forms import parse_accept
from gitopsd.sandbox.api.identity import ANONYMOUS, NODES, User
from gitopsd.sandbox.api.paths import parse_request
from gitopsd.sandbox.api.plain_paths import PageNotFound
from gitopsd.sandbox.api.request_log import Requested
from gitopsd.sandbox.objects.status_errors import StatusError

if TYPE_CHECKING:
    import ssl

    from gitopsd.domain.manifests import Json
    from gitopsd.sandbox.api.dispatch import Dispatcher, Events
    from gitopsd.sandbox.api.faults import Fault, Faults
    from gitopsd.sandbox.api.gate import Gate
    from gitopsd.sandbox.api.paths import Asked
    from gitopsd.sandbox.api.plain_paths import PlainPaths
    from gitopsd.sandbox.api.proxies import Proxies
    from gitopsd.sandbox.api.request_log import RequestLog
    from gitopsd.sandbox.clock import Clock

LOG = logging.getLogger(__name__)
# A real API server's limit of a request's body.
LARGEST_BODY_BYTES = 3 * 1024 * 1024
SHUTDOWN_SECONDS = 0.2
UPGRADED = frozenset({("pods", "exec")})
TOO_LARGE = 413
TOO_MANY = 429


@dataclass(slots=True)
class _Exchange:
    """One request and what is known of it so far."""

    request: web.BaseRequest
    asked: Asked
    user: User = ANONYMOUS
    acting: User | None = None
    response: web.StreamResponse | None = None
    logged: bool = field(default=False)


class ApiServer:
    """Serves one cluster's API; `start` listens, `stop` ends every request."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        gate: Gate,
        plain: PlainPaths,
        proxies: Proxies,
        faults: Faults,
        log: RequestLog,
        clock: Clock,
    ) -> None:
        self._dispatcher = dispatcher
        self._gate = gate
        self._plain = plain
        self._proxies = proxies
        self._faults = faults
        self._log = log
        self._clock = clock
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = web.Server(
            self._handle,
            request_factory=_make_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=3600,
        )
        self._listener = await loop.create_server(self._server, host, port, ssl=tls)
        return int(self._listener.sockets[0].getsockname()[1])

    def disconnect(self) -> int:
        """Cut every connection, streams included; returns how many there were."""
        connections = self._server.connections if self._server is not None else []
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        return len(connections)

    async def stop(self) -> None:
        """Take no more requests and end those under way. Safe to repeat."""
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            await self._server.shutdown(SHUTDOWN_SECONDS)
            self._server = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        asked = parse_request(request.method, path, request.query)
        exchange = _Exchange(request, asked)
        try:
            response = await self._respond(exchange)
        except StatusError as error:
            response = _render(refusal_answer(error))
        except web.HTTPException as error:
            response = error
        except PageNotFound:
            response = web.Response(status=404, text="404 page not found\n")
        except ConnectionError:
            raise
        except Exception as error:
            LOG.exception("a request broke", extra={"action": "serve", "path": path})
            said = f"Internal error occurred: {error}"
            response = _render(refusal_answer(StatusError(500, "InternalError", said)))
        self._note(exchange, response.status)
        return response

    async def _respond(self, exchange: _Exchange) -> web.StreamResponse:
        request, asked = exchange.request, exchange.asked
        now = self._clock.now()
        refusal: StatusError | None = None
        try:
            exchange.user = self._gate.identify(request.headers, asked.path, now)
        except StatusError as error:
            refusal = error
        failed = await self._fail(exchange)
        if failed is not None:
            return failed
        if refusal is not None:
            raise refusal
        exchange.acting = self._gate.impersonate(exchange.user, request.headers)
        user = exchange.acting or exchange.user
        self._gate.authorize(user, asked)
        if (asked.resource, asked.subresource) in UPGRADED:
            # A WebSocket begins with a GET; to run something takes the right to create, too.
            self._gate.authorize(user, replace(asked, verb="create"))
        if not asked.resource:
            return self._answer_plain(request, asked)
        return await self._answer(exchange, user)

    def _answer_plain(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="405 method not allowed\n")
        answer = self._plain.answer(asked.path, request.headers.get("Accept", ""))
        return web.Response(text=answer) if isinstance(answer, str) else _render(answer)

    async def _answer(self, exchange: _Exchange, user: User) -> web.StreamResponse:
        request, asked = exchange.request, exchange.asked
        resource = self._dispatcher.find(asked)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            said = f"Request entity too large: limit is {LARGEST_BODY_BYTES}"
            raise StatusError(TOO_LARGE, "RequestEntityTooLarge", said) from error
        began = partial(self._note, exchange)
        streamed = await self._proxies.answer(request, asked, body, began)
        if streamed is not None:
            return streamed
        call = Call(
            asked=asked,
            resource=resource,
            query=request.query,
            body=body,
            content_type=request.content_type if "Content-Type" in request.headers else "",
            form=parse_accept(request.headers.get("Accept", "")),
            user=user,
            user_agent=request.headers.get("User-Agent", ""),
            now=self._clock.now(),
        )
        answer = self._dispatcher.answer(call)
        if isinstance(answer, Answer):
            return _render(answer)
        return await self._stream(exchange, answer)

    async def _stream(self, exchange: _Exchange, events: Events) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
        await response.prepare(exchange.request)
        self._note(exchange, response.status)
        async with aclosing(events) as stream:
            async for event in stream:
                await response.write(orjson.dumps(event) + b"\n")
        await response.write_eof()
        return response

    async def _fail(self, exchange: _Exchange) -> web.StreamResponse | None:
        request = exchange.request
        facts = Facts(
            verb=exchange.asked.verb,
            path=request.raw_path,
            user_agent=request.headers.get("User-Agent", ""),
            user=exchange.user.name,
            own=NODES in exchange.user.groups,
        )
        fault = self._faults.claim(facts)
        if fault is None:
            return None
        if fault.delay:
            await self._clock.sleep(fault.delay)
        if fault.hang:
            self._note(exchange, 0)
            await asyncio.Event().wait()
        if fault.drop:
            self._note(exchange, 0)
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError
        return _render(_fault_answer(fault)) if fault.code else None

    def _note(self, exchange: _Exchange, status: int) -> None:
        if exchange.logged:
            return
        exchange.logged = True
        request, asked = exchange.request, exchange.asked
        agent = request.headers.get("User-Agent", "")
        writes = asked.verb in {"create", "update", "patch"}
        manager = request.query.get("fieldManager") or (default_manager(agent) if writes else "")
        self._log.append(
            Requested(
                time=self._clock.now(),
                verb=asked.verb,
                method=request.method,
                path=request.raw_path,
                user_agent=agent,
                user=exchange.user.name,
                impersonated=exchange.acting.name if exchange.acting else "",
                field_manager=manager,
                dry_run=request.query.get("dryRun") == "All",
                status=status,
            )
        )


def _make_request(*parts: object) -> web.BaseRequest:
    message, payload, protocol, writer, task = parts
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message,  # type: ignore[arg-type] # aiohttp hands its own objects over
        payload,  # type: ignore[arg-type] # as above
        protocol,  # type: ignore[arg-type] # as above
        writer,  # type: ignore[arg-type] # as above
        task,  # type: ignore[arg-type] # as above
        loop,
        client_max_size=LARGEST_BODY_BYTES,
    )


def _render(answer: Answer) -> web.Response:
    headers: CIMultiDict[str] = CIMultiDict({"Content-Type": JSON_TYPE})
    headers.update(answer.headers)
    for warning in answer.warnings:
        headers.add("Warning", f'299 - "{_escape(warning)}"')
    body = b"" if answer.document is None else orjson.dumps(answer.document) + b"\n"
    return web.Response(status=answer.status, body=body, headers=headers)


def _escape(warning: str) -> str:
    return warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _fault_answer(fault: Fault) -> Answer:
    said = _REASONS.get(fault.code, ("InternalError", "an error that was asked for"))
    details: dict[str, Json] = {}
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        seconds = int(fault.retry_after.total_seconds())
        details["retryAfterSeconds"] = seconds
        headers["Retry-After"] = str(seconds)
    error = StatusError(fault.code, fault.reason or said[0], fault.message or said[1], details)
    return Answer(error.code, error.body, headers=headers)


_REASONS = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden: a fault switch is on"),
    404: ("NotFound", "the server could not find the requested resource"),
    409: ("Conflict", "the object has been modified; please apply your changes again"),
    410: ("Expired", "too old resource version"),
    TOO_MANY: ("TooManyRequests", "too many requests, please try again later"),
    500: ("InternalError", "Internal error occurred: a fault switch is on"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
}
