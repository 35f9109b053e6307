"""What Verify, Certify and a monitor check against the application itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """One HTTP check of Verify and Certify.

    Attributes:
        name: What people call it; made from service and path when not given.
        service: Service reached through the API server's proxy; empty for a direct URL.
        namespace: Namespace of the service; the stage's when empty.
        port: Port name or number of the service.
        scheme: ``http`` or ``https`` behind the proxy.
        url: Direct URL; empty when a service is named.
        path: Path and query.
        method: HTTP method.
        headers: Extra request headers.
        status: Expected status.
        json_path: JSONPath-like dotted path -> expected value.
        body_contains: Text that the body must hold; empty for none.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt, body included.
        successes: Successes in a row that are needed.
        max_latency: Longest whole attempt that counts as a success; None for no bound.
        follow_redirects: Whether redirects (same host only) are followed.
        max_body_bytes: Longest body that is read.
    """

    name: str
    service: str = ""
    namespace: str = ""
    port: str = ""
    scheme: str = "http"
    url: str = ""
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    json_path: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    body_contains: str = ""
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1
    max_latency: timedelta | None = None
    follow_redirects: bool = False
    max_body_bytes: int = 1_000_000


Check: TypeAlias = HttpCheck
"""A configured check; more kinds join here."""
