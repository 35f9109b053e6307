"""What Verify, Certify and a monitor check against the application itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from gitopsd.domain.metrics import Condition, OnEmpty, Worsening


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


@dataclass(frozen=True, slots=True)
class HttpListCheck:
    """Several HTTP requests that must all be answered as expected in one attempt.

    Attributes:
        name: What people call it.
        requests: What is asked; each one's ``name`` tells it from the others.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt: the requests are made at the same time.
        successes: Successes in a row that are needed.
    """

    name: str
    requests: tuple[HttpCheck, ...]
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection is made to.

    Attributes:
        port: Port number.
        host: Host name or address; empty when a service is named.
        service: Service, found by its name in the cluster's own DNS.
        namespace: Namespace of the service; the stage's when empty.
    """

    port: int
    host: str = ""
    service: str = ""
    namespace: str = ""

    def find_host(self, namespace: str) -> str:
        """Tell the host name; ``namespace`` is the stage's."""
        return self.host or f"{self.service}.{self.namespace or namespace}.svc"

    def say(self) -> str:
        """Say it in a word, for names of checks."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host or self.service}:{self.port}"


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A connection is taken and, if asked for, something is answered.

    Attributes:
        name: What people call it.
        endpoint: Where.
        send: Text sent once connected; empty for none.
        expect: Text that the answer must hold; empty when being connected is enough.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt.
        successes: Successes in a row that are needed.
    """

    name: str
    endpoint: Endpoint
    send: str = ""
    expect: str = ""
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class TlsCheck:
    """A server's certificate is trusted, names it, and lasts.

    Attributes:
        name: What people call it.
        endpoint: Where.
        server_name: Name that is asked for and must be in the certificate; the host's when empty.
        ca_file: File with the authorities that are trusted; the system's when empty.
        min_days_left: Days that the certificate must still be valid.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt.
        successes: Successes in a row that are needed.
    """

    name: str
    endpoint: Endpoint
    server_name: str = ""
    ca_file: str = ""
    min_days_left: int = 14
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    """The standard gRPC health service says SERVING.

    Attributes:
        name: What people call it.
        endpoint: Where.
        health_of: Name of the gRPC service that is asked about; empty for the whole server.
        tls: Whether the connection is encrypted.
        server_name: Name that must be in the certificate; the host's when empty.
        ca_file: File with the authorities that are trusted; the system's when empty.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt.
        successes: Successes in a row that are needed.
    """

    name: str
    endpoint: Endpoint
    health_of: str = ""
    tls: bool = False
    server_name: str = ""
    ca_file: str = ""
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class DnsCheck:
    """A name has records, and the expected ones.

    Attributes:
        name: What people call it.
        host: Name that is looked up.
        record: Type of record, e.g. ``A``, ``AAAA``, ``CNAME``, ``SRV``.
        expect: Values that must all be among the records; empty when any record is enough.
        nameservers: Addresses of name servers, with ``:PORT`` if need be; the system's when empty.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt.
        successes: Successes in a row that are needed.
    """

    name: str
    host: str
    record: str = "A"
    expect: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class JobCheck:
    """A Kubernetes Job of the rendered set runs to its end without one pod that failed.

    Attributes:
        name: What people call it.
        template: Name of the Job in the overlay that is annotated ``gitopsd.io/hook: Verify``.
        within: For how long a Job that failed is tried again; not at all when zero.
        timeout: Bound of one Job.
        successes: Jobs in a row that must pass.
    """

    name: str
    template: str
    within: timedelta = timedelta(0)
    timeout: timedelta = timedelta(minutes=5)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class CommandCheck:
    """A command in a running pod ends as expected.

    Attributes:
        name: What people call it.
        command: Program and arguments; no shell is involved.
        workload: ``Kind/name`` of the workload whose pod it runs in; empty when labels are given.
        selector: Labels of the pod, when no workload is named.
        container: Container; the pod's first when empty.
        exit_code: Exit status that is expected.
        stdout_contains: Text that its output must hold; empty for none.
        within: How long the check may take to succeed the required number of times.
        timeout: Bound of one whole attempt.
        successes: Successes in a row that are needed.
    """

    name: str
    command: tuple[str, ...]
    workload: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    container: str = ""
    exit_code: int = 0
    stdout_contains: str = ""
    within: timedelta = timedelta(seconds=60)
    timeout: timedelta = timedelta(seconds=10)
    successes: int = 1


@dataclass(frozen=True, slots=True)
class PrometheusCheck:
    """A figure of a metric server is measured several times, and stays as it must be.

    At least one of ``condition`` and ``worsening`` is there.

    Attributes:
        name: What people call it.
        query: The query, with placeholders as ``{{ namespace }}``.
        condition: What each figure must be; None for anything.
        worsening: How much worse than before the release the mean may be; None for anything.
        cluster: Cluster whose metric server is asked; empty for the stage's own.
        on_empty: What it means that the query finds nothing.
        interval: Time between two measurements.
        count: Measurements that have to tell something.
        failure_limit: How many of them may be bad.
        inconclusive_limit: How many more may tell nothing.
        timeout: How long the metric server may take to answer.
        within: For how long an analysis that failed is begun anew: not at all.
        successes: Analyses that must pass.
    """

    name: str
    query: str
    condition: Condition | None = None
    worsening: Worsening | None = None
    cluster: str = ""
    on_empty: OnEmpty = OnEmpty.INCONCLUSIVE
    interval: timedelta = timedelta(seconds=10)
    count: int = 6
    failure_limit: int = 0
    inconclusive_limit: int = 3
    timeout: timedelta = timedelta(seconds=10)
    within: timedelta = timedelta(0)
    successes: int = 1


ConnectingCheck: TypeAlias = TcpCheck | TlsCheck | GrpcCheck | DnsCheck
"""Kinds for which gitopsd connects to something itself."""

Check: TypeAlias = (
    HttpCheck | HttpListCheck | ConnectingCheck | JobCheck | CommandCheck | PrometheusCheck
)
"""A configured check. The first one is what a stored check without a kind is."""


def find_object(check: Check, namespace: str) -> str:
    """Name the object of the cluster that a check asks, as ``Kind namespace/name``; empty if none.

    Args:
        check: The check.
        namespace: The stage's, where objects are that name none.
    """
    match check:
        case HttpCheck() if check.service:
            return f"Service {check.namespace or namespace}/{check.service}"
        case HttpListCheck():
            return find_object(check.requests[0], namespace)
        case TcpCheck() | TlsCheck() | GrpcCheck() if check.endpoint.service:
            place = check.endpoint
            return f"Service {place.namespace or namespace}/{place.service}"
        case JobCheck():
            return f"Job {namespace}/{check.template}"
        case CommandCheck() if check.workload:
            kind, _, name = check.workload.partition("/")
            return f"{kind} {namespace}/{name}"
        case _:
            return ""


def compute_longest(check: Check) -> timedelta:
    """Compute how long a check may take in Verify: what a Job or an analysis takes is added."""
    if isinstance(check, JobCheck):
        return check.within + check.timeout * check.successes
    if isinstance(check, PrometheusCheck):
        return check.interval * (check.count + check.inconclusive_limit) + check.timeout
    return check.within
