"""The HTTP application: every route there is, put together."""

from __future__ import annotations

from aiohttp import web

from gitopsd.entrypoints.http import hooks, probes
from gitopsd.entrypoints.http.api.all_routes import ROUTES
from gitopsd.entrypoints.http.api.openapi import PREFIX
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import (
    add_routes,
    declare,
    refuse_undeclared,
    tell_problems,
)
from gitopsd.entrypoints.http.service import SERVICE, Service

PUBLIC = (
    ("POST", "/hooks/{receiver}", hooks.receive),
    ("GET", "/health", probes.tell_health),
    ("GET", "/health/live", probes.tell_live),
    ("GET", "/livez", probes.tell_live),
    ("GET", "/healthz", probes.tell_live),
    ("GET", "/health/ready", probes.tell_ready),
    ("GET", "/readyz", probes.tell_ready),
    ("GET", "/version", probes.tell_version),
)
"""What needs no credential: hooks are signed, probes and the version tell nothing."""


def build_app(service: Service) -> web.Application:
    """Put the application together.

    Raises:
        PermanentError: A route declares no access.
    """
    app = web.Application(middlewares=[tell_problems])
    app[SERVICE] = service
    for method, path, handler in PUBLIC:
        declared = declare(handler, Access.PUBLIC)
        app.router.add_route(method, path, declared)
        if method == "GET":
            app.router.add_route("HEAD", path, declared)
    add_routes(app, PREFIX, ROUTES)
    refuse_undeclared(app)
    app.on_response_prepare.append(_hide_server)
    return app


async def _hide_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "gitopsd"
    response.headers["X-Content-Type-Options"] = "nosniff"
