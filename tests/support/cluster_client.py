"""A small synchronous client of a test cluster's API server, for the harness itself.

What is tested uses gitopsd's own adapters or kubectl; this one prepares and looks.
"""

import base64
import http.client
import json
import select
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from gitopsd.domain.manifests import JsonObject
from tests.support.cluster_certificates import KeyPair

_TIMEOUT_SECONDS = 20
_KEPT_SECONDS = 30  # servers close what is idle for 75 seconds and more
_OK = range(200, 300)
APPLY = "application/apply-patch+yaml"
"""Content type of a server-side apply; JSON is YAML."""


class ApiError(Exception):
    """The API server refused; ``status`` is the HTTP status, ``answer`` its Status object."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        """Keep what the API server said."""
        super().__init__(f"{status}: {answer.get('message', answer)}")
        self.status = status
        self.answer = answer


class _Kept:
    """Open connections that wait for a next request; a handshake costs more than most answers."""

    def __init__(self) -> None:
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque()

    def take(self) -> http.client.HTTPConnection | None:
        """Return one that the server has not closed and will not soon, for one caller alone."""
        with suppress(IndexError):
            while True:
                connection, since = self._idle.pop()
                fresh = time.monotonic() - since < _KEPT_SECONDS
                if fresh and connection.sock is not None and not _is_readable(connection.sock):
                    return connection
                connection.close()
        return None

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Take one back whose answer has been read."""
        self._idle.append((connection, time.monotonic()))

    def __del__(self) -> None:
        """Close them: nobody else knows of them."""
        for connection, _ in self._idle:
            connection.close()


def _is_readable(waiting: socket.socket) -> bool:
    """Return whether something came on a connection that waits: it is at its end then."""
    poll = select.poll()
    poll.register(waiting, select.POLLIN)
    return bool(poll.poll(0))


@dataclass(frozen=True, slots=True)
class ClusterClient:
    """Requests as one identity; any thread may send some.

    Attributes:
        address: The API server's.
        port: The API server's.
        tls: Trusts the cluster's authority and holds the identity's certificate.
        token: The identity's bearer token; empty when the certificate says who asks.
    """

    address: IPv4Address
    port: int
    tls: ssl.SSLContext
    token: str = ""
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    @property
    def credentials(self) -> dict[str, str]:
        """Headers that say who asks."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """Make a connection, which opens with its first request."""
        return http.client.HTTPSConnection(
            str(self.address), self.port, timeout=timeout_seconds, context=self.tls
        )

    def request(
        self,
        method: str,
        path: str,
        body: JsonObject | None = None,
        *,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the decoded answer; ``{}`` when it is no JSON object.

        Raises:
            ApiError: The answer is not 2xx.
            OSError: The API server cannot be reached.
        """
        status, answer = self._send(method, path, body, content_type)
        decoded = _decode(answer)
        if status not in _OK:
            raise ApiError(status, decoded or {"message": answer.decode(errors="replace")})
        return decoded

    def _send(
        self, method: str, path: str, body: JsonObject | None, content_type: str
    ) -> tuple[int, bytes]:
        connection = self._kept.take() or self.connect(_TIMEOUT_SECONDS)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={
                    "Content-Type": content_type,
                    "Accept": "application/json",
                    "User-Agent": "gitopsd-test-harness",
                    **self.credentials,
                },
            )
            response = connection.getresponse()
            answer = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        self._kept.keep(connection)
        return answer

    def get(self, path: str) -> dict[str, Any]:
        """Return the object, or list, at ``path``."""
        return self.request("GET", path)

    def create(self, path: str, body: JsonObject) -> dict[str, Any]:
        """Create an object in the collection at ``path`` and return it."""
        return self.request("POST", path, body)

    def apply(self, path: str, body: JsonObject) -> dict[str, Any]:
        """Apply an object at its own ``path`` on the server's side and return it.

        Safe to repeat: the same body leaves the object as it is.
        """
        query = "?fieldManager=gitopsd-test-harness&force=true"
        return self.request("PATCH", path + query, body, content_type=APPLY)

    def delete(self, path: str) -> None:
        """Delete the object at ``path``.

        Safe to repeat: one that is gone counts as deleted.
        """
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise

    def answers(self, path: str) -> bool:
        """Return whether a GET of ``path`` succeeds now."""
        try:
            self.get(path)
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True


def _decode(answer: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(answer)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def make_kubeconfig(server: str, authority: bytes, user: dict[str, str]) -> dict[str, Any]:
    """Return a kubeconfig with one cluster, one user and one context.

    Args:
        server: URL of the API server.
        authority: The cluster's CA certificate, PEM.
        user: The credentials, as kubeconfig's ``users[].user``.
    """
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "test",
                "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
            }
        ],
        "users": [{"name": "user", "user": user}],
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "user", "namespace": "default"}}
        ],
        "current-context": "test",
    }


def certificate_user(pair: KeyPair) -> dict[str, str]:
    """Return the ``users[].user`` of a kubeconfig for a client certificate."""
    return {
        "client-certificate-data": _base64(pair.certificate),
        "client-key-data": _base64(pair.key),
    }


def save_private(path: Path, document: JsonObject) -> Path:
    """Write ``document`` as JSON, readable by its owner alone, and return ``path``."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
