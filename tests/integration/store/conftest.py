"""Stores on real databases, closed at the end of their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import pytest

from gitopsd.store.sql_store import SqlStore, open_store

OpenStore: TypeAlias = Callable[..., SqlStore]


@pytest.fixture
async def opened() -> AsyncIterator[OpenStore]:
    """Opens stores as `open_store` does."""
    stores: list[SqlStore] = []

    def open_one(url: str, **options: object) -> SqlStore:
        stores.append(open_store(url, **options))  # type: ignore[arg-type]  # passed on by name
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


_URLS = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a migrated database of each kind."""
    return str(request.getfixturevalue(_URLS[str(request.param)]))
