"""The API's own description, made from its routes and models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aiohttp import web
from pydantic.json_schema import models_json_schema

from gitopsd import __version__
from gitopsd.domain.manifests import Json
from gitopsd.entrypoints.http.models import Model, NoBody, NoQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX = "/api/v1"
_Mode: TypeAlias = Literal["validation", "serialization"]
_References: TypeAlias = Mapping[tuple[Any, _Mode], Json]
_PARAMETER = re.compile(r"\{(\w+)\}")


class Problem(Model):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    remedy: str


def describe_api(routes: Iterable[Route]) -> dict[str, Json]:
    """Write the OpenAPI 3.1 document."""
    listed = tuple(routes)
    references, definitions = models_json_schema(
        _list_models(listed), by_alias=True, ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Json]] = {}
    for route in listed:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(
            route, references
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gitopsd",
            "version": __version__,
            "description": "Signed Git push to staging, gated production, automatic rollback.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions.get("$defs", {}),
        },
    }


def _list_models(routes: tuple[Route, ...]) -> list[tuple[type[BaseModel], _Mode]]:
    """List every model once for each way it is used, in a stable order."""
    used: dict[tuple[str, _Mode], type[BaseModel]] = {("Problem", "serialization"): Problem}
    for route in routes:
        if route.answer is not None:
            used[route.answer.__name__, "serialization"] = route.answer
        if route.body is not NoBody:
            used[route.body.__name__, "validation"] = route.body
    return [(model, mode) for (_, mode), model in sorted(used.items(), key=lambda one: one[0])]


def _operation(route: Route, references: _References) -> dict[str, Json]:
    operation: dict[str, Json] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"Needs: {route.access.value}.",
        "parameters": _parameters(route),
        "responses": {
            str(route.status): _response(route, references),
            "default": {
                "description": "What went wrong.",
                "content": {
                    "application/problem+json": {"schema": references[Problem, "serialization"]}
                },
            },
        },
    }
    if route.body is not NoBody:
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": references[route.body, "validation"]}},
        }
    return operation


def _operation_id(route: Route) -> str:
    words = [word for word in route.path.split("/") if word and not word.startswith("{")]
    named = "-".join(word.replace(".", "-") for word in words)
    one = "-one" if route.method == "GET" and route.path.endswith("}") else ""
    return f"{route.method.lower()}-{named}{one}"


def _parameters(route: Route) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.query is not NoQuery:
        schema = route.query.model_json_schema(by_alias=True)
        for name, kind in schema.get("properties", {}).items():
            found.append({"name": name, "in": "query", "required": False, "schema": kind})
    if route.writes:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same request sent again with it acts once.",
                "schema": {"type": "string", "maxLength": 255},
            }
        )
    return found


def _response(route: Route, references: _References) -> dict[str, Json]:
    if route.answer is None:
        kind = "text/event-stream" if route.path == "/events" else "application/json"
        return {"description": route.summary, "content": {kind: {"schema": {}}}}
    schema = references[route.answer, "serialization"]
    return {"description": route.summary, "content": {"application/json": {"schema": schema}}}


def describing_route(routes: Iterable[Route]) -> Route:
    """Make the route that serves the document of ``routes`` and itself."""
    made: list[bytes] = []

    async def tell(_: Call) -> Answer:
        if not made:
            made.append(json.dumps(describe_api((*routes, route))).encode())
        return web.Response(body=made[0], headers={"Content-Type": "application/json"})

    route = Route("GET", "/openapi.json", tell, Access.READ, "Describe this API.")
    return route
