"""Runs a command in a container, over the WebSocket form of ``pods/exec``.

Each binary message begins with the number of its channel; the third one carries, at the end, a
``Status`` that says how the command ended. Source: k8s.io/apimachinery,
pkg/util/remotecommand (channel numbers), and k8s.io/kubelet, pkg/cri/streaming/remotecommand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import aiohttp

from gitopsd.adapters.cluster.local_files import clause_of
from gitopsd.adapters.cluster.requests import CONNECT_TIMEOUT, ApiServer, parse_json
from gitopsd.cluster_ports import ApiRefusal, CommandOutput, PodCommand
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROTOCOL = "v4.channel.k8s.io"
"""The newest form that an API server passes to the node as it is."""

_OUT, _ERRORS, _RESULT = 1, 2, 3
_LONGEST_MESSAGE = 1024 * 1024


@dataclass(slots=True)
class _Heard:
    """What came over the channels so far."""

    limit: int
    streams: dict[int, bytearray] = field(
        default_factory=lambda: {_OUT: bytearray(), _ERRORS: bytearray(), _RESULT: bytearray()}
    )

    def take(self, data: bytes) -> None:
        """Add one message; what is longer than the bound is left out."""
        stream = self.streams.get(data[0]) if data else None
        if stream is not None:
            stream += data[1 : 1 + max(self.limit - len(stream), 0)]

    def conclude(self, *, timed_out: bool = False) -> CommandOutput:
        """Say what came of it."""
        code, message = parse_result(bytes(self.streams[_RESULT]))
        return CommandOutput(
            exit_code=code,
            stdout=bytes(self.streams[_OUT]),
            stderr=bytes(self.streams[_ERRORS]),
            message="" if timed_out else message,
            timed_out=timed_out,
        )


async def run_in_container(
    server: ApiServer, identity: Mapping[str, str], command: PodCommand
) -> CommandOutput | ApiRefusal:
    """Run a command. Safe to repeat as far as the command is.

    When the time is over the connection is closed; the command itself may go on.

    Raises:
        TemporaryError: The API server, or the node behind it, could not be asked.
    """
    path = f"/api/v1/namespaces/{quote(command.namespace)}/pods/{quote(command.pod)}/exec"
    query = urlencode(
        [
            ("container", command.container),
            ("stdout", "true"),
            ("stderr", "true"),
            *(("command", word) for word in command.command),
        ]
    )
    heard = _Heard(command.max_output_bytes)
    loop = asyncio.get_running_loop()
    end = loop.time() + command.timeout.total_seconds()
    try:
        async with _open(server, identity, f"{path}?{query}") as socket:
            try:
                async with asyncio.timeout_at(end):
                    await _listen(socket, heard)
            except TimeoutError:
                return heard.conclude(timed_out=True)
    except aiohttp.WSServerHandshakeError as error:
        return await _explain(server, identity, f"{path}?{query}", error)
    except TimeoutError as error:
        raise TemporaryError(f"{server.spec.name}: no answer to exec in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TemporaryError(f"{server.spec.name}: exec: {clause_of(error)}") from error
    return heard.conclude()


@asynccontextmanager
async def _open(
    server: ApiServer, identity: Mapping[str, str], target: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with server.sessions.lend() as held:
        connection = held.connection
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds() * 2):
            socket = await held.session.ws_connect(
                connection.server + target,
                protocols=(PROTOCOL,),
                headers={**identity, **server.read_credential(connection)},
                proxy=connection.proxy or None,
                server_hostname=connection.server_name or None,
                max_msg_size=_LONGEST_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        try:
            yield socket
        finally:
            await socket.close()


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: _Heard) -> None:
    """Read until the command has ended and its result is there, or the connection ends."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            heard.take(message.data)
            if heard.streams[_RESULT]:
                return


async def _explain(
    server: ApiServer,
    identity: Mapping[str, str],
    target: str,
    error: aiohttp.WSServerHandshakeError,
) -> ApiRefusal:
    """Find the words of a refused handshake: the library drops the body that has them.

    The same request without the wish for a WebSocket runs nothing, and is refused for the same
    reason first.

    Raises:
        TemporaryError: It is no definite refusal.
    """
    path, _, query = target.partition("?")
    status, headers, content = await server.fetch("GET", f"{path}?{query}", headers=identity)
    body: Any = parse_json(content) if status == error.status else None
    if body is None:
        status, headers = error.status, {}
        if status in range(400, 500):
            body = {"kind": "Status", "message": f"HTTP {status} {error.message}"}
    return server.refusal("EXEC", path, status, body, headers)


def parse_result(content: bytes) -> tuple[int | None, str]:
    """Read how a command ended: its exit code, or why there is none. Pure."""
    if not content:
        return None, "the connection ended before the command did"
    status = parse_json(content)
    if not isinstance(status, dict):
        return None, "the node's answer cannot be read"
    if status.get("status") == "Success":
        return 0, ""
    causes = (status.get("details") or {}).get("causes") or []
    codes = [
        str(cause.get("message"))
        for cause in causes
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode"
    ]
    if status.get("reason") == "NonZeroExitCode" and codes and codes[0].isdigit():
        return int(codes[0]), ""
    return None, redact_clause(
        str(status.get("message") or HTTPStatus.INTERNAL_SERVER_ERROR.phrase)
    )
