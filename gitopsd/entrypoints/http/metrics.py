"""``/metrics`` on a port of its own, so that what scrapes it need not reach the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


def build_metrics_app(render: Callable[[], Awaitable[bytes]]) -> web.Application:
    """Put the application together.

    Args:
        render: Writes all metrics as text.
    """

    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=await render(), headers={"Content-Type": CONTENT_TYPE})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/metrics", tell)
    # A worker has no other port, and its metrics wait for the database.
    app.router.add_get("/health/live", live)
    return app
