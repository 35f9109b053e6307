"""Passes requests on to pods, services and nodes, and their answers back, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from gitopsd.errors import PermanentError
from gitopsd.sandbox.api.backends import unavailable
from gitopsd.sandbox.dialing import say_dial
from gitopsd.sandbox.front import CHUNK_BYTES, HOP_BY_HOP
from gitopsd.sandbox.objects.status_errors import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from gitopsd.sandbox.api.backends import Backend

EXEC_PROTOCOLS = ("v4.channel.k8s.io",)
Began = Callable[[int], None]
# These speak to the API server; a pod must not see who asked, nor with which credential.
_OURS = ("authorization", "impersonate-", "host")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30)


class Forwarder:
    """Talks to pods and nodes; an async context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        # A node's certificate is its own: as a real API server does unless it is given the
        # nodes' authority, any is taken. Nodes and pods are on this machine's loopback.
        connector = aiohttp.TCPConnector(limit=0, ssl=False)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=_TIMEOUT
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def forward(
        self, request: web.BaseRequest, body: bytes, backend: Backend, path: str, began: Began
    ) -> web.StreamResponse:
        """Pass a request on, with its method, query, headers and body.

        Args:
            request: The request.
            body: Its body.
            backend: Who answers.
            path: The path there.
            began: Told the status when the answer begins: it may take long to end.

        Raises:
            StatusError: Nobody answers there.
        """
        query = request.query_string
        url = f"{backend.url}/{path.removeprefix('/')}{f'?{query}' if query else ''}"
        headers = _passed_on(request.headers)
        try:
            async with self._client.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                response = web.StreamResponse(
                    status=answer.status, headers=_passed_on(answer.headers)
                )
                await self._copy(request, response, answer, began)
                return response
        except (aiohttp.ClientConnectorError, ConnectionError) as error:
            why = say_dial(error, backend.address, backend.port)
            raise unavailable(f"error trying to reach service: {why}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(f"error trying to reach service: {str(error) or 'EOF'}") from error

    async def fetch_log(
        self, request: web.BaseRequest, backend: Backend, path: str, began: Began
    ) -> web.StreamResponse:
        """A container's log from its node, for as long as the node sends; see `forward`.

        Raises:
            StatusError: The node has none, or is not there.
        """
        try:
            async with self._client.get(f"{backend.url}{path}") as answer:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    raise _log_refusal(answer.status, (await answer.text()).strip())
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                await self._copy(request, response, answer, began)
                return response
        except (aiohttp.ClientConnectorError, ConnectionError) as error:
            why = f'Get "{backend.url}{path}": '
            why += say_dial(error, backend.address, backend.port)
            raise StatusError(500, "InternalError", why) from error

    async def join_sockets(
        self, request: web.BaseRequest, backend: Backend, path: str, began: Began
    ) -> web.StreamResponse:
        """Pass the messages of a WebSocket on, both ways, for as long as both sides stay.

        Raises:
            StatusError: No WebSocket is wanted, or the node does not want one.
        """
        client = web.WebSocketResponse(protocols=EXEC_PROTOCOLS)
        wish = client.can_prepare(request)
        if not wish.ok:
            raise bad_request("Upgrade request required")
        if wish.protocol is None:
            said = f"unable to upgrade: unable to negotiate protocol: {EXEC_PROTOCOLS[0]} is spoken"
            raise StatusError(HTTPStatus.FORBIDDEN, "Forbidden", said)
        try:
            node = await self._client.ws_connect(f"{backend.url}{path}", protocols=EXEC_PROTOCOLS)
        except aiohttp.WSServerHandshakeError as error:
            raise bad_request(f"the node refuses: {error.message}") from error
        except (aiohttp.ClientConnectorError, ConnectionError) as error:
            why = say_dial(error, backend.address, backend.port)
            raise StatusError(500, "InternalError", f"error dialing backend: {why}") from error
        except aiohttp.ClientError as error:
            raise StatusError(500, "InternalError", f"error dialing backend: {error}") from error
        async with node:
            await client.prepare(request)
            began(client.status)
            await _join(client, node)
        return client

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "the forwarder is used outside of its context"
            raise PermanentError(message)
        return self._session

    async def _copy(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        answer: aiohttp.ClientResponse,
        began: Began,
    ) -> None:
        await response.prepare(request)
        began(response.status)
        async for chunk in answer.content.iter_any():
            for start in range(0, len(chunk), CHUNK_BYTES):
                await response.write(chunk[start : start + CHUNK_BYTES])
        await response.write_eof()


async def _join(client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse) -> None:
    """Copy messages until one side closes, then close the other."""
    ways = [
        asyncio.ensure_future(_pass_on(node, client)),
        asyncio.ensure_future(_pass_on(client, node)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        with suppress(ConnectionError):
            await node.close()
            await client.close()


async def _pass_on(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    passed: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        lowered = name.lower()
        if lowered not in HOP_BY_HOP and not lowered.startswith(_OURS):
            passed.add(name, value)
    return passed


def _log_refusal(status: int, text: str) -> StatusError:
    if status == HTTPStatus.NOT_FOUND:
        details = {"causes": [{"reason": "UnexpectedServerResponse", "message": text}]}
        message = f"the server could not find the requested resource: {text}"
        return StatusError(status, "NotFound", message, details)
    return bad_request(text)
