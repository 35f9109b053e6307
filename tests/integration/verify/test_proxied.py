"""Checks of services: whose fault it is when no good answer comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ClusterSpec
from gitopsd.ports import CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.api_server import break_api_server, kubernetes_status, serve_as_api_server
from tests.support.lying_server import (
    Answering,
    LyingServer,
    drip,
    drop,
    gzip_bomb,
    hang,
    pour,
    reply,
    reply_json,
    reset_in_body,
    run_lying_server,
)

TARGET = CheckTarget("staging", "shop", "deployer")
CHECK = HttpCheck(
    "health",
    service="api",
    port="http",
    path="/health?full=1",
    json_path={"status": "healthy"},
    timeout=timedelta(seconds=5),
)
QUICK = replace(CHECK, timeout=timedelta(milliseconds=400))
PREFIX = "/api/v1/namespaces/shop/services/http:api:http/proxy"
HEALTHY = reply_json({"status": "healthy"})


@pytest.fixture
async def server() -> AsyncIterator[LyingServer]:
    """An API server that is well, before a service that the test decides about."""
    async with run_lying_server() as running:
        serve_as_api_server(running)
        yield running


@pytest.fixture
async def verifier(server: LyingServer) -> AsyncIterator[HttpVerifier]:
    """A verifier of one cluster."""
    specs = {"staging": ClusterSpec("staging", server=server.url)}
    clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry())
    made = HttpVerifier(clusters, LoopClock())
    yield made
    await made.close()
    await clusters.close()


def _proxied(server: LyingServer) -> list[str]:
    return [one.target for one in server.requests if "/proxy/" in one.target]


async def test_a_service_is_asked_as_the_stage(server: LyingServer, verifier: HttpVerifier) -> None:
    """Through the proxy, as the stage's service account, without asking for packing."""
    server.answer(HEALTHY)
    attempt = await verifier.run_check(replace(CHECK, headers={"X-Probe": "a"}), TARGET)
    assert attempt.passed is True
    request = next(one for one in server.requests if "/proxy/" in one.target)
    assert request.target == f"{PREFIX}/health?full=1"
    assert request.headers["impersonate-user"] == "system:serviceaccount:shop:deployer"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["x-probe"] == "a"
    evidence = json.loads(json.dumps(attempt.evidence))
    assert evidence["request"]["url"] == "http://api:http/health?full=1"


async def test_another_namespace_can_be_asked(server: LyingServer, verifier: HttpVerifier) -> None:
    """A check may name the service's namespace."""
    server.answer(HEALTHY)
    await verifier.run_check(replace(CHECK, namespace="monitoring"), TARGET)
    assert _proxied(server)[0].startswith("/api/v1/namespaces/monitoring/services/")


SERVICE_TROUBLE = {
    "no endpoints": kubernetes_status(
        503, 'no endpoints available for service "api"', "ServiceUnavailable"
    ),
    "refused": kubernetes_status(
        503,
        "error trying to reach service: dial tcp 10.1.2.3:8080: connect: connection refused",
        "ServiceUnavailable",
    ),
    "no port": kubernetes_status(503, 'no service port "http" found for service "api"'),
    "no service": kubernetes_status(404, 'services "api" not found', "NotFound"),
    "own 503": reply(503, b"maintenance"),
    "own 429": reply(429, b"slow down"),
    "own 401": reply(401, b"log in"),
    "own 500": reply_json({"kind": "Error"}, 500),
    "401 of an API server behind it": kubernetes_status(401, "Unauthorized", "Unauthorized"),
    "1 GB": pour(2**30),
    "packed": gzip_bomb(),
}


@pytest.mark.parametrize("answer", SERVICE_TROUBLE.values(), ids=SERVICE_TROUBLE.keys())
async def test_what_the_service_does_is_a_verdict(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """No endpoints, a refused connection, the service's own errors: the attempt failed."""
    server.answer(answer)
    attempt = await verifier.run_check(CHECK, TARGET)
    assert attempt.passed is False
    assert attempt.message
    assert len(_proxied(server)) == 1
    assert server.sent < 64 * 2**20


API_SERVER_TROUBLE = {
    "500": kubernetes_status(500, "etcdserver: leader changed", "InternalError"),
    "503": kubernetes_status(503, "apiserver is shutting down", "ServiceUnavailable"),
    "504": kubernetes_status(504, "request timed out", "Timeout"),
    "429": kubernetes_status(429, "too many requests", "TooManyRequests"),
    "403": kubernetes_status(403, "cannot get services/proxy", "Forbidden"),
    "without message": reply_json({"kind": "Status"}, 500),
    "429 in plain words": reply(429, b"Too many requests, please try again later.\n"),
    "shutting down": reply(429, b"The apiserver is shutting down, please try again later.\n"),
    "panic": reply(500, b"This request caused apiserver to panic. Look in the logs for details.\n"),
}


@pytest.mark.parametrize("answer", API_SERVER_TROUBLE.values(), ids=API_SERVER_TROUBLE.keys())
async def test_what_the_api_server_does_is_no_verdict(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """Its own errors say nothing about the application."""
    server.answer(answer)
    attempt = await verifier.run_check(CHECK, TARGET)
    assert attempt.passed is None
    assert attempt.message


@pytest.mark.parametrize(
    "answer",
    [
        kubernetes_status(429, "too many requests", "TooManyRequests", Retry_After="7"),
        kubernetes_status(503, "starting", "ServiceUnavailable", Retry_After="7"),
        reply(429, b"Too many requests, please try again later.\n", Retry_After="7"),
    ],
    ids=["429", "503", "429 in plain words"],
)
async def test_being_asked_for_patience_comes_with_the_attempt(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """The step that repeats the check leaves the API server alone for as long as it asked."""
    server.answer(answer)
    attempt = await verifier.run_check(CHECK, TARGET)
    assert (attempt.passed, attempt.retry_after) == (None, timedelta(seconds=7))


async def test_a_refused_credential_is_no_verdict(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """The API server refuses what it is asked itself, too: we are locked out."""
    refused = kubernetes_status(401, "Unauthorized", "Unauthorized")
    server.answer(refused)
    break_api_server(server, refused)
    attempt = await verifier.run_check(CHECK, TARGET)
    assert (attempt.passed, attempt.locked_out) == (None, True)
    assert attempt.retry_after == timedelta(seconds=60)


async def test_a_401_of_an_api_server_behind_the_service_can_be_what_is_expected(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """It is the service's own answer, like any other."""
    server.answer(kubernetes_status(401, "Unauthorized", "Unauthorized"))
    expected = replace(CHECK, json_path={"reason": "Unauthorized"}, status=401)
    attempt = await verifier.run_check(expected, TARGET)
    assert (attempt.passed, attempt.locked_out) == (True, False)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_load_balancer_before_the_api_server_is_no_verdict(
    server: LyingServer, verifier: HttpVerifier, status: int
) -> None:
    """It answers for the service what it answers for everything else: nothing is known."""
    page = reply(status, b"<html>no server is available</html>", Content_Type="text/html")
    server.answer(page)
    break_api_server(server, page)
    assert (await verifier.run_check(CHECK, TARGET)).passed is None


@pytest.mark.parametrize(
    "answer", [hang(), drip(timedelta(milliseconds=20))], ids=["hangs", "drips"]
)
async def test_a_slow_service_fails(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """While the API server answers other questions, a time-out is the service's doing."""
    server.answer(answer)
    attempt = await verifier.run_check(QUICK, TARGET)
    assert attempt.passed is False
    assert attempt.message == "no complete answer within 0.4 s"


async def test_a_slow_api_server_is_no_verdict(server: LyingServer, verifier: HttpVerifier) -> None:
    """When it answers nothing else either, nothing is known."""
    server.answer(hang())
    break_api_server(server, hang())
    attempt = await verifier.run_check(QUICK, TARGET)
    assert attempt.passed is None
    assert attempt.message.startswith("the API server does not answer: ")


async def test_a_sick_api_server_is_no_verdict(server: LyingServer, verifier: HttpVerifier) -> None:
    """A time-out while it answers 500 to other questions may be its own."""
    server.answer(hang())
    break_api_server(server, kubernetes_status(500, "boom"))
    assert (await verifier.run_check(QUICK, TARGET)).passed is None


@pytest.mark.parametrize("answer", [reset_in_body(), drop()], ids=["reset", "dropped"])
async def test_a_connection_that_breaks_twice_is_a_failure(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """With the API server well after each, the service is what breaks."""
    server.answer(answer)
    attempt = await verifier.run_check(CHECK, TARGET)
    assert attempt.passed is False
    assert attempt.message.startswith("the connection broke twice: ")


async def test_a_connection_that_breaks_once_is_nothing(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """It may have been a restart of the API server: the second try counts."""
    server.answer(reset_in_body(), HEALTHY)
    assert (await verifier.run_check(CHECK, TARGET)).passed is True
    server.answer(reset_in_body(), kubernetes_status(500, "boom"))
    assert (await verifier.run_check(CHECK, TARGET)).passed is None


async def test_a_broken_api_server_is_no_verdict(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """A broken connection, and then no word from the API server either."""
    server.answer(drop())
    break_api_server(server, drop())
    assert (await verifier.run_check(CHECK, TARGET)).passed is None


async def test_an_api_server_that_is_away_is_no_verdict() -> None:
    """Nobody at its address."""
    async with run_lying_server() as gone:
        specs = {"staging": ClusterSpec("staging", server=gone.url)}
    clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry())
    attempt = await HttpVerifier(clusters, LoopClock()).run_check(CHECK, TARGET)
    assert attempt.passed is None
    await clusters.close()


async def test_an_unusable_cluster_is_no_verdict() -> None:
    """Unknown clusters and unusable files are the configuration's fault."""
    specs = {"staging": ClusterSpec("staging", server="https://h", ca_file="/does/not/exist")}
    clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry())
    verifier = HttpVerifier(clusters, LoopClock())
    assert (await verifier.run_check(CHECK, TARGET)).passed is None
    unknown = await verifier.run_check(CHECK, replace(TARGET, cluster="other"))
    assert unknown.passed is None
    assert "other" in unknown.message
    await clusters.close()


@pytest.mark.parametrize(
    "location, path",
    [
        ("/login?next=1", "/login?next=1"),
        (f"{PREFIX}/login", "/login"),
        (f"https://10.0.0.1:6443{PREFIX}/login?a=b", "/login?a=b"),
    ],
)
async def test_redirects_on_the_same_service_are_followed_if_asked(
    server: LyingServer, verifier: HttpVerifier, location: str, path: str
) -> None:
    """Also in the form in which the API server rewrites them."""
    server.answer(reply(302, Location=location), HEALTHY)
    attempt = await verifier.run_check(replace(CHECK, follow_redirects=True), TARGET)
    assert attempt.passed is True
    assert _proxied(server)[1] == PREFIX + path


@pytest.mark.parametrize(
    "location, said",
    [
        (f"https://10.0.0.1:6443{PREFIX}/login?a=b", "/login?a=b"),
        ("http://other.example/login", "http://other.example/login"),
    ],
)
async def test_where_a_redirect_leads_is_told_as_the_service_said_it(
    server: LyingServer, verifier: HttpVerifier, location: str, said: str
) -> None:
    """Without what the API server writes before it, which nobody who knows the service knows."""
    server.answer(reply(302, Location=location))
    attempt = await verifier.run_check(CHECK, TARGET)
    assert attempt.message == f"answered 302, which sends on to {said}; expected 200"


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example/login",
        "https://10.0.0.1:6443/api/v1/namespaces/kube-system/secrets",
        "/api/v1/namespaces/shop/services/http:other:http/proxy/",
        "http://[::1/",
        "login",
    ],
)
async def test_other_redirects_are_not_followed(
    server: LyingServer, verifier: HttpVerifier, location: str
) -> None:
    """They never reach another host, another service, or the API itself."""
    server.answer(reply(302, Location=location))
    attempt = await verifier.run_check(replace(CHECK, follow_redirects=True), TARGET)
    assert attempt.passed is False
    outside = [
        one for one in server.requests if one.target.startswith("/api/v1/namespaces/kube-system")
    ]
    assert outside == []


async def test_redirects_are_not_followed_unasked(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """And end after five when they are."""
    server.answer(reply(302, Location="/health"))
    assert (await verifier.run_check(CHECK, TARGET)).passed is False
    assert len(_proxied(server)) == 1
    attempt = await verifier.run_check(replace(CHECK, follow_redirects=True), TARGET)
    assert (attempt.passed, attempt.message) == (False, "more than 5 redirects")
