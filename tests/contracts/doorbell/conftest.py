"""The doorbells that keep the contract: the fake, the one of a process, and arq on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from gitopsd.adapters.queue.arq_doorbell import ArqDoorbell
from gitopsd.adapters.queue.in_process import InProcessDoorbell
from gitopsd.ports import Doorbell
from gitopsd.testing.doorbell import MemoryDoorbell
from tests.support.redis import RedisServer
from tests.support.redis_fixtures import shared_system_redis, shared_valkey

__all__ = ["shared_system_redis", "shared_valkey"]

_SERVERS = {"arq on valkey": "shared_valkey", "arq on redis": "shared_system_redis"}


@pytest.fixture(params=["memory", "process", *_SERVERS])
def make_doorbell(request: pytest.FixtureRequest) -> Callable[[], Doorbell]:
    """What makes a doorbell of the kind under test."""
    if request.param == "memory":
        return MemoryDoorbell
    if request.param == "process":
        return InProcessDoorbell
    server: RedisServer = request.getfixturevalue(_SERVERS[request.param])
    return lambda: ArqDoorbell(server.url)


@pytest.fixture
async def doorbell(make_doorbell: Callable[[], Doorbell]) -> AsyncIterator[Doorbell]:
    """A doorbell, closed after the test."""
    made = make_doorbell()
    yield made
    await made.close()
