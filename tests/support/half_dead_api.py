"""An API server that is not well: a few real answers, and whatever a test puts in their place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web

if TYPE_CHECKING:
    import ssl

Behaviour: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class HalfDeadApi:
    """What the server does and what it saw.

    Attributes:
        seen: Requests in order.
        url: Its address.
        behaviours: (method, path) -> what is done instead, in turn; the last one stays.
        stale: Groups whose API service does not answer.
        extra: Further discovery: (group, version) -> resources.
        old: Whether it knows no aggregated discovery.
    """

    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    behaviours: dict[tuple[str, str], list[Behaviour]] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    extra: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    old: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def do(self, method: str, path: str, *behaviours: Behaviour) -> None:
        """Do something else for a request; ``*`` stands for all methods or paths."""
        self.behaviours[method, path] = list(behaviours)

    def paths(self, method: str) -> list[str]:
        """List the paths of a method's requests."""
        return [seen.path for seen in self.seen if seen.method == method]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, dict(request.query), headers))
        for key in (
            (request.method, request.path),
            ("*", request.path),
            (request.method, "*"),
            ("*", "*"),
        ):
            behaviours = self.behaviours.get(key)
            if behaviours:
                chosen = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
                return await chosen(request)
        return await self.well(request)

    async def well(self, request: web.Request) -> web.StreamResponse:
        """Answer as a server that is well."""
        if request.path in ("/api", "/apis"):
            return self._discovery(request.path)
        if self.old and request.path.startswith(("/api/v1", "/apis/")):
            found = self._old_resources(request.path)
            if found is not None:
                return json_answer(found)
        name = request.path.rpartition("/")[2]
        return json_answer(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7"},
                "items": [],
            }
            if name != "configmaps"
            else {"kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": []}
        )

    def _groups(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        return {("", "v1"): [resource("configmaps", "ConfigMap")], **self.extra}

    def _discovery(self, path: str) -> web.Response:
        groups = {
            key: value for key, value in self._groups().items() if bool(key[0]) != (path == "/api")
        }
        if self.old:
            if path == "/api":
                return json_answer({"kind": "APIVersions", "versions": ["v1"]})
            listed = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                }
                for group, version in groups
            ]
            return json_answer({"kind": "APIGroupList", "groups": listed})
        items = [
            {
                "metadata": {"name": group},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Stale" if group in self.stale else "Current",
                        "resources": resources,
                    }
                ],
            }
            for (group, version), resources in groups.items()
        ]
        return json_answer({"kind": "APIGroupDiscoveryList", "items": items})

    def _old_resources(self, path: str) -> dict[str, Any] | None:
        for (group, version), resources in self._groups().items():
            if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
                listed = [
                    {
                        "name": item["resource"],
                        "kind": item["responseKind"]["kind"],
                        "namespaced": item["scope"] == "Namespaced",
                        "verbs": item["verbs"],
                    }
                    for item in resources
                ]
                status = [{**item, "name": f"{item['name']}/status"} for item in listed]
                version_name = f"{group}/{version}" if group else version
                return {"groupVersion": version_name, "resources": [*listed, *status]}
        return None


def resource(plural: str, kind: str) -> dict[str, Any]:
    """Describe a kind as aggregated discovery does."""
    return {
        "resource": plural,
        "responseKind": {"kind": kind},
        "scope": "Namespaced",
        "verbs": ["get", "list"],
        "subresources": [{"subresource": "status"}],
    }


def json_answer(document: object, status: int = 200, **headers: str) -> web.Response:
    """Answer with JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, text=json.dumps(document), content_type="application/json", headers=named
    )


def refuse(code: int, reason: str, message: str, **headers: str) -> Behaviour:
    """Refuse with a Status, as an API server does."""

    async def behave(_: web.Request) -> web.StreamResponse:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }
        return json_answer(status, code, **headers)

    return behave


def text(status: int, body: str, content_type: str = "text/html", **headers: str) -> Behaviour:
    """Answer with something that no API server says."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type=content_type, headers=named)

    return behave


def never(api: HalfDeadApi) -> Behaviour:
    """Accept and never answer, until the server ends."""

    async def behave(_: web.Request) -> web.StreamResponse:
        await api.ending.wait()
        return web.Response(status=503)

    return behave


async def reset(request: web.Request) -> web.StreamResponse:
    """Begin a body and cut the connection in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "5000"})
    await response.prepare(request)
    await response.write(b'{"kind": "ConfigMap", "metadata"')
    assert request.transport is not None
    request.transport.abort()
    return response


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def stream(*chunks: bytes, then: Behaviour | None = None) -> Behaviour:
    """Answer a watch with these bytes, then end it, or do something else."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then is not None:
            await then(request)
        return response

    return behave


def event(action: str, version: str, name: str = "settings") -> bytes:
    """Make one line of a watch."""
    metadata = {"name": name, "resourceVersion": version, "managedFields": []}
    return json.dumps({"type": action, "object": {"metadata": metadata}}).encode() + b"\n"


@asynccontextmanager
async def run_half_dead_api(
    tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[HalfDeadApi]:
    """Run one on loopback."""
    api = HalfDeadApi()
    runner = web.AppRunner(web.Application(), handler_cancellation=True, shutdown_timeout=1)
    runner.app.router.add_route("*", "/{tail:.*}", api.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    host, found = runner.addresses[0][:2]
    api.url = f"{'https' if tls else 'http'}://{host}:{found}"
    try:
        yield api
    finally:
        api.ending.set()
        await runner.cleanup()
