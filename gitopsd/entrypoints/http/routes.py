"""Routes as values, and the way of every request to its handler.

A route that declares no access cannot be made, and an application that holds a route not made from
here does not start: nothing is reachable because somebody forgot to protect it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gitopsd.domain.manifests import Json
from gitopsd.engine.actors import Actor, Request
from gitopsd.entrypoints.http.authentication import authenticate
from gitopsd.entrypoints.http.models import NoBody, NoQuery
from gitopsd.entrypoints.http.permissions import Access, Principal
from gitopsd.entrypoints.http.problems import ProblemError, answer_problem
from gitopsd.entrypoints.http.refusals import record_refusal
from gitopsd.entrypoints.http.service import SERVICE, Service
from gitopsd.errors import ConflictError, PermanentError, TemporaryError

M = TypeVar("M", bound=BaseModel)

LARGEST_BODY = 1024 * 1024
"""Bodies of the API are small."""

READ_SECONDS = 5.0
"""How long a caller may take for a body."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_GUARDED = "gitopsd_route"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in.

    Attributes:
        request: The raw request; handlers need it for streaming only.
        service: The service.
        principal: Who calls.
        path: Parameters in the path.
        query: Parameters of the query, of the route's model.
        body: The body, of the route's model.
        key: Idempotency key made unique by subject, with the request's fingerprint; None for none.
    """

    request: web.Request
    service: Service
    principal: Principal
    path: dict[str, str]
    query: BaseModel
    body: BaseModel
    key: Request | None

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return Actor(self.principal.subject, self.principal.groups, self.key, self.principal.token)

    def require(self, access: Access, application: str) -> None:
        """Check a permission for one application.

        Raises:
            ProblemError: 403.
        """
        if not self.principal.may(access, application):
            raise forbidden(self.principal, access, f"application {application}")


Answer = BaseModel | web.StreamResponse
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API.

    Attributes:
        method: HTTP method.
        path: Path below ``/api/v1``, parameters in braces.
        handler: What answers.
        access: What it asks of its caller.
        summary: One sentence.
        answer: Model of the answer; None for one that is no model (streams, documents).
        query: Model of the query.
        body: Model of the body.
        everywhere: Whether the access must hold for every application, because the answer
            concerns all of them.
        status: Status of a good answer.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answer: type[BaseModel] | None = None
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] = NoBody
    everywhere: bool = False
    status: int = 200

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


class ForbiddenError(ProblemError):
    """A caller that is known may not do what it asks for."""


def forbidden(principal: Principal, access: Access, where: str) -> ForbiddenError:
    """Make the refusal of a caller that is known but may not."""
    return ForbiddenError(403, f"{principal.subject} may not {access.words} {where}.")


def add_routes(app: web.Application, prefix: str, routes: Iterable[Route]) -> None:
    """Add routes to an application."""
    for route in routes:
        app.router.add_route(route.method, prefix + route.path, _guard(route))


def declare(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], access: Access
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Declare the access of a plain handler, which has to be public.

    Raises:
        PermanentError: It is not public: only routes of the API check credentials.
    """
    if access is not Access.PUBLIC:
        raise PermanentError("only public handlers are declared without a Route")

    async def declared(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    setattr(declared, _GUARDED, access)
    return declared


def refuse_undeclared(app: web.Application) -> None:
    """Stop the start when a route declares no access.

    Raises:
        PermanentError: Names the route.
    """
    for route in app.router.routes():
        if not isinstance(getattr(route.handler, _GUARDED, None), Access):
            resource = route.resource.canonical if route.resource is not None else "?"
            raise PermanentError(f"route {route.method} {resource} declares no access")


def _guard(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    if route.access is Access.PUBLIC:
        raise PermanentError(f"route {route.method} {route.path} of the API may not be public")

    async def guarded(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        principal = await authenticate(request, service)
        try:
            return await _answer(route, request, service, principal)
        except ForbiddenError as error:
            if route.writes:
                await record_refusal(request, service, principal.subject, error.detail)
            raise

    setattr(guarded, _GUARDED, route.access)
    return guarded


async def _answer(
    route: Route, request: web.Request, service: Service, principal: Principal
) -> web.StreamResponse:
    _check(route, principal)
    raw = await _receive(request) if route.writes else b""
    answer = await route.handler(
        Call(
            request=request,
            service=service,
            principal=principal,
            path=dict(request.match_info),
            query=_parse(route.query, dict(request.query), 400, "query"),
            body=_read_body(route, request, raw),
            key=_read_key(route, request, raw, principal),
        )
    )
    if isinstance(answer, web.StreamResponse):
        return answer
    return web.Response(
        status=route.status,
        body=answer.model_dump_json(by_alias=True).encode(),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )


def _check(route: Route, principal: Principal) -> None:
    if route.everywhere:
        allowed, where = principal.may_everywhere(route.access), "all applications"
    else:
        allowed, where = principal.may_anywhere(route.access), "any application"
    if not allowed:
        raise forbidden(principal, route.access, where)


def _read_body(route: Route, request: web.Request, raw: bytes) -> BaseModel:
    if not route.writes:
        return NoBody()
    if not raw:
        return _parse(route.body, {}, 422, "body")
    if request.content_type != "application/json":
        raise ProblemError(415, f"The body is {request.content_type}, not JSON.")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, "The body is no JSON document.") from error
    if not isinstance(document, dict):
        raise ProblemError(422, "The body is no JSON object.")
    return _parse(route.body, document, 422, "body")


async def _receive(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            chunks, size = [], 0
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > LARGEST_BODY:
                    raise ProblemError(413, "The body is larger than 1 MB.")
                chunks.append(chunk)
    except TimeoutError as error:
        raise ProblemError(408, "The body did not arrive within 5 s.") from error
    return b"".join(chunks)


def _parse(model: type[M], values: dict[str, Json], status: int, what: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems: list[Json] = [
            {"field": ".".join(str(part) for part in item["loc"]), "problem": item["msg"]}
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = problems[0]
        told = f"{first['field']}: {first['problem']}" if isinstance(first, dict) else ""
        raise ProblemError(
            status, f"The {what} cannot be used: {told}.", extra={"problems": problems}
        ) from None


def _read_key(
    route: Route, request: web.Request, raw: bytes, principal: Principal
) -> Request | None:
    key = request.headers.get("Idempotency-Key", "")
    if not route.writes or not key:
        return None
    if not _KEY.fullmatch(key):
        raise ProblemError(400, "The Idempotency-Key is not 1 to 255 printable characters.")
    asked = f"{request.method} {request.path}\n".encode() + raw
    unique = hashlib.sha256(f"{principal.subject}\n{key}".encode()).hexdigest()
    return Request(f"idempotency:{unique}", hashlib.sha256(asked).hexdigest())


@web.middleware
async def tell_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn everything that ends a request early into a problem document."""
    try:
        return await handler(request)
    except ProblemError as error:
        return answer_problem(error, request.path)
    except web.HTTPException as error:
        allowed = error.headers.get("Allow")
        headers = {"Allow": allowed} if allowed else {}
        detail = f"There is no {request.method} {request.path}."
        return answer_problem(ProblemError(error.status, detail, headers=headers), request.path)
    except TemporaryError as error:
        problem = ProblemError(503, error.message, headers={"Retry-After": "1"})
        return answer_problem(problem, request.path)
    except ConflictError:
        return answer_problem(ProblemError(409, "Somebody else changed it first."), request.path)
    except Exception as error:  # noqa: BLE001 - a bug in one handler is one 500, with nothing of it told
        request.app[SERVICE].services.telemetry.report(error, route=request.path)
        return answer_problem(ProblemError(500, "gitopsd has a bug in this answer."), request.path)
