"""A raw JSON client of the Kubernetes API: the few verbs a node needs, over one pooled session.

It works against a real API server and against the sandbox's alike. Connection trouble and answers
of 429 and 5xx are `TemporaryError`; every other refusal is an `ApiRefusal` with the server's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import aiohttp
import orjson

from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.sandbox.fields import text_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.kubeconfig import Connection

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
WATCH_SILENCE_SECONDS = 60
# A pod with large annotations is one line of a watch; aiohttp refuses lines above its buffer.
READ_BUFFER_BYTES = 4 * 1024 * 1024
NOT_FOUND = 404
CONFLICT = 409
GONE = 410
UNSUPPORTED_MEDIA_TYPE = 415
TOO_MANY_REQUESTS = 429
FIRST_ERROR = 400
FIRST_SERVER_ERROR = 500


class ApiRefusal(PermanentError):  # noqa: N818 - a refusal is an answer, not a breakdown
    """The API server said no.

    Args:
        status: HTTP status.
        message: The server's words.
        reason: The server's reason, e.g. ``NotFound``.
    """

    reason = "ApiRefusal"

    def __init__(self, status: int, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.status = status


class ApiClient:
    """Verbs of the Kubernetes API on plain JSON; an async context manager."""

    def __init__(self, connection: Connection, *, user_agent: str) -> None:
        self._connection = connection
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if connection.token:
            self._headers["Authorization"] = f"Bearer {connection.token}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._connection.tls or True, limit=100),
            headers=self._headers,
            timeout=REQUEST_TIMEOUT,
            read_bufsize=READ_BUFFER_BYTES,
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

    async def fetch(self, path: str, params: Mapping[str, str] | None = None) -> JsonObject:
        """GET one object or list.

        Raises:
            TemporaryError: No answer, or one that asks for patience.
            ApiRefusal: Any other refusal; so for each verb here.
        """
        return await self._send("GET", path, params=params)

    async def fetch_or_none(self, path: str) -> JsonObject | None:
        """GET one object; None when there is none."""
        try:
            return await self.fetch(path)
        except ApiRefusal as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def send_new(self, path: str, body: JsonObject) -> JsonObject:
        """POST a new object to its collection."""
        return await self._send("POST", path, body=body)

    async def send_patch(
        self, path: str, body: JsonObject, *, content_type: str = STRATEGIC_MERGE
    ) -> JsonObject:
        """PATCH an object; a server without strategic merges gets a plain merge patch.

        Safe to repeat: the patch says the wanted end, not a step.
        """
        try:
            return await self._send("PATCH", path, body=body, content_type=content_type)
        except ApiRefusal as error:
            if error.status != UNSUPPORTED_MEDIA_TYPE or content_type == MERGE:
                raise
            return await self._send("PATCH", path, body=body, content_type=MERGE)

    async def send_delete(self, path: str, *, uid: str, grace_seconds: int) -> None:
        """DELETE one object if it is still the one with this uid.

        Safe to repeat: an object that is gone, or another one of that name, is left alone.
        """
        body: JsonObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": grace_seconds,
            "preconditions": {"uid": uid},
        }
        try:
            await self._send("DELETE", path, body=body)
        except ApiRefusal as error:
            if error.status not in {NOT_FOUND, CONFLICT}:
                raise

    async def fetch_events(
        self, path: str, params: Mapping[str, str], *, lasting: timedelta
    ) -> AsyncIterator[JsonObject]:
        """WATCH a collection: yields ``{"type", "object"}`` until the server ends the stream.

        Args:
            path: The collection.
            params: Selectors and the resourceVersion to start after.
            lasting: How long the server shall keep the stream.

        Raises:
            TemporaryError: The stream broke or was silent for too long.
            ApiRefusal: The server refused the watch.
        """
        seconds = int(lasting.total_seconds())
        query = {
            **params,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        # A bookmark comes each minute on a healthy stream; twice that without a byte is a dead one.
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=5, sock_read=2 * WATCH_SILENCE_SECONDS
        )
        try:
            async with self._client.get(
                f"{self._connection.server}{path}", params=query, timeout=timeout
            ) as response:
                if response.status >= FIRST_ERROR:
                    raise _refusal(response.status, await response.read())
                async for line in response.content:
                    yield orjson.loads(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"watch of {path} broke: {error!r}"
            raise TemporaryError(message) from error

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "the API client is used outside of its context"
            raise PermanentError(message)
        return self._session

    async def _send(
        self,
        verb: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        try:
            async with self._client.request(
                verb,
                f"{self._connection.server}{path}",
                params=params,
                data=None if body is None else orjson.dumps(body),
                headers={"Content-Type": content_type} if body is not None else None,
            ) as response:
                payload = await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            message = f"{verb} {path}: the API server did not answer: {error!r}"
            raise TemporaryError(message) from error
        if response.status >= FIRST_ERROR:
            raise _refusal(response.status, payload)
        document: Json = orjson.loads(payload)
        return document if isinstance(document, Mapping) else {}


def _refusal(status: int, payload: bytes) -> ApiRefusal | TemporaryError:
    try:
        document: Json = orjson.loads(payload)
    except orjson.JSONDecodeError:
        document = None
    message = text_at(document, "message") or payload.decode(errors="replace")[:500]
    if status == TOO_MANY_REQUESTS or status >= FIRST_SERVER_ERROR:
        return TemporaryError(f"the API server answered {status}: {message}")
    return ApiRefusal(status, message, reason=text_at(document, "reason", default="Refused"))
