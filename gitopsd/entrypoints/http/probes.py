"""Whether the process lives, and whether it can be sent work."""

from __future__ import annotations

from aiohttp import web

from gitopsd import __version__
from gitopsd.domain.manifests import Json
from gitopsd.engine.intake import find_secret_problems
from gitopsd.entrypoints.http.service import SERVICE, Service
from gitopsd.errors import GitopsdError


async def tell_version(_: web.Request) -> web.Response:
    """Answer ``/version``."""
    return web.json_response({"version": __version__})


async def tell_live(_: web.Request) -> web.Response:
    """Answer ``/health/live``: the event loop turns, or this would not be answered."""
    return web.json_response({"status": "pass"})


async def tell_ready(request: web.Request) -> web.Response:
    """Answer ``/health/ready``: 200 when requests and deliveries can be served, else 503."""
    problem = await _find_problem(request.app[SERVICE])
    if problem:
        return web.json_response({"status": "fail", "reason": problem}, status=503)
    return web.json_response({"status": "pass"})


async def tell_health(request: web.Request) -> web.Response:
    """Answer ``/health`` with status, version and components."""
    service = request.app[SERVICE]
    database = await _find_database_problem(service)
    unreadable = len(find_secret_problems(service.services))
    components: dict[str, Json] = {
        "database": _component(database),
        "configuration": {
            "status": "warn" if service.problems() else "pass",
            # Everybody may read this: what is wrong is told by the API and the log.
            "problems": len(service.problems()),
            "heldRemovals": len(service.removals()),
        },
        "receivers": {
            "status": "warn" if unreadable else "pass",
            # As above: no names here.
            "unreadableSecrets": unreadable,
        },
        "worker": _component("" if service.state.started else "it has not begun yet"),
        "server": _component("it is ending" if service.state.ending else ""),
    }
    failed = bool(await _find_problem(service))
    warned = any(isinstance(one, dict) and one["status"] == "warn" for one in components.values())
    status = "fail" if failed else "warn" if warned else "pass"
    body = {"status": status, "version": __version__, "components": components}
    return web.json_response(body, status=503 if failed else 200)


def _component(problem: str) -> dict[str, Json]:
    return {"status": "fail", "reason": problem} if problem else {"status": "pass"}


async def _find_problem(service: Service) -> str:
    if service.state.ending:
        return "the process is ending"
    if not service.state.started:
        return "the process has not begun to work yet"
    return await _find_database_problem(service)


async def _find_database_problem(service: Service) -> str:
    try:
        stored = await service.services.store.read(lambda tx: tx.now)
    except GitopsdError as error:
        return error.message
    return service.find_clock_problem(stored)
