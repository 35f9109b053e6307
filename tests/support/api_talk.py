"""Raw requests to an API server on one kept connection: whatever it answers is an answer."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.cluster_client import ClusterClient

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
PLAIN = "application/json"
STRATEGIC = "application/strategic-merge-patch+json"
AGENT = "gitopsd-talk"
_TIMEOUT_SECONDS = 30
_WARNING = re.compile(r'299 \S+ "(.*)"', re.DOTALL)


class Said(NamedTuple):
    """What a server said.

    Attributes:
        status: HTTP status.
        answer: The JSON body.
        warnings: Texts of the warning headers.
    """

    status: int
    answer: dict[str, Any]
    warnings: tuple[str, ...]


class ApiTalk:
    """A conversation with one API server; a context manager.

    Args:
        client: Where it is and who asks.
    """

    def __init__(self, client: ClusterClient) -> None:
        self._headers = {"Accept": PLAIN, "User-Agent": AGENT, **client.credentials}
        self._connection = http.client.HTTPSConnection(
            str(client.address), client.port, timeout=_TIMEOUT_SECONDS, context=client.tls
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def say(self, method: str, path: str, body: Any = None, type_: str = PLAIN) -> Said:  # noqa: ANN401 - any JSON
        """Ask and return the answer.

        Args:
            method: HTTP method.
            path: Path and query.
            body: JSON; None: no body.
            type_: The body's media type.
        """
        content = None if body is None else json.dumps(body)
        headers = {**self._headers, "Content-Type": type_}
        try:
            self._connection.request(method, path, content, headers)
            return self._read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ssl.SSLEOFError):
            # The server may close a connection that was idle; nothing was answered on it.
            self._connection.close()
            self._connection.request(method, path, content, headers)
            return self._read()

    def _read(self) -> Said:
        response = self._connection.getresponse()
        content = response.read()
        decoded = json.loads(content) if content.startswith(b"{") else {}
        texts = [
            _WARNING.fullmatch(value)[1].replace('\\"', '"')  # type: ignore[index] # each has this form
            for name, value in response.getheaders()
            if name.lower() == "warning"
        ]
        return Said(response.status, decoded, tuple(texts))
