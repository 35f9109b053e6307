"""What every verifier promises: the fake, a URL, and a service behind an API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import Json
from gitopsd.ports import CheckTarget, Verifier
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.telemetry import MemoryTelemetry
from gitopsd.testing.verifier import MemoryAnswer, MemoryVerifier
from tests.support.api_server import kubernetes_status, serve_as_api_server
from tests.support.lying_server import LyingServer, drop, reply_json, run_lying_server

TARGET = CheckTarget("staging", "shop")
SERVICE = HttpCheck(
    "health", service="api", port="http", path="/health", json_path={"status": "healthy"}
)


class Site(Protocol):
    """A verifier, a check, and a hand on what is checked."""

    check: HttpCheck

    @property
    def verifier(self) -> Verifier:
        """The verifier under test."""
        ...

    def serve(self, *answers: tuple[int, Json]) -> None:
        """Let the application answer with these in turn; the last one stays."""
        ...

    def take_away(self) -> None:
        """Let nobody answer."""
        ...


@dataclass
class MemorySite:
    """What the fake checks."""

    verifier: MemoryVerifier = field(default_factory=MemoryVerifier)
    check: HttpCheck = SERVICE

    def serve(self, *answers: tuple[int, Json]) -> None:
        """See `Site`."""
        made = [MemoryAnswer(status, document) for status, document in answers]
        self.verifier.serve("api", *made, path="/health")

    def take_away(self) -> None:
        """See `Site`."""
        self.verifier.serve("api", MemoryAnswer(reachable=False), path="/health")


@dataclass
class DirectSite:
    """A real server that is asked by URL."""

    verifier: VerifierByKind
    server: LyingServer
    check: HttpCheck

    def serve(self, *answers: tuple[int, Json]) -> None:
        """See `Site`."""
        self.server.answer(*(reply_json(document, status) for status, document in answers))

    def take_away(self) -> None:
        """See `Site`."""
        self.server.answer(drop())


@dataclass
class ProxiedSite:
    """A service behind an API server."""

    verifier: VerifierByKind
    server: LyingServer
    check: HttpCheck

    def serve(self, *answers: tuple[int, Json]) -> None:
        """See `Site`."""
        self.server.answer(*(reply_json(document, status) for status, document in answers))

    def take_away(self) -> None:
        """See `Site`."""
        self.server.answer(kubernetes_status(503, 'no endpoints available for service "api"'))


@asynccontextmanager
async def _open_direct() -> AsyncIterator[Site]:
    async with run_lying_server() as server:
        clusters = ConfiguredClusters(dict, MemoryTelemetry())
        verifier = VerifierByKind(clusters, LoopClock(), allow_loopback=True)
        yield DirectSite(
            verifier,
            server,
            replace(SERVICE, service="", port="", path="/", url=f"{server.url}/health"),
        )
        await verifier.close()


@asynccontextmanager
async def _open_proxied() -> AsyncIterator[Site]:
    async with run_lying_server() as server:
        serve_as_api_server(server)
        specs = {"staging": ClusterSpec("staging", server=server.url)}
        clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry())
        verifier = VerifierByKind(clusters, LoopClock())
        yield ProxiedSite(verifier, server, SERVICE)
        await verifier.close()
        await clusters.close()


@pytest.fixture(params=["memory", "direct", "proxied"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site of each kind."""
    if request.param == "memory":
        yield MemorySite()
        return
    async with _open_direct() if request.param == "direct" else _open_proxied() as made:
        yield made


async def test_what_is_expected_passes(site: Site) -> None:
    """The evidence holds what was seen, and can be written as JSON."""
    site.serve((200, {"status": "healthy"}))
    attempt = await site.verifier.run_check(site.check, TARGET)
    assert attempt.passed is True
    assert attempt.latency > timedelta(0)
    assert "healthy" in json.dumps(attempt.evidence)


@pytest.mark.parametrize(
    "status, document",
    [(500, {"status": "healthy"}), (200, {"status": "sick"}), (200, {}), (200, [])],
    ids=["another status", "another value", "no value", "a list"],
)
async def test_what_is_not_expected_fails(site: Site, status: int, document: Json) -> None:
    """A definite answer that is wrong is a failure, and the message says what is."""
    site.serve((status, document))
    attempt = await site.verifier.run_check(site.check, TARGET)
    assert attempt.passed is False
    assert "expected" in attempt.message or "no status" in attempt.message


async def test_each_attempt_stands_alone(site: Site) -> None:
    """Right, right, wrong: counting is the step's business."""
    healthy: Json = {"status": "healthy"}
    site.serve((200, healthy), (200, healthy), (500, healthy))
    attempts = [await site.verifier.run_check(site.check, TARGET) for _ in range(3)]
    assert [attempt.passed for attempt in attempts] == [True, True, False]


async def test_nobody_there_is_a_failure(site: Site) -> None:
    """No endpoints, or a connection that is dropped."""
    site.take_away()
    attempt = await site.verifier.run_check(site.check, TARGET)
    assert attempt.passed is False
    assert attempt.message
