"""Fixtures with real Redis servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, run_redis


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[RedisServer]:
    """The package's server, for tests that leave it running."""
    with run_redis("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def shared_system_redis() -> Iterator[RedisServer]:
    """The distribution's server, for tests that leave it running."""
    with run_redis("system") as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be stopped and paused."""
    with run_redis() as server:
        yield server
