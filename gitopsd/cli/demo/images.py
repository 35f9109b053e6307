"""The images that the demo pushes: a release behaves as its image does, and nothing else knows."""

from __future__ import annotations

from gitopsd.sandbox.hosts.image_making import Image, make_image

API_PORT = 3000
WEB_PORT = 8080
PRODUCTION = {"NODE_ENV": "production"}


def make_api(
    version: str,
    *,
    ready: int = 200,
    ready_in_production: int = 200,
    smoke_in_production: int = 200,
) -> Image:
    """Make an API.

    Args:
        version: What ``/health`` says.
        ready: Status of its readiness probe.
        ready_in_production: The same where its settings say production.
        smoke_in_production: Status of ``/smoke`` there.
    """
    healthy = {"status": "healthy", "version": version}
    routes: list[dict[str, object]] = [
        {"path": "/health/live", "json": {"status": "alive"}},
        {
            "path": "/health/ready",
            "statuses": [min(max(ready, ready_in_production), 599)],
            "json": {"ready": ready == ready_in_production},
            "whenEnv": PRODUCTION,
        },
        {"path": "/health/ready", "statuses": [ready], "json": {"version": version}},
        {"path": "/smoke", "statuses": [smoke_in_production], "json": {}, "whenEnv": PRODUCTION},
        {"path": "/smoke", "json": {"version": version}},
        {"path": "/health", "json": healthy},
    ]
    behaviour = {"log": [f"ai-core-api {version}"], "ports": [API_PORT], "routes": routes}
    return make_image(version=version, behaviour=behaviour)


def make_web(version: str) -> Image:
    """Make a web front end."""
    routes: list[dict[str, object]] = [
        {"path": "/health/ready", "json": {"ready": True}},
        {"path": "/", "json": {"status": "healthy", "version": version}},
    ]
    behaviour = {"log": [f"ai-core-web {version}"], "ports": [WEB_PORT], "routes": routes}
    return make_image(version=version, behaviour=behaviour)
