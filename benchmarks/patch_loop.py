"""The limit: a bare loop that sends one server-side apply for each object, and knows nothing else.

The same HTTP client, session settings and identity as gitopsd's own; the bodies are bytes before
the clock starts, the connections are open, and answers are read to their end but not parsed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from gitopsd.adapters.cluster.connections import Connection, load_connection
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.kube.objects import kind_of, name_of, namespace_of, string_at

IN_FLIGHT = 32
_OK = range(200, 300)
_PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Service": "services",
    "Deployment": "deployments",
}
_QUERY = "fieldManager=loop&force=true&fieldValidation=Strict"


class LoopFailedError(Exception):
    """An apply of the loop was refused; the message is the server's answer."""


def path_of(obj: JsonObject) -> str:
    """Tell where an object is applied to."""
    version = string_at(obj, "apiVersion")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace_of(obj)}/{_PLURALS[kind_of(obj)]}/{name_of(obj)}"


@dataclass(frozen=True, slots=True)
class PatchLoop:
    """A warm session to one API server.

    Attributes:
        connection: Address and credential.
        session: The pool.
    """

    connection: Connection
    session: aiohttp.ClientSession

    async def run(self, objects: Sequence[JsonObject]) -> float:
        """Apply each object once, `IN_FLIGHT` at a time; returns the seconds that it took.

        Raises:
            LoopFailedError: One of them was refused.
        """
        server, headers = self.connection.server, self.connection.authorization()
        headers["Content-Type"] = "application/apply-patch+yaml"
        waiting = [(f"{server}{path_of(obj)}?{_QUERY}", orjson.dumps(obj)) for obj in objects]
        waiting.reverse()
        await self._warm_up()

        async def take() -> None:
            while waiting:
                url, body = waiting.pop()
                async with self.session.patch(url, data=body, headers=headers) as answer:
                    content = await answer.read()
                    if answer.status not in _OK:
                        raise LoopFailedError(f"{url}: {answer.status} {content[:300]!r}")

        begun = time.perf_counter()
        await asyncio.gather(*(take() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - begun

    async def _warm_up(self) -> None:
        """Open every connection."""
        url, headers = f"{self.connection.server}/version", self.connection.authorization()

        async def look() -> None:
            async with self.session.get(url, headers=headers) as answer:
                await answer.read()

        await asyncio.gather(*(look() for _ in range(IN_FLIGHT)))


@asynccontextmanager
async def run_patch_loop(kubeconfig: Path) -> AsyncIterator[PatchLoop]:
    """Open a session for the loop."""
    connection = await load_connection(ClusterSpec("loop", kubeconfig=str(kubeconfig)))
    connector = aiohttp.TCPConnector(
        limit=IN_FLIGHT, ssl=connection.tls if connection.tls is not None else True
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        yield PatchLoop(connection, session)
