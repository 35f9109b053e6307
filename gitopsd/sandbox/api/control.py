"""The control address: the request log and the fault switches, for tests and demos.

It is plain HTTP on a port of its own, beside the API that it is about: faults never concern it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import orjson
from aiohttp import web

from gitopsd.sandbox.api.fault_forms import FaultError, parse_fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aiohttp.typedefs import Handler

    from gitopsd.domain.manifests import Json
    from gitopsd.sandbox.api.faults import Faults
    from gitopsd.sandbox.api.request_log import RequestLog
    from gitopsd.sandbox.api.storage import ObjectStore

SHUTDOWN_SECONDS = 0.2
_REQUESTS = (
    "GET /requests?since=N",
    "GET, POST and DELETE /faults",
    "DELETE /faults/N",
    "POST /compact",
    "POST /disconnect",
)


class ControlServer:
    """Serves it; an async context manager.

    Attributes:
        url: Where, once it is entered.
        disconnect: Cuts the API's connections; returns how many there were.
    """

    def __init__(self, host: str, *, faults: Faults, log: RequestLog, store: ObjectStore) -> None:
        self.url = ""
        self._host = host
        self._faults = faults
        self._log = log
        self._store = store
        self.disconnect: Callable[[], int] = int
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        application = web.Application(middlewares=[_refuse_pages, _say_what_there_is])
        application.router.add_get("/requests", self._requests)
        application.router.add_get("/faults", self._show)
        application.router.add_post("/faults", self._add)
        application.router.add_delete("/faults", self._clear)
        application.router.add_delete("/faults/{number:[0-9]+}", self._clear)
        application.router.add_post("/compact", self._compact)
        application.router.add_post("/disconnect", self._disconnect)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, self._host, 0).start()
        self._runner = runner
        self.url = f"http://{self._host}:{int(runner.addresses[0][1])}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no longer."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _requests(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdigit():
            return _answer({"error": "since is a number: the seq of the last request seen"}, 400)
        return _answer(list(self._log.since(int(since))))

    async def _show(self, _: web.Request) -> web.Response:
        return _answer(list(self._faults.describe()))

    async def _add(self, request: web.Request) -> web.Response:
        try:
            fault = self._faults.add(parse_fault(orjson.loads(await request.read())))
        except orjson.JSONDecodeError as error:
            return _answer({"error": f"the body is no JSON: {error}"}, HTTPStatus.BAD_REQUEST)
        except FaultError as error:
            return _answer({"error": error.message}, HTTPStatus.BAD_REQUEST)
        return _answer(fault.describe(), HTTPStatus.CREATED)

    async def _clear(self, request: web.Request) -> web.Response:
        number = request.match_info.get("number")
        gone = self._faults.remove(int(number) if number else None)
        return _answer({"removed": gone})

    async def _compact(self, _: web.Request) -> web.Response:
        """Forget all history: every watch that comes back is told to list again."""
        self._store.history.compact(self._store.version)
        return _answer({"oldest": self._store.history.oldest})

    async def _disconnect(self, _: web.Request) -> web.Response:
        """Cut every connection of the API, as when a load balancer is replaced."""
        return _answer({"disconnected": self.disconnect()})


@web.middleware
async def _refuse_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No page that somebody happens to look at may switch anything: browsers send an Origin."""
    if "Origin" in request.headers:
        said = "this address is for programs, not for pages of a browser"
        return _answer({"error": said}, HTTPStatus.FORBIDDEN)
    return await handler(request)


@web.middleware
async def _say_what_there_is(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever asks for something else hears of all that can be asked for."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        said = f"no {request.method} {request.path} here; there are {', '.join(_REQUESTS)}"
        return _answer({"error": said}, error.status)


def _answer(document: Json, status: int = HTTPStatus.OK) -> web.Response:
    body = orjson.dumps(document) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")
