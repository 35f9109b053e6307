"""The stores that keep the contract: the fake in memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitopsd.store.sql_store import SqlStore, open_store
from gitopsd.store_ports import Store
from gitopsd.testing.clock import ManualClock
from gitopsd.testing.memory_store import MemoryStore

_URLS = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which store is under test."""
    return str(request.param)


@pytest.fixture
def clock() -> ManualClock:
    """What the store takes for the database's clock."""
    return ManualClock()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """An encryption key."""
    path = tmp_path / "key"
    path.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    return path


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """Where the store's database is; nowhere for the fake."""
    return "" if kind == "memory" else str(request.getfixturevalue(_URLS[kind]))


@pytest.fixture
async def store(url: str, clock: ManualClock, key_file: Path) -> AsyncIterator[Store]:
    """A store with an encryption key."""
    made = _open(url, clock, key_file)
    yield made
    await made.close()


@pytest.fixture
async def keyless_store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    """A store without an encryption key."""
    made = _open(url, clock, None)
    yield made
    await made.close()


def _open(url: str, clock: ManualClock, key_file: Path | None) -> MemoryStore | SqlStore:
    kinds = ("SealedThing",)
    if not url:
        return MemoryStore(clock, sensitive_kinds=kinds, has_key=key_file is not None)
    return open_store(url, encryption_key_file=key_file, sensitive_kinds=kinds, now=clock.now)
