"""A small Kubernetes API in memory, with trouble on demand, for the node agent's own tests.

What is faked: storage, watches, merge patches and deletions of a few collections, without
controllers or scheduler. What is real: HTTP, and everything on the agent's side. The real control
plane is met in ``tests/cluster``; here are the answers that one does not give when asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Object = dict[str, Any]


@dataclass
class FakeApi:
    """The API; use `run_fake_api`.

    Attributes:
        url: Where it listens.
        objects: Every object by its path.
        requests: Verb and path of every request.
        failures: Statuses for the next requests, taken one by one.
        strategic: Whether it knows strategic merge patches.
    """

    url: str = ""
    objects: dict[str, Object] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failures: deque[int] = field(default_factory=deque)
    strategic: bool = False
    _version: int = 0
    _history: list[tuple[int, str, str, Object]] = field(default_factory=list)
    _oldest: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, path: str, body: Object) -> Object:
        """Store an object as if somebody had created or changed it."""
        known = self.objects.get(path)
        self._version += 1
        meta = {**(known or {}).get("metadata", {}), **body.get("metadata", {})}
        meta.setdefault("name", path.rsplit("/", 1)[1])
        meta.setdefault("uid", f"uid-{self._version}")
        meta["resourceVersion"] = str(self._version)
        parts = path.split("/")
        if "namespaces" in parts[:-1]:
            meta.setdefault("namespace", parts[parts.index("namespaces") + 1])
        stored = {**body, "metadata": meta}
        self.objects[path] = stored
        await self._tell("MODIFIED" if known else "ADDED", path, stored)
        return stored

    async def remove(self, path: str) -> None:
        """Remove an object at once."""
        gone = self.objects.pop(path)
        self._version += 1
        await self._tell("DELETED", path, gone)

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition over the objects or requests holds.

        Raises:
            AssertionError: It did not within 10 s.
        """
        try:
            async with asyncio.timeout(10), self._news:
                while not condition():
                    await self._news.wait()
        except TimeoutError:
            shown = json.dumps(self.objects, indent=1)[-3000:]
            message = f"waited for {what}; objects: {shown}; requests: {self.requests[-20:]}"
            raise AssertionError(message) from None

    def cut_watches(self, *, forget: bool = False) -> None:
        """End every watch; `forget` drops the history too, so that the next one is too old."""
        if forget:
            self._oldest = self._version + 1
        cut, self._cut = self._cut, asyncio.Event()
        cut.set()

    async def _tell(self, kind: str, path: str, item: Object) -> None:
        self._history.append((self._version, kind, path, item))
        async with self._news:
            self._news.notify_all()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        self.requests.append(f"{request.method} {request.path}")
        async with self._news:
            self._news.notify_all()
        if self.failures:
            return _status(self.failures.popleft(), "trouble on demand")
        if request.method == "GET":
            if request.query.get("watch"):
                return await self._watch(request)
            return self._get(request)
        body: Object = await request.json()
        if request.method == "POST":
            path = f"{request.path}/{body['metadata']['name']}"
            if path in self.objects:
                return _status(409, "already exists", "AlreadyExists")
            return web.json_response(await self.put(path, body), status=201)
        if request.method == "PATCH":
            return await self._patch(request, body)
        return await self._delete(request.path, body)

    def _get(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if request.path.rsplit("/", 1)[1] not in {"pods", "nodes", "events"}:
            return _status(404, f"{request.path} not found", "NotFound")
        items = [item for _, item in self._of(request)]
        meta = {"resourceVersion": str(self._version)}
        return web.json_response({"metadata": meta, "items": items})

    def _of(self, request: web.Request) -> list[tuple[str, Object]]:
        kind = request.path.rsplit("/", 1)[1]
        return [(path, item) for path, item in self.objects.items() if _is_in(path, kind)]

    async def _patch(self, request: web.Request, body: Object) -> web.Response:
        if "strategic" in request.content_type and not self.strategic:
            return _status(415, "the body of the request was in an unknown format")
        path = request.path.removesuffix("/status")
        known = self.objects.get(path)
        if known is None:
            return _status(404, f"{path} not found", "NotFound")
        if (
            body.get("metadata", {}).get("uid", known["metadata"]["uid"])
            != known["metadata"]["uid"]
        ):
            return _status(409, "the uid in the precondition does not match", "Conflict")
        return web.json_response(await self.put(path, _merged(known, body)))

    async def _delete(self, path: str, body: Object) -> web.Response:
        known = self.objects.get(path)
        if known is None:
            return _status(404, f"{path} not found", "NotFound")
        if body["preconditions"]["uid"] != known["metadata"]["uid"]:
            return _status(409, "the uid in the precondition does not match", "Conflict")
        assert body["gracePeriodSeconds"] == 0
        await self.remove(path)
        return web.json_response({})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        if seen < self._oldest - 1:
            return _status(410, "too old resource version", "Expired")
        kind, cut = request.path.rsplit("/", 1)[1], self._cut
        response = web.StreamResponse()
        await response.prepare(request)
        while not cut.is_set():
            for version, change, path, item in list(self._history):
                if version > seen and _is_in(path, kind):
                    event = {"type": change, "object": item}
                    await response.write(json.dumps(event).encode() + b"\n")
                    seen = version
            async with self._news:
                waiting = asyncio.ensure_future(self._news.wait())
                ending = asyncio.ensure_future(cut.wait())
                try:
                    await asyncio.wait([waiting, ending], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
                    ending.cancel()
                    await asyncio.wait([waiting, ending])
        return response


@contextlib.asynccontextmanager
async def run_fake_api() -> AsyncIterator[FakeApi]:
    """Run the API on a free port of loopback."""
    api = FakeApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=0.2, handler_cancellation=True
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        api.cut_watches()
        await runner.cleanup()


def _is_in(path: str, kind: str) -> bool:
    return path.split("/")[-2] == kind


def _merged(known: Object, patch: Object) -> Object:
    merged = dict(known)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merged(known.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _status(code: int, message: str, reason: str = "") -> web.Response:
    body = {"kind": "Status", "code": code, "message": message, "reason": reason}
    return web.json_response(body, status=code)
