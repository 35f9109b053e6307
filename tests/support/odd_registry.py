"""A registry whose every answer a test decides: redirects, wrong digests, pages, silence.

`run_odd_registry` listens on loopback and keeps what it was asked. A test hands it a function from
the request to the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path with its query.
        headers: Lower-case names -> values.
    """

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str:
        """What it carried to log in; empty for nothing."""
        return self.headers.get("authorization", "")


Answer = Callable[[Asked], web.Response | Awaitable[web.StreamResponse]]


def say(
    status: int = 200,
    body: bytes | str = b"",
    content_type: str = MANIFEST,
    **headers: str,
) -> web.Response:
    """Make an answer; underscores in header names stand for dashes."""
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, body=content, headers={"Content-Type": content_type, **named}
    )


@dataclass(slots=True)
class OddRegistry:
    """A running server.

    Attributes:
        answer: Decides what is answered.
        port: Port on 127.0.0.1.
        asked: Every request, in order.
    """

    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        """``address:port``, the first part of image names."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}"

    @property
    def paths(self) -> list[str]:
        """``METHOD /path`` of every request."""
        return [f"{one.method} {one.path}" for one in self.asked]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.raw_path, headers)
        self.asked.append(asked)
        answer = self.answer(asked)
        return answer if isinstance(answer, web.Response) else await answer


@contextlib.asynccontextmanager
async def run_odd_registry(answer: Answer) -> AsyncIterator[OddRegistry]:
    """Run it on a free port of loopback."""
    registry = OddRegistry(answer)
    server = web.Server(registry.handle, handler_cancellation=True)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    name = runner.addresses[0]
    registry.port = int(name[1])
    try:
        yield registry
    finally:
        await runner.cleanup()
