"""The client of the API: where the server is, who asks, and errors that say what to do."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from gitopsd.errors import PermanentError, TemporaryError

Document: TypeAlias = Any
"""A JSON document of the API, whose shape openapi.json tells."""

TRIES = 3
"""How often a request is sent while the server does not answer."""

_INFO = "info.json"
_FIRST_TOKEN = "admin.token"  # noqa: S105 - the name of a file
_SHOWN = 300


class ApiError(PermanentError):
    """The server said no.

    Args:
        message: What happened, where, and what to do.
        status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """Which server, and who asks.

    Attributes:
        url: Base URL.
        token: Bearer token.
    """

    url: str
    token: str


def find_target(server: str, token_file: str, environment: Mapping[str, str]) -> Target:
    """Find the server and the token: flags, then variables, then the local data directory.

    The first admin token is never sent anywhere but to the data directory's own process.

    Raises:
        PermanentError: Nothing says where the server is or who asks.
    """
    data_dir = Path(environment.get("GITOPSD_DATA_DIR", "data"))
    url = server or environment.get("GITOPSD_SERVER", "")
    local = not url
    if local:
        url = _read_info(data_dir)
    named = token_file or environment.get("GITOPSD_TOKEN_FILE", "")
    token = "" if token_file else environment.get("GITOPSD_TOKEN", "")
    if not token and named:
        token = _read_token(Path(named))
    if not token and local:
        token = _read_first_token(environment.get("GITOPSD_FIRST_TOKEN_FILE", ""), data_dir)
    if not token:
        message = "no token: set GITOPSD_TOKEN or GITOPSD_TOKEN_FILE, or give --token-file"
        raise PermanentError(message)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise PermanentError(f"{url!r} is no server; write http://HOST:PORT or https://HOST")
    return Target(url.rstrip("/"), token)


def _read_info(data_dir: Path) -> str:
    try:
        return str(json.loads((data_dir / _INFO).read_text())["api"])
    except (OSError, ValueError, KeyError) as error:
        message = (
            f"no server: {data_dir / _INFO} cannot be read. Give --server or set GITOPSD_SERVER, "
            "or start one here: gitopsd serve"
        )
        raise PermanentError(message) from error


def _read_first_token(given: str, data_dir: Path) -> str:
    token = _read_token(Path(given) if given else data_dir / _FIRST_TOKEN)
    if token.startswith("sha256:"):
        message = f"{given} holds only the hash of the first admin token; set GITOPSD_TOKEN"
        raise PermanentError(message)
    return token


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        message = f"token file {path} cannot be read: {error.strerror}"
        raise PermanentError(message) from error


class Client:
    """Asks one server.

    Args:
        target: Which server, and who asks.
        timeout: How long an answer may take, in seconds.
    """

    def __init__(self, target: Target, timeout: float = 30.0) -> None:
        self._target = target
        self._timeout = timeout

    def get(self, path: str, *, timeout: float | None = None, **query: object) -> Document:
        """Read a resource; empty values are left out of the query."""
        return self._ask("GET", _with_query(path, query), None, {}, timeout or self._timeout)

    def list_all(self, path: str, limit: int, **query: object) -> list[Document]:
        """Read a list page by page, until it ends or ``limit`` rows are read."""
        rows: list[Document] = []
        before = ""
        while len(rows) < limit:
            wanted = {**query, "before": before, "limit": min(limit - len(rows), 200)}
            page = self._ask("GET", _with_query(path, wanted), None, {}, self._timeout)
            rows += page["items"]
            before = page.get("next") or ""
            if not before:
                break
        return rows

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Document:
        """Do something, at most once, however often it has to be sent."""
        sent = {name: value for name, value in (body or {}).items() if value is not None}
        key = {"Idempotency-Key": secrets.token_urlsafe(24)}
        return self._ask("POST", path, sent, key, self._timeout)

    @contextmanager
    def stream(self, path: str, **query: object) -> Iterator[Iterator[tuple[str, str]]]:
        """Follow server-sent events: pairs of field and value, blank ones between events."""
        full = _with_query(path, query)
        connection = self._connect(60.0)
        try:
            answer = self._send(connection, "GET", full, None, {})
            if answer.status >= http.client.BAD_REQUEST:
                raise _explain(self._target.url, "GET", full, answer.status, answer.read())
            yield _parse_events(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Document:
        for tried in range(1, TRIES + 1):
            connection = self._connect(timeout)
            try:
                answer = self._send(connection, method, path, body, headers)
                status, raw = answer.status, answer.read()
            except TimeoutError as error:
                raise self._unreachable(error) from error
            except (OSError, http.client.HTTPException) as error:
                if tried == TRIES:
                    raise self._unreachable(error) from error
                continue
            finally:
                connection.close()
            if status >= http.client.BAD_REQUEST:
                raise _explain(self._target.url, method, path, status, raw)
            return json.loads(raw)
        raise AssertionError("unreachable")  # pragma: no cover - the last try answers or raises

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self._target.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        sent = {"Authorization": f"Bearer {self._target.token}", **headers}
        raw = None
        if body is not None:
            raw = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        prefix = urlsplit(self._target.url).path
        connection.request(method, f"{prefix}/api/v1{path}", body=raw, headers=sent)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> TemporaryError:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return TemporaryError(
            f"{self._target.url} does not answer: {what}. Look whether it runs: "
            f"curl {self._target.url}/health"
        )


def _with_query(path: str, query: Mapping[str, object]) -> str:
    wanted = {name: str(value) for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def _explain(url: str, method: str, path: str, status: int, raw: bytes) -> ApiError:
    """Say what happened, where, and what to do next."""
    try:
        problem = json.loads(raw)
        detail, remedy = str(problem["detail"]), str(problem.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        detail = f"it answered {status}: {raw[:_SHOWN].decode(errors='replace')}"
        remedy = "Look whether this is a gitopsd server."
    where = f"{method} {url}/api/v1{path.partition('?')[0]} answered {status}"
    return ApiError(f"{detail}\n  where: {where}\n  what to do: {remedy}", status)


def _parse_events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    for raw in answer:
        line = raw.decode(errors="replace").rstrip("\r\n")
        name, _, value = line.partition(":")
        yield name, value.removeprefix(" ")


def path_of(*parts: str) -> str:
    """Make a path of parts that may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def make_client(server: str, token_file: str, timeout: float = 30.0) -> Client:
    """Make the client of this invocation.

    Raises:
        PermanentError: Nothing says where the server is or who asks.
    """
    environment = os.environ  # noqa: TID251 - the client's variables are no settings of the daemon
    return Client(find_target(server, token_file, environment), timeout)
