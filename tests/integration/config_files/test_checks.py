"""Checks as files write them: what the engine gets, and what is said about each mistake."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.config_files.documents import Parsed, parse_file
from gitopsd.domain.checks import (
    Check,
    CommandCheck,
    DnsCheck,
    Endpoint,
    GrpcCheck,
    HttpCheck,
    HttpListCheck,
    JobCheck,
    TcpCheck,
    TlsCheck,
)
from gitopsd.domain.config import ApplicationSpec

TEXT = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {{name: it}}
spec:
  source: {{repoURL: https://git.example/it.git, branch: main}}
  stages:
    - {{name: staging, cluster: one, path: overlays/staging, namespace: it, {rest}}}
"""
SECONDS = timedelta(seconds=1)


def read(rest: str) -> tuple[Check, ...]:
    """Read the checks of a stage."""
    answer = parse_file("applications/it.yaml", "Application", TEXT.format(rest=rest).encode())
    assert isinstance(answer, Parsed), [str(error) for error in answer]
    assert isinstance(answer.value, ApplicationSpec)
    return answer.value.stages[0].verify


WRITTEN: dict[str, tuple[str, Check]] = {
    "a port": (
        "tcp: {address: 'db.example:5432'}",
        TcpCheck("tcp db.example:5432", Endpoint(5432, "db.example")),
    ),
    "a port of a service": (
        (
            "tcp: {service: db, port: 5432, namespace: data, send: PING, expect: PONG, within: 5s, "
            "timeout: 1s, successes: 3, name: database}"
        ),
        TcpCheck(
            "database",
            Endpoint(5432, service="db", namespace="data"),
            send="PING",
            expect="PONG",
            within=5 * SECONDS,
            timeout=SECONDS,
            successes=3,
        ),
    ),
    "an address of version 6": (
        "tcp: {address: '[2001:db8::1]:25'}",
        TcpCheck("tcp [2001:db8::1]:25", Endpoint(25, "2001:db8::1")),
    ),
    "a certificate": (
        "tls: {address: 'shop.example:443'}",
        TlsCheck("tls shop.example:443", Endpoint(443, "shop.example")),
    ),
    "a certificate of another name": (
        "tls: {address: '192.0.2.1:443', serverName: a.example, caFile: /ca.crt, minDaysLeft: 3}",
        TlsCheck(
            "tls 192.0.2.1:443",
            Endpoint(443, "192.0.2.1"),
            server_name="a.example",
            ca_file="/ca.crt",
            min_days_left=3,
        ),
    ),
    "gRPC": (
        "grpc: {service: cart, port: 9090}",
        GrpcCheck("grpc cart:9090", Endpoint(9090, service="cart")),
    ),
    "gRPC over TLS": (
        "grpc: {address: 'cart.example:443', healthOf: shop.v1.Cart, tls: true, caFile: /ca.crt}",
        GrpcCheck(
            "grpc cart.example:443 shop.v1.Cart",
            Endpoint(443, "cart.example"),
            health_of="shop.v1.Cart",
            tls=True,
            ca_file="/ca.crt",
        ),
    ),
    "a name": (
        "dns: {host: shop.example}",
        DnsCheck("dns shop.example A", "shop.example"),
    ),
    "a name and its records": (
        (
            "dns: {host: _api._tcp.shop.example, record: SRV, expect: ['10 5 443 shop.example'], "
            "nameservers: [10.0.0.10, '10.0.0.11:5353', '[2001:db8::1]:53', '2001:db8::2']}"
        ),
        DnsCheck(
            "dns _api._tcp.shop.example SRV",
            "_api._tcp.shop.example",
            "SRV",
            ("10 5 443 shop.example",),
            ("10.0.0.10", "10.0.0.11:5353", "[2001:db8::1]:53", "2001:db8::2"),
        ),
    ),
    "a Job": ("job: {template: smoke}", JobCheck("job smoke", "smoke")),
    "a Job that may fail at first": (
        "job: {template: smoke, within: 10m, timeout: 2m, successes: 2}",
        JobCheck("job smoke", "smoke", 600 * SECONDS, 120 * SECONDS, 2),
    ),
    "a command": (
        "command: {workload: Deployment/api, command: [./manage.py, check]}",
        CommandCheck("command ./manage.py", ("./manage.py", "check"), "Deployment/api"),
    ),
    "a command by labels": (
        (
            "command: {selector: {app: api, 'example.com/tier': web}, container: side, "
            "command: [ok], exitCode: 3, stdoutContains: fine}"
        ),
        CommandCheck(
            "command ok",
            ("ok",),
            selector={"app": "api", "example.com/tier": "web"},
            container="side",
            exit_code=3,
            stdout_contains="fine",
        ),
    ),
    "several paths": (
        "http: {service: api, port: http, paths: [/health, '/ready?all=1'], status: 204}",
        HttpListCheck(
            "api /health, /ready?all=1",
            (
                HttpCheck("/health", "api", port="http", path="/health", status=204),
                HttpCheck("/ready?all=1", "api", port="http", path="/ready?all=1", status=204),
            ),
        ),
    ),
    "several requests": (
        (
            "http: {url: 'https://shop.example', headers: {X-Probe: a}, timeout: 3s, requests: ["
            "{path: /, bodyContains: Welcome}, {path: /admin, status: 403, headers: {X-As: b}}]}"
        ),
        HttpListCheck(
            "https://shop.example /, /admin",
            (
                HttpCheck(
                    "/",
                    url="https://shop.example/",
                    headers={"X-Probe": "a"},
                    body_contains="Welcome",
                    timeout=3 * SECONDS,
                ),
                HttpCheck(
                    "/admin",
                    url="https://shop.example/admin",
                    headers={"X-Probe": "a", "X-As": "b"},
                    status=403,
                    timeout=3 * SECONDS,
                ),
            ),
            timeout=3 * SECONDS,
        ),
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_is_written_is_what_the_engine_gets(case: str) -> None:
    """Every key of every kind, and the defaults of what is left out."""
    text, check = WRITTEN[case]
    assert read(f"verify: [{{{text}}}]") == (check,)


def test_checks_of_one_name_are_told_apart() -> None:
    """Their successes are counted by name: two of one name would hide each other."""
    job, other = "{job: {template: smoke}}", "{tcp: {address: 'a:1', name: job smoke}}"
    assert [check.name for check in read(f"verify: [{job}, {other}, {job}]")] == [
        "job smoke",
        "job smoke (2)",
        "job smoke (3)",
    ]


ADDRESS = ("is no address with a port", "Write `HOST:PORT`, such as `db.example:5432`")
NAMESERVER = (
    "is no address of a name server",
    "Write an IP address, with a port if need be, such as `10.0.0.10:53`",
)
MISTAKES = [
    ("{tcp: {}}", "tcp", "a check asks either a service or an address",
     "Write `service: NAME` with `port:`, or `address: HOST:PORT`"),
    ("{tcp: {service: a, address: 'b:1'}}", "tcp", "a check asks either a service or an address",
     "Write `service: NAME` with `port:`, or `address: HOST:PORT`"),
    ("{tls: {address: 'b:1', port: 2}}", "tls", "`port` does not go with `address`",
     "Write `address: HOST:PORT` alone"),
    ("{grpc: {service: a}}", "grpc", "`port` is missing",
     "Write the service's port, such as `port: 5432`"),
    ("{tcp: {service: a, port: http}}", "tcp.port", "it is 'http', expected a whole number",
     "Write a whole number without quotes"),
    ("{tcp: {address: db}}", "tcp.address", f"'db' {ADDRESS[0]}", ADDRESS[1]),
    ("{tcp: {address: 'db:0'}}", "tcp.address", f"'db:0' {ADDRESS[0]}", ADDRESS[1]),
    ("{tcp: {address: 'db:70000'}}", "tcp.address", f"'db:70000' {ADDRESS[0]}", ADDRESS[1]),
    ("{tcp: {address: '300.1.1.1:80'}}", "tcp.address", f"'300.1.1.1:80' {ADDRESS[0]}", ADDRESS[1]),
    ("{tcp: {address: '::1:80'}}", "tcp.address", f"'::1:80' {ADDRESS[0]}", ADDRESS[1]),
    ("{tcp: {address: 'u@h:80'}}", "tcp.address", f"'u@h:80' {ADDRESS[0]}", ADDRESS[1]),
    ("{tls: {address: 'a:1', caFile: ca.crt}}", "tls.caFile", "'ca.crt' is no absolute path",
     "Write where the file is for gitopsd, such as `/etc/gitopsd/ca.crt`"),
    ("{tls: {address: 'a:1', serverName: 'a b'}}", "tls.serverName", "'a b' is no host name",
     "Write a name such as `shop.example`"),
    ("{tls: {address: 'a:1', minDaysLeft: -1}}", "tls.minDaysLeft",
     "the value should be greater than or equal to 0", "Write a value within this bound"),
    ("{grpc: {address: 'a:1', caFile: /ca.crt}}", "grpc", "`caFile` goes with `tls`",
     "Write `tls: true` too"),
    ("{grpc: {address: 'a:1', healthOf: 'a b'}}", "grpc.healthOf", "'a b' is no gRPC service",
     "Write a name such as `shop.v1.Cart`"),
    ("{dns: {}}", "dns.host", "it is missing",
     "Write `host: shop.example` (Name that is looked up)"),
    ("{dns: {host: 'a/b'}}", "dns.host", "'a/b' is no host name",
     "Write a name such as `shop.example`"),
    ("{dns: {host: a, nameservers: [ns.example]}}", "dns.nameservers[0]",
     f"'ns.example' {NAMESERVER[0]}", NAMESERVER[1]),
    ("{dns: {host: a, nameservers: ['10.0.0.1:0']}}", "dns.nameservers[0]",
     f"'10.0.0.1:0' {NAMESERVER[0]}", NAMESERVER[1]),
    ("{job: {}}", "job.template", "it is missing",
     "Write `template: smoke` (Name of a Job in the overlay, annotated `gitopsd.io/hook: Verify`)"),
    ("{job: {template: jobs/smoke.yaml}}", "job.template", "'jobs/smoke.yaml' is no name",
     "Write lower-case letters, digits and dashes, at most 63, such as `ai-core`"),
    ("{command: {command: [a]}}", "command",
     "a command runs in a pod of a workload or of a selector",
     "Write `workload: Deployment/NAME`, or `selector:` with labels"),
    ("{command: {command: [''], workload: Deployment/a}}", "command.command",
     "this is no command", "Write its program and arguments: `[./check, --all]`"),
    ("{command: {command: [a], workload: Job/a}}", "command.workload",
     "'Job/a' is no workload whose pods can be asked",
     "Write `Deployment/NAME`, `StatefulSet/NAME` or `DaemonSet/NAME`"),
    ("{command: {command: [a], selector: {'a,b': c}}}", "command.selector", "a,b=c is no label",
     "Write `app: api`, as the pods have it"),
    ("{command: {command: [a], workload: Deployment/a, timeout: 2m}}", "command",
     "a command may take 60s at most",
     "Write a shorter `timeout:`, or run what takes longer as a `job:`"),
    ("{http: {service: a, port: 1, paths: [/a], path: /b}}", "http",
     "`path` does not go with `paths`", "Write it as one of `paths`"),
    ("{http: {service: a, port: 1, requests: [{path: /a}], bodyContains: b}}", "http",
     "`bodyContains` does not go with `requests`", "Write it in each request"),
    ("{http: {service: a, port: 1, requests: [{path: /a}], paths: [/b]}}", "http",
     "`paths` does not go with `requests`", "Write it in each request"),
    ("{http: {url: 'https://h/x', paths: [/a]}}", "http",
     "the url of several requests has a path of its own",
     "Write the url up to its host, such as `https://shop.example`"),
    ("{http: {service: a, port: 1, requests: [{status: 200}]}}", "http.requests[0].path",
     "it is missing", "Write `path: ...` (Path and query)"),
]  # fmt: skip


@pytest.mark.parametrize("text, path, problem, remedy", MISTAKES)
def test_mistakes_are_explained(text: str, path: str, problem: str, remedy: str) -> None:
    """Each names its place, what is wrong, and what to write instead."""
    whole = TEXT.format(rest=f"verify: [{text}]").encode()
    answer = parse_file("applications/it.yaml", "Application", whole)
    assert not isinstance(answer, Parsed)
    place = f"spec.stages[0].verify[0].{path}"
    assert [(one.path, one.problem, one.remedy) for one in answer] == [(place, problem, remedy)]


def test_a_monitor_runs_no_jobs() -> None:
    """A Job each minute would be a load of its own, and outlive its round."""
    rest = "monitor: {every: 1m, verify: [{job: {template: smoke}}]}"
    answer = parse_file("applications/it.yaml", "Application", TEXT.format(rest=rest).encode())
    assert not isinstance(answer, Parsed)
    assert [one.problem for one in answer] == ["a monitor runs no Jobs"]


DOCUMENT = Path(__file__).parents[3] / "docs" / "verification.md"
BLOCKS = re.findall(
    r"^```yaml\n(- .*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_examples_of_the_document_are_read(block: str) -> None:
    """What people copy works."""
    indented = "".join(f"        {line}\n" for line in block.splitlines())
    head = TEXT.format(rest="").rpartition("    - ")[0]
    stage = "name: staging\n      cluster: one\n      path: a\n      namespace: it"
    text = f"{head}    - {stage}\n      verify:\n{indented}"
    answer = parse_file("applications/it.yaml", "Application", text.encode())
    assert isinstance(answer, Parsed), [str(error) for error in answer]
