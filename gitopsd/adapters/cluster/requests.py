"""Sends requests to one API server and sorts its answers into values and trouble."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import orjson

from gitopsd.adapters.cluster.connections import (
    CREDENTIAL_RETRY,
    Connection,
    Stamps,
    are_current,
)
from gitopsd.adapters.cluster.local_files import clause_of
from gitopsd.adapters.cluster.sessions import Held, Sessions
from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import Json
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.kube.statuses import Status, StatusKind, classify, is_retryable, parse_status
from gitopsd.ports import (
    Telemetry,
)

REQUEST_TIMEOUT = timedelta(seconds=10)
CONNECT_TIMEOUT = timedelta(seconds=5)
LARGEST_ANSWER = 64 * 1024 * 1024
_OK = range(200, 300)
_REFUSED = range(400, 500)
_NOT_FOUND = 404
_PATIENCE = (408, 429)
_SAID_WITH_500 = (StatusKind.UNKNOWN_FIELD, StatusKind.STALE_FIELDS)
"""Server-side apply answers 500 when it cannot read the fields of a manifest."""

JSON_TYPE = "application/json"
APPLY_TYPE = "application/apply-patch+yaml"
"""JSON is YAML: bodies are orjson's, which costs a fifth of the generated client."""
JSON_PATCH_TYPE = "application/json-patch+json"

NOT_SERVED = "NotServed"
"""Reason of the error for a path that the server does not know at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer.

    Attributes:
        status: HTTP status.
        body: Parsed JSON object.
        headers: Response headers, lower case.
    """

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


class ApiServer:
    """Requests to one API server, each bounded.

    Args:
        spec: How to reach it.
        telemetry: Where requests are counted.
        timeout: Bound of one request, from the wait for a free connection to the last byte.
    """

    def __init__(
        self, spec: ClusterSpec, telemetry: Telemetry, timeout: timedelta = REQUEST_TIMEOUT
    ) -> None:
        self.spec = spec
        self.sessions = Sessions(spec)
        self._telemetry = telemetry
        self._timeout = timeout
        self._sent_with: Stamps = ()
        self._refused_with: Stamps | None = None

    def find_renewal(self) -> bool:
        """Tell, once, that a file changed since the credential, or the server, was refused."""
        if self._refused_with is None or are_current(self._refused_with):
            return False
        self._refused_with = None
        return True

    @property
    def is_refused(self) -> bool:
        """Whether our credential, or the server's certificate, was refused last."""
        return self._refused_with is not None

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
        """Send one request of Kubernetes' own API.

        Raises:
            TemporaryError: No answer in time, 5xx, 408, 429, a refused credential (401), or an
                answer that no API server gives: something else stands in its place.
        """
        data = orjson.dumps(body) if body is not None else None
        sent = {"Content-Type": content_type} if data is not None else {}
        status, answered, content = await self.fetch(
            method, path, query=query, data=data, headers={**sent, **(headers or {})}
        )
        parsed = parse_json(content)
        if status not in _OK:
            return self.refusal(method, path, status, parsed, answered)
        if not isinstance(parsed, dict):
            said = (
                f"more than {LARGEST_ANSWER} bytes"
                if len(content) > LARGEST_ANSWER
                else f"{answered.get('content-type', 'nothing')} instead of JSON"
            )
            message = f"{self._where(method, path)}: HTTP {status} with {said}"
            raise TemporaryError(message, reason="BadAnswer")
        return Answer(status, parsed, answered)

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
        bound = (timeout or self._timeout).total_seconds()
        where = self._where(method, path)
        try:
            async with asyncio.timeout(bound), self.sessions.lend() as held:
                try:
                    return await self._send(held, method, path, query, data, headers, largest)
                except aiohttp.ServerDisconnectedError:
                    # The server closed an idle connection just as it was used again. aiohttp
                    # itself repeats all but POST and PATCH; an apply may be sent twice as well.
                    if dict(headers or {}).get("Content-Type") != APPLY_TYPE:
                        raise
                    return await self._send(held, method, path, query, data, headers, largest)
        except TimeoutError as error:
            self._count("timeout")
            raise TemporaryError(f"{where}: no answer within {bound:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            self._count("error")
            self._refused_with = self._sent_with
            message = f"{where}: {await self._distrust(error)}"
            raise TemporaryError(message, retry_after=CREDENTIAL_RETRY, reason="Tls") from error
        except (aiohttp.ClientError, OSError) as error:
            self._count("error")
            raise TemporaryError(f"{where}: {clause_of(error)}") from error

    async def _send(
        self,
        held: Held,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str] | None,
        largest: int,
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = held.connection
        credential = self.read_credential(connection)
        async with held.session.request(
            method,
            connection.server + path,
            params=query,
            data=data,
            headers={**(headers or {}), **credential},
            allow_redirects=False,
            proxy=connection.proxy or None,
            server_hostname=connection.server_name or None,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT.total_seconds()),
        ) as response:
            content = await _read_bounded(response, largest)
            self._count(str(response.status))
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return response.status, lowered, content

    def read_credential(self, connection: Connection) -> dict[str, str]:
        """Read the header that carries the credential, and note which files it comes from.

        Raises:
            PermanentError: The token file cannot be read.
            TemporaryError: It is empty; that it changes is told like the end of a refusal.
        """
        self._sent_with = connection.credential_stamps()
        try:
            return connection.authorization()
        except TemporaryError:
            self._refused_with = self._sent_with
            raise

    def refusal(
        self, method: str, path: str, status: int, body: Any, headers: Mapping[str, str]
    ) -> ApiRefusal:
        """Read a refusal; one that is no verdict is raised.

        Only what an API server itself says, as a ``Status``, is believed: a 404 of a load balancer
        in front of it does not mean that an object is gone.

        Raises:
            TemporaryError: The same request may succeed later.
        """
        parsed = parse_status(status, body, headers.get("retry-after", ""))
        message = redact_clause(parsed.message) or f"HTTP {status}"
        where = self._where(method, path)
        kind = classify(parsed)
        if kind is StatusKind.UNAUTHORIZED or _is_anonymous(parsed):
            self._refused_with = self._sent_with
            raise TemporaryError(
                f"{where}: the cluster refuses our credential: {message}",
                retry_after=CREDENTIAL_RETRY,
                reason="Credential",
            )
        genuine = isinstance(body, Mapping) and body.get("kind") == "Status"
        definite = status in _REFUSED and status not in _PATIENCE
        if is_retryable(parsed) or not (definite or kind in _SAID_WITH_500):
            raise TemporaryError(f"{where}: {message}", retry_after=parsed.retry_after)
        if not genuine:
            reason = NOT_SERVED if status == _NOT_FOUND else "BadAnswer"
            said = f"HTTP {status} with {headers.get('content-type', 'nothing')}"
            raise TemporaryError(f"{where}: {said} instead of a Status", reason=reason)
        causes = tuple((cause.field, cause.reason, cause.message) for cause in parsed.causes)
        return ApiRefusal(status, parsed.reason, message, causes)

    async def _distrust(self, error: aiohttp.ClientConnectorCertificateError) -> str:
        async with self.sessions.lend() as held:
            trust = held.connection.trust
        cause = error.certificate_error
        said = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
        return (
            f"the certificate of {error.host}:{error.port} is not trusted: {said} (checked "
            f"against {trust}). Give the CA that signed it, or the name that is in it"
        )

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self.spec.name}:{path.partition('?')[0]}"

    def _count(self, code: str) -> None:
        self._telemetry.count("gitopsd_cluster_requests_total", code=code)

    async def close(self) -> None:
        """Close the session."""
        await self.sessions.close()


def _is_anonymous(status: Status) -> bool:
    """Whether the server did not see any credential: its refusal is not about the request."""
    return status.code == 403 and 'User "system:anonymous"' in status.message  # noqa: PLR2004 - HTTP


async def _read_bounded(response: aiohttp.ClientResponse, largest: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            response.close()
            break
    return b"".join(chunks)


def parse_json(content: bytes) -> Any:
    """Parse JSON; None for anything else."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
