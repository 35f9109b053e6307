"""The cluster adapter against an API server that is not well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.cluster.client import KubernetesCluster
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.cluster.watching import WatchPace
from gitopsd.domain.config import ClusterSpec
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.half_dead_api import HalfDeadApi, run_half_dead_api

TOKEN = "a-token-made-for-this-test"

Connect = Callable[..., KubernetesCluster]


@pytest.fixture
async def api() -> AsyncIterator[HalfDeadApi]:
    """A server on loopback."""
    async with run_half_dead_api() as running:
        yield running


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Makes clients, and closes them after the test."""
    opened: list[ConfiguredClusters] = []
    token = tmp_path / "token"
    token.write_text(TOKEN)

    def make(
        spec: ClusterSpec | str,
        *,
        timeout: timedelta = timedelta(seconds=5),
        pace: WatchPace | None = None,
        page: int = 500,
    ) -> KubernetesCluster:
        if isinstance(spec, str):
            spec = ClusterSpec("shop", server=spec, token_file=str(token))
        held = spec
        clusters = ConfiguredClusters(
            lambda: {"shop": held}, MemoryTelemetry(), timeout, pace=pace, page=page
        )
        opened.append(clusters)
        return clusters.get("shop")

    yield make
    for clusters in opened:
        await clusters.close()


@pytest.fixture
def cluster(api: HalfDeadApi, connect: Connect) -> KubernetesCluster:
    """A client of the server."""
    return connect(api.url)
