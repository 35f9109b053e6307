"""One query to a server with Prometheus' HTTP API: bounded, signed in, without redirects.

Source: Prometheus documentation, "HTTP API", "Expression queries". Queries are posted as forms, so
that long ones fit; Thanos, Mimir and VictoriaMetrics take them alike.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

import orjson

from gitopsd.adapters.asking_http import (
    HttpAsker,
    HttpQuestion,
    HttpReply,
    find_type_problem,
)
from gitopsd.adapters.notify.outgoing import find_pause, read_token
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import MetricsServer, MetricWindow, Unclear
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock

LONGEST = 1_048_576
"""Longest answer that is read, in bytes: one series needs a hundredth; a million of them have no
meaning here and would cost minutes."""

_OK = 200
_SAID_BY_API = (400, 422, 503)
_REDIRECTS = range(300, 400)


class PrometheusClient:
    """Asks servers.

    Args:
        asker: Connections.
        clock: Time that a wish for patience is counted from.
    """

    def __init__(self, asker: HttpAsker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock

    async def fetch(
        self, server: MetricsServer, query: str, window: MetricWindow, timeout: timedelta
    ) -> Json | Unclear:
        """Ask one query for a moment or a range.

        Returns:
            The JSON that was answered, or why there is none that could be read.

        Raises:
            TemporaryError: The server does not answer, or answers more than is read.
            PermanentError: The address is refused, or a file cannot be used.
        """
        where = urlsplit(server.url).netloc
        form = {"query": query, "timeout": f"{timeout.total_seconds():g}s"}
        if window.ranged:
            form |= {
                "start": _write_time(window.start),
                "end": _write_time(window.end),
                "step": f"{window.step.total_seconds():g}",
            }
        else:
            form["time"] = _write_time(window.end)
        path = "/api/v1/query_range" if window.ranged else "/api/v1/query"
        try:
            reply = await self._asker.fetch(
                HttpQuestion(
                    url=server.url.rstrip("/") + path,
                    where=where,
                    timeout=timeout,
                    longest=LONGEST,
                    method="POST",
                    headers={
                        "Content-Type": "application/x-www-form-urlencoded",
                        **_sign_in(where, server),
                    },
                    body=urlencode(form).encode(),
                    tls=await _trust(server),
                )
            )
        except TemporaryError as error:
            more = "; a query that finds one series answers little" if _is_long(error) else ""
            raise TemporaryError(f"{error.message}{more}") from error
        return self._read(where, reply)

    def _read(self, where: str, reply: HttpReply) -> Json | Unclear:
        problem = find_type_problem(reply.headers)
        readable = reply.status == _OK or reply.status in _SAID_BY_API
        if not readable or (problem and reply.status != _OK):
            more = "; redirects are not followed" if reply.status in _REDIRECTS else ""
            pause = find_pause(reply.headers, self._clock.now())
            return Unclear(f"{where} answered {reply.status}{more}", pause)
        if problem:
            return Unclear(f"{where} answered {problem}")
        try:
            document: Json = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            return Unclear(redact_clause(f"{where} answered what is no JSON: {error}"))
        succeeded = isinstance(document, dict) and document.get("status") == "success"
        if reply.status != _OK and succeeded:
            return Unclear(f"{where} answered {reply.status}")
        return document


def _write_time(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _is_long(error: TemporaryError) -> bool:
    return f"more than {LONGEST} bytes" in error.message


def _sign_in(where: str, server: MetricsServer) -> dict[str, str]:
    """Make the header that signs in; files are read anew, so that a rotated one counts at once.

    Raises:
        TemporaryError: A file cannot be read.
    """
    if server.token_file:
        return {"Authorization": f"Bearer {read_token(where, server.token_file)}"}
    if server.username:
        try:
            password = load_secret(server.password_file)
        except PermanentError as error:
            raise TemporaryError(f"{where}: {error.message}") from error
        pair = base64.b64encode(server.username.encode() + b":" + password)
        return {"Authorization": f"Basic {pair.decode()}"}
    return {}


async def _trust(server: MetricsServer) -> ssl.SSLContext | None:
    """Load the certificates that count; None for those that the system trusts.

    Raises:
        TemporaryError: The file cannot be used.
    """
    if not server.ca_file:
        return None
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=server.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise TemporaryError(
            f"{server.ca_file} holds no CA certificates that can be used: {error}"
        ) from error
