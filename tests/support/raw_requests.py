"""Requests to an API server with every header in the caller's hand, and streams of its events."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.cluster_client import ClusterClient

_TIMEOUT_SECONDS = 20
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: Decoded JSON, or text.
    """

    status: int
    headers: Mapping[str, str]
    body: Any


def send(
    client: ClusterClient,
    method: str,
    path: str,
    body: object = None,
    **headers: str,
) -> Reply:
    """Send one request; underscores in header names stand for hyphens."""
    connection = _connect(client)
    try:
        _request(connection, client, method, path, body, headers)
        response = connection.getresponse()
        return _reply(response, response.read())
    finally:
        connection.close()


@contextmanager
def watch(client: ClusterClient, path: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Open a stream of events; it ends with the server's, and is closed with the context."""
    with lines(client, path, **headers) as read:
        yield (json.loads(line) for line in read)


@contextmanager
def lines(client: ClusterClient, path: str, **headers: str) -> Iterator[Iterator[bytes]]:
    """Open a stream of lines; it ends with the server's, and is closed with the context."""
    connection = _connect(client)
    try:
        _request(connection, client, "GET", path, None, headers)
        response = connection.getresponse()
        assert response.status == http.HTTPStatus.OK, response.read()
        yield iter(response)
    finally:
        connection.close()


def _connect(client: ClusterClient) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        str(client.address), client.port, timeout=_TIMEOUT_SECONDS, context=client.tls
    )


def _request(
    connection: http.client.HTTPSConnection,
    client: ClusterClient,
    method: str,
    path: str,
    body: object,
    headers: Mapping[str, str],
) -> None:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    defaults = {"Content-Type": "application/json", "Accept": "application/json"}
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, content, {**defaults, **client.credentials, **said})


def _reply(response: http.client.HTTPResponse, content: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    try:
        body = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    return Reply(response.status, headers, body)
