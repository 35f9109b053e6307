"""Runs a command in a container for somebody at the other end of a WebSocket, as a kubelet does.

Each binary message begins with the number of its channel: 1 is the command's output, 2 what it
says about trouble, 3 a ``Status`` at the end. Source: k8s.io/kubelet,
pkg/cri/streaming/remotecommand. There is no terminal and no input.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.container import CommandResult
    from gitopsd.sandbox.container_loop import ContainerLoop

PROTOCOL = "v4.channel.k8s.io"
LONGEST = timedelta(hours=4)
"""A kubelet's own limit of a connection on which nothing happens."""

_OUT, _ERRORS, _RESULT = 1, 2, 3
_CHUNK_BYTES = 32 * 1024


async def serve_command(request: web.Request, loop: ContainerLoop) -> web.StreamResponse:
    """Answer ``/exec/...`` of a kubelet."""
    if request.query.get("tty") == "1" or request.query.get("input") == "1":
        return web.Response(status=400, text="there is no terminal here, and no input\n")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), autoping=True)
    if not socket.can_prepare(request).ok:
        return web.Response(status=400, text="only WebSockets are spoken here\n")
    if not socket.can_prepare(request).protocol:
        return web.Response(status=403, text=f"only {PROTOCOL} is spoken here\n")
    await socket.prepare(request)
    # A kubelet shows in this way that the connection stands.
    await socket.send_bytes(bytes([_OUT]))
    words = request.query.getall("command", [])
    running = asyncio.create_task(loop.run_command(words, limit=LONGEST))
    leaving = asyncio.create_task(_wait_for_close(socket))
    try:
        await asyncio.wait([running, leaving], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await _tell(socket, request, running.result())
    finally:
        await _stop(running, leaving)
    with contextlib.suppress(ConnectionError):
        await socket.close()
    return socket


async def _tell(
    socket: web.WebSocketResponse, request: web.Request, result: CommandResult | None
) -> None:
    streams = () if result is None else ((_OUT, result.stdout), (_ERRORS, result.stderr))
    wanted = {_OUT: request.query.get("output"), _ERRORS: request.query.get("error")}
    with contextlib.suppress(ConnectionError):
        for channel, text in streams:
            content = text.encode() if wanted[channel] == "1" else b""
            for start in range(0, len(content), _CHUNK_BYTES):
                await socket.send_bytes(bytes([channel]) + content[start : start + _CHUNK_BYTES])
        await socket.send_bytes(bytes([_RESULT]) + orjson.dumps(make_status(result)))


def make_status(result: CommandResult | None) -> JsonObject:
    """The ``Status`` that says how a command ended. Pure."""
    if result is not None and not result.problem and result.exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    if result is None or result.problem:
        why = "container not running" if result is None else result.problem
        said = f"Internal error occurred: error executing command in container: {why}"
        return {
            "metadata": {},
            "status": "Failure",
            "message": said,
            "reason": "InternalError",
            "details": {"causes": [{"message": said.partition(": ")[2]}]},
            "code": 500,
        }
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {result.exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(result.exit_code)}]},
    }


async def _wait_for_close(socket: web.WebSocketResponse) -> None:
    """Read until the other side goes; nothing it says is wanted."""
    async for message in socket:
        if message.type in {WSMsgType.CLOSE, WSMsgType.ERROR}:
            return


async def _stop(*tasks: asyncio.Task[CommandResult | None] | asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
