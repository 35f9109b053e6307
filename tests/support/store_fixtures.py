"""Fixtures for tests that need a database: one PostgreSQL server for the whole session.

Registered in ``tests/conftest.py``. Each test has a database of its own, copied from a template
that was migrated once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

_TEMPLATE = "gitopsd_migrated"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; see :mod:`tests.support.postgres`."""
    from tests.support.postgres import PostgresServer  # noqa: PLC0415 - unit tests do without

    with PostgresServer.start() as server:
        yield server


@pytest.fixture(scope="session")
def _migrated_postgres(postgres: PostgresServer) -> Iterator[str]:
    from gitopsd.store.migrate import migrate  # noqa: PLC0415 - as above

    with postgres.database(name=_TEMPLATE) as url:
        migrate(url)
        yield _TEMPLATE


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gitopsd.store.migrate import migrate  # noqa: PLC0415 - as above

    path = tmp_path_factory.mktemp("template") / "gitopsd.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgres_url(postgres: PostgresServer, _migrated_postgres: str) -> Iterator[str]:
    """The address of a migrated PostgreSQL database that only this test has."""
    with postgres.database(template=_migrated_postgres) as url:
        yield url


@pytest.fixture
def sqlite_url(_migrated_sqlite: Path, tmp_path: Path) -> str:
    """The address of a migrated SQLite database that only this test has."""
    path = tmp_path / "gitopsd.db"
    shutil.copyfile(_migrated_sqlite, path)
    return f"sqlite:///{path}"
