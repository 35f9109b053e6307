"""The HTTP application: every route there is, put together."""

from __future__ import annotations

from aiohttp import web

from gitopsd.entrypoints.http import hooks, probes
from gitopsd.entrypoints.http.service import SERVICE, Service


def build_app(service: Service) -> web.Application:
    """Put the application together."""
    app = web.Application()
    app[SERVICE] = service
    app.router.add_post("/hooks/{receiver}", hooks.receive)
    for path in ("/health/live", "/livez", "/healthz"):
        app.router.add_get(path, probes.tell_live)
    for path in ("/health/ready", "/readyz"):
        app.router.add_get(path, probes.tell_ready)
    app.router.add_get("/health", probes.tell_health)
    app.router.add_get("/version", probes.tell_version)
    return app
