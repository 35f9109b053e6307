"""The registry client against real and odd servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from gitopsd.adapters.registry.client import HttpRegistry
from gitopsd.domain.images import RegistrySpec
from gitopsd.ports import Clock

Connect = Callable[..., HttpRegistry]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes clients that know the given registries, and closes them after the test."""
    made: list[HttpRegistry] = []

    def make(
        *specs: RegistrySpec,
        clock: Clock | None = None,
        seconds: float = 5,
        listing_seconds: float = 60,
    ) -> HttpRegistry:
        client = HttpRegistry(
            lambda: specs,
            clock,
            timeout=timedelta(seconds=seconds),
            listing=timedelta(seconds=listing_seconds),
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()
