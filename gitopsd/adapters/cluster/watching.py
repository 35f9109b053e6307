"""Lists and watches one collection, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp.http_exceptions import LineTooLong

from gitopsd.adapters.cluster.requests import Answer, ApiServer
from gitopsd.cluster_ports import (
    ApiRefusal,
    WatchSignal,
)
from gitopsd.errors import TemporaryError

_ACTIONS = {"ADDED": "Added", "MODIFIED": "Modified", "DELETED": "Deleted"}
_GONE = 410
_OK = 200


class _StaleVersionError(Exception):
    """The server no longer has the history since our version (410): list again."""


@dataclass(frozen=True, slots=True)
class WatchPace:
    """How patient a watch is.

    Attributes:
        silence: A watch that says nothing for so long is begun anew; a server that is well sends
            a bookmark each minute.
        first_pause: Shortest pause before the server is asked again.
        longest_pause: Longest one.
        lasting: A watch that lasted so long was no failure.
        rest: Waits so many seconds.
    """

    silence: timedelta = timedelta(seconds=90)
    first_pause: float = 1.0
    longest_pause: float = 30.0
    lasting: float = 30.0
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep  # noqa: TID251 - an adapter's own pause


async def watch_collection(
    server: ApiServer, path: str, identity: Mapping[str, str], pace: WatchPace
) -> AsyncGenerator[WatchSignal, None]:
    """Yield what changes in a collection; ``Relisted`` first and after every gap.

    A server that closes at once, answers errors or cuts lines is asked again after a jittered
    pause of 1 to 30 s, never in a hot loop.
    """
    failures, version = 0, ""
    while True:
        began = asyncio.get_running_loop().time()
        asked = 0.0
        try:
            if not version:
                version = await _fetch_version(server, path, identity)
                yield WatchSignal("Relisted")
            async with aclosing(_watch_once(server, path, identity, version, pace)) as changes:
                async for reached, signal in changes:
                    version = reached
                    if signal is not None:
                        yield signal
        except _StaleVersionError:
            version = ""
        except TemporaryError as error:
            asked = error.retry_after.total_seconds() if error.retry_after else 0.0
        except (aiohttp.ClientError, OSError):
            pass
        except (
            LineTooLong,
            ValueError,
        ):  # a line longer than the buffer: nobody can say what it held
            version = ""
        lasted = asyncio.get_running_loop().time() - began
        failures = 0 if lasted >= pace.lasting else failures + 1
        await pace.rest(max(_pause(failures, pace), asked))


def _pause(failures: int, pace: WatchPace) -> float:
    """Compute the pause: at least the first one, doubling, up to half as long again by chance."""
    longest = min(pace.longest_pause, pace.first_pause * 2.0 ** min(max(failures - 1, 0), 10))
    return longest * (1 + secrets.randbelow(500) / 1000)


async def _fetch_version(server: ApiServer, path: str, identity: Mapping[str, str]) -> str:
    answer = await server.request("GET", path, query={"limit": "1"}, headers=identity)
    if isinstance(answer, ApiRefusal):
        raise TemporaryError(answer.message, reason=answer.reason)
    return _version_of(answer)


def _version_of(answer: Answer) -> str:
    metadata = answer.body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise TemporaryError("a list has no resourceVersion", reason="BadAnswer")
    return version


async def _watch_once(
    server: ApiServer, path: str, identity: Mapping[str, str], version: str, pace: WatchPace
) -> AsyncGenerator[tuple[str, WatchSignal | None], None]:
    """Watch until the server ends it; yields each version with what it was about."""
    query = {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(240 + secrets.randbelow(60)),
    }
    silence = pace.silence.total_seconds()
    async with server.sessions.lend() as held:
        connection = held.connection
        async with held.session.get(
            connection.server + path,
            params=query,
            headers={**identity, **server.read_credential(connection)},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence),
            proxy=connection.proxy or None,
            server_hostname=connection.server_name or None,
            allow_redirects=False,
        ) as response:
            if response.status == _GONE:
                raise _StaleVersionError
            if response.status != _OK:
                raise _trouble(server, path, response.status, await response.content.read(65536))
            async for line in response.content:
                version, signal = _read_event(_parse(line), version)
                yield version, signal
                if held.retired:  # a newer connection took its place: go on with that
                    return


def _trouble(server: ApiServer, path: str, status: int, content: bytes) -> TemporaryError:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    try:
        refusal = server.refusal("WATCH", path, status, body, {})
    except TemporaryError as error:
        return error
    return TemporaryError(f"watch {path}: {refusal.message}", reason=refusal.reason)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise TemporaryError("a watch line was cut", reason="BadAnswer") from error
    if not isinstance(event, dict):
        raise TemporaryError("a watch line is no JSON object", reason="BadAnswer")
    return event


def _read_event(event: dict[str, Any], version: str) -> tuple[str, WatchSignal | None]:
    obj = event.get("object")
    if not isinstance(obj, dict):
        raise TemporaryError("a watch event has no object", reason="BadAnswer")
    if event.get("type") == "ERROR":
        if obj.get("code") == _GONE:
            raise _StaleVersionError
        raise TemporaryError(f"watch: {str(obj.get('message', 'error'))[:200]}")
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        version = str(metadata.get("resourceVersion", version))
        metadata.pop("managedFields", None)
    action = _ACTIONS.get(str(event.get("type")))
    return version, WatchSignal(action, obj) if action is not None else None
