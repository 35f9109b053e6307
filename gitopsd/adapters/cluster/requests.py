"""Sends requests to one API server and sorts its answers into values and trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import orjson

from gitopsd.adapters.cluster.connections import Connection, load_connection
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import Json
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.kube.statuses import StatusKind, classify, is_retryable, parse_status
from gitopsd.ports import ApiRefusal, Telemetry

REQUEST_TIMEOUT = timedelta(seconds=10)
CONNECT_TIMEOUT = timedelta(seconds=5)
LARGEST_ANSWER = 64 * 1024 * 1024
CREDENTIAL_RETRY = timedelta(seconds=60)
CONNECTIONS = 32
_READ_BUFFER = 2 * 1024 * 1024
_OK = range(200, 300)

JSON_TYPE = "application/json"
APPLY_TYPE = "application/apply-patch+yaml"
"""JSON is YAML: bodies are orjson's, which costs a fifth of the generated client."""
JSON_PATCH_TYPE = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer.

    Attributes:
        status: HTTP status.
        body: Parsed JSON; None for an empty body.
        headers: Response headers.
    """

    status: int
    body: Any
    headers: Mapping[str, str]


class ApiServer:
    """One pooled session to one API server, rebuilt when its files change.

    Args:
        spec: How to reach it.
        telemetry: Where requests are counted.
        timeout: Bound of one request.
    """

    def __init__(
        self, spec: ClusterSpec, telemetry: Telemetry, timeout: timedelta = REQUEST_TIMEOUT
    ) -> None:
        self.spec = spec
        self._telemetry = telemetry
        self._timeout = timeout
        self._connection: Connection | None = None
        self._signature: tuple[tuple[int, int], ...] = ()
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> tuple[Connection, aiohttp.ClientSession]:
        """Find the session, connecting anew when a file it was made from changed.

        Raises:
            PermanentError: The cluster's file cannot be used.
        """
        async with self._opening:
            connection, session = self._connection, self._session
            if connection is not None and session is not None:
                if connection.signature() == self._signature:
                    return connection, session
                await session.close()
            connection = await load_connection(self.spec)
            self._signature = connection.signature()
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS, ssl=connection.tls if connection.tls is not None else True
            )
            session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                read_bufsize=_READ_BUFFER,
                auto_decompress=True,
            )
            self._connection, self._session = connection, session
            return connection, session

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        content_type: str = JSON_TYPE,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | ApiRefusal:
        """Send one request.

        Raises:
            TemporaryError: No answer in time, 5xx, 408, 429, or a refused credential (401).
        """
        data = orjson.dumps(body) if body is not None else None
        sent = {"Content-Type": content_type} if data is not None else {}
        status, answered, content = await self.fetch(
            method, path, query=query, data=data, headers={**sent, **(headers or {})}
        )
        parsed = _parse(content)
        if status in _OK:
            return Answer(status, parsed, answered)
        return self.refusal(method, path, status, parsed, answered)

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
        largest: int = LARGEST_ANSWER,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and read its raw answer within its bounds.

        Raises:
            TemporaryError: No complete answer in time.
        """
        connection, session = await self.open()
        bound = (timeout or self._timeout).total_seconds()
        where = f"{method} {self.spec.name}:{path.partition('?')[0]}"
        try:
            async with asyncio.timeout(bound):
                async with session.request(
                    method,
                    connection.server + path,
                    params=query,
                    data=data,
                    headers={**connection.authorization(), **(headers or {})},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=CONNECT_TIMEOUT.total_seconds()
                    ),
                ) as response:
                    content = await _read_bounded(response, largest)
                    self._count(str(response.status))
                    lowered = {name.lower(): value for name, value in response.headers.items()}
                    return response.status, lowered, content
        except TimeoutError as error:
            self._count("timeout")
            raise TemporaryError(f"{where}: no answer within {bound:g} s") from error
        except aiohttp.ClientError as error:
            self._count("error")
            raise TemporaryError(f"{where}: {_said(error)}") from error
        except OSError as error:
            self._count("error")
            raise TemporaryError(f"{where}: {_said(error)}") from error

    def refusal(
        self, method: str, path: str, status: int, body: Any, headers: Mapping[str, str]
    ) -> ApiRefusal:
        """Read a refusal; one that is no verdict is raised.

        Raises:
            TemporaryError: The same request may succeed later.
        """
        parsed = parse_status(status, body, headers.get("retry-after", ""))
        message = redact_clause(parsed.message) or f"HTTP {status}"
        where = f"{method} {self.spec.name}:{path.partition('?')[0]}"
        if classify(parsed) is StatusKind.UNAUTHORIZED:
            raise TemporaryError(
                f"{where}: the cluster refuses our credential: {message}",
                retry_after=CREDENTIAL_RETRY,
                reason="Credential",
            )
        if is_retryable(parsed) or status >= 500 or status in (408, 429):  # noqa: PLR2004 - HTTP
            raise TemporaryError(f"{where}: {message}", retry_after=parsed.retry_after)
        causes = tuple((cause.reason, cause.field, cause.message) for cause in parsed.causes)
        return ApiRefusal(status, parsed.reason, message, causes)

    def _count(self, code: str) -> None:
        self._telemetry.count("gitopsd_cluster_requests_total", code=code)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
        self._session = self._connection = None


async def _read_bounded(response: aiohttp.ClientResponse, largest: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            response.close()
            break
    return b"".join(chunks)


def _parse(content: bytes) -> Any:
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _said(error: BaseException) -> str:
    return redact_clause((str(error) or type(error).__name__).splitlines()[0][:200])
