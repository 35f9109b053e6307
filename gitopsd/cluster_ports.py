"""What the engine asks of a cluster, whatever speaks to it.

Refusals are values: the server answered. `TemporaryError` means that nobody knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from gitopsd.domain.manifests import JsonObject, ObjectRef

LOCKED_OUT = frozenset({"Credential", "Tls"})
"""Reasons of a TemporaryError that only a person ends: the cluster refuses our credential, or we
its certificate. Whatever was asked, nothing else can be asked either."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """How a kind is addressed.

    Attributes:
        plural: Resource name in URLs.
        namespaced: Whether its objects live in a namespace.
        verbs: Verbs the server offers.
        has_status: Whether it has a status subresource.
    """

    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    has_status: bool = False


@dataclass(frozen=True, slots=True)
class ApiRefusal:
    """The API server said no, definitely (4xx but 401, 408 and 429).

    Attributes:
        code: HTTP status.
        reason: ``Status.reason``, e.g. ``Invalid``, ``Forbidden``, ``Conflict``, ``NotFound``.
        message: ``Status.message``, redacted.
        causes: ``Status.details.causes`` as (field, reason, message).
    """

    code: int
    reason: str
    message: str
    causes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedObject:
    """The server took an apply.

    Attributes:
        live: The object as the server returned it, ``managedFields`` included.
        created: Whether it did not exist before (201).
    """

    live: JsonObject
    created: bool


@dataclass(frozen=True, slots=True)
class ProxiedRequest:
    """An HTTP request to a service through the API server.

    Attributes:
        namespace: Namespace of the service.
        service: Service name.
        port: Port name or number.
        scheme: ``http`` or ``https`` behind the proxy.
        path: Path and query.
        method: HTTP method.
        headers: Request headers.
        timeout: Bound of the whole attempt, body included.
        max_body_bytes: Longest body that is read.
    """

    namespace: str
    service: str
    port: str
    scheme: str
    path: str
    method: str
    headers: Mapping[str, str]
    timeout: timedelta
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer read within its bounds.

    Attributes:
        status: HTTP status.
        headers: Lower-case header names -> values.
        body: Body, at most the bound.
        truncated: Whether the body was longer than the bound.
        from_proxy: True when the API server itself answered instead of the service.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    from_proxy: bool = False


@dataclass(frozen=True, slots=True)
class PodCommand:
    """A command to run in a container.

    Attributes:
        namespace: Namespace of the pod.
        pod: The pod.
        container: The container.
        command: Program and arguments; no shell is involved.
        timeout: Bound of the whole attempt.
        max_output_bytes: Longest output that is kept, of each of its two streams.
    """

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    timeout: timedelta
    max_output_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What came of a command in a container.

    Attributes:
        exit_code: How it ended; None when it was not started, or not seen to end.
        stdout: What it wrote, at most the bound.
        stderr: What it wrote about trouble, at most the bound.
        message: Why there is no exit code, in the cluster's words; empty when there is one.
        timed_out: Whether it was still running when the time was over.
    """

    exit_code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    message: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class WatchSignal:
    """Something changed in a watched collection.

    Attributes:
        action: ``Added``, ``Modified``, ``Deleted`` or ``Relisted`` (look at everything again).
        obj: The object; empty for ``Relisted``.
    """

    action: str
    obj: JsonObject = field(default_factory=dict)


class Cluster(Protocol):
    """One Kubernetes cluster, spoken to as one identity, over one pooled session.

    Every method raises TemporaryError when the server does not answer, answers 5xx, 429 (with its
    Retry-After), 408, or refuses the credential (401; ``reason`` ``Credential``), and when its
    certificate is not trusted (``Tls``).
    """

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """Tell how a kind is addressed; None when the server does not serve it.

        Refreshes its discovery on a miss, at most once in 10 s, and after `forget_kinds`.
        """

    def forget_kinds(self) -> None:
        """Drop the discovery cache, after a CustomResourceDefinition was applied."""

    async def get(self, ref: ObjectRef) -> JsonObject | ApiRefusal | None:
        """Read an object; None when it does not exist."""

    async def fetch_list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = ""
    ) -> tuple[JsonObject, ...] | ApiRefusal:
        """List a collection completely, in pages. An empty namespace means all."""

    async def apply(
        self, obj: JsonObject, *, manager: str, force: bool, dry_run: bool = False
    ) -> AppliedObject | ApiRefusal:
        """Server-side apply with strict field validation. Safe to repeat: same bytes no change."""

    async def create(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """Create an object; an existing one is a refusal ``AlreadyExists``."""

    async def replace(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """Replace an object whose ``resourceVersion`` must still be the given one (409 if not)."""

    async def patch(
        self, ref: ObjectRef, operations: Sequence[JsonObject]
    ) -> AppliedObject | ApiRefusal:
        """JSON patch (RFC 6902)."""

    async def delete(
        self, ref: ObjectRef, *, uid: str = "", propagation: str = "Background"
    ) -> ApiRefusal | None:
        """Delete an object, with a uid precondition when given; None when accepted or gone."""

    async def fetch_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int
    ) -> tuple[str, ...] | ApiRefusal:
        """Read the last lines of a container's log."""

    async def send(self, request: ProxiedRequest) -> HttpAnswer | ApiRefusal:
        """Send an HTTP request to a service through the API server's proxy; follows no redirect."""

    async def run_command(self, command: PodCommand) -> CommandOutput | ApiRefusal:
        """Run a command in a container that runs, without a terminal and without input."""

    def watch(self, api_version: str, kind: str, namespace: str) -> AsyncIterator[WatchSignal]:
        """Watch a collection; reconnects with back-off for as long as it is iterated."""

    async def fetch_schema(self, ref: ObjectRef) -> JsonObject | None:
        """Read the OpenAPI schema of a kind; None when the server publishes none."""

    async def close(self) -> None:
        """Close the session."""


class Clusters(Protocol):
    """The configured clusters."""

    def get(self, name: str, *, service_account: str = "", namespace: str = "") -> Cluster:
        """Find the client of a cluster as gitopsd itself, or impersonating a service account.

        Raises:
            PermanentError: No cluster of that name is configured, or its file cannot be used
                (an exec plug-in is refused by name).
        """

    def find_renewed(self) -> tuple[str, ...]:
        """Name clusters that may take our credential now: a file changed since it was refused.

        What was refused is a credential, or a certificate of the server that is not trusted. Each
        change is told once, to this process alone.
        """
