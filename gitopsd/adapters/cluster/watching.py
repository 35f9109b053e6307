"""Lists and watches one collection, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from gitopsd.adapters.cluster.requests import Answer, ApiServer
from gitopsd.errors import TemporaryError
from gitopsd.ports import ApiRefusal, WatchSignal

_ACTIONS = {"ADDED": "Added", "MODIFIED": "Modified", "DELETED": "Deleted"}
_FIRST_BACKOFF_SECONDS = 0.8
_LONGEST_BACKOFF_SECONDS = 30.0
_SHORTEST_WATCH_SECONDS = 1.0
_GONE = 410


class _StaleVersionError(Exception):
    """The server no longer has the history since our version (410): list again."""


async def watch_collection(
    server: ApiServer, path: str, identity: Mapping[str, str]
) -> AsyncIterator[WatchSignal]:
    """Yield what changes in a collection; ``Relisted`` first and after every gap.

    A server that closes at once, answers errors or cuts lines is asked again with a jittered
    back-off of 0.8 to 30 s, never in a hot loop.
    """
    failures = 0
    version = ""
    while True:
        began = asyncio.get_running_loop().time()
        try:
            if not version:
                version = await _list_version(server, path, identity)
                yield WatchSignal("Relisted")
            async for reached, signal in _watch_once(server, path, identity, version):
                version = reached
                if signal is not None:
                    yield signal
        except _StaleVersionError:
            version = ""
        except (TemporaryError, aiohttp.ClientError, TimeoutError, OSError):
            failures += 1
        lasted = asyncio.get_running_loop().time() - began
        failures = 0 if lasted > _LONGEST_BACKOFF_SECONDS else failures
        if lasted < _SHORTEST_WATCH_SECONDS:
            failures = max(failures, 1)
        if failures:
            await asyncio.sleep(_backoff(failures))  # noqa: TID251 - an adapter's own back-off


def _backoff(failures: int) -> float:
    longest: float = min(
        _LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 6)
    )
    jitter: float = 0.5 + secrets.randbelow(500) / 1000
    return longest * jitter


async def _list_version(server: ApiServer, path: str, identity: Mapping[str, str]) -> str:
    answer = await server.request("GET", path, query={"limit": "1"}, headers=identity)
    if isinstance(answer, ApiRefusal):
        raise TemporaryError(answer.message, reason=answer.reason)
    return _version_of(answer)


def _version_of(answer: Answer) -> str:
    body = answer.body if isinstance(answer.body, dict) else {}
    metadata = body.get("metadata")
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""


async def _watch_once(
    server: ApiServer, path: str, identity: Mapping[str, str], version: str
) -> AsyncIterator[tuple[str, WatchSignal | None]]:
    """Watch until the server ends it; yields each version with what it was about."""
    connection, session = await server.open()
    seconds = 240 + secrets.randbelow(60)
    query = {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(seconds),
    }
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=seconds + 30)
    async with session.get(
        connection.server + path,
        params=query,
        headers={**connection.authorization(), **identity},
        timeout=timeout,
        allow_redirects=False,
    ) as response:
        if response.status == _GONE:
            raise _StaleVersionError
        if response.status != 200:  # noqa: PLR2004 - HTTP OK
            raise TemporaryError(f"watch {path}: HTTP {response.status}")
        async for line in response.content:
            event = _parse(line)
            version, signal = _read_event(event, version)
            yield version, signal


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise TemporaryError("a watch line was cut") from error
    if not isinstance(event, dict):
        raise TemporaryError("a watch line is no JSON object")
    return event


def _read_event(event: dict[str, Any], version: str) -> tuple[str, WatchSignal | None]:
    obj = event.get("object")
    if not isinstance(obj, dict):
        raise TemporaryError("a watch event has no object")
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
