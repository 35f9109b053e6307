"""Migrations: what they make, who may run them, and who refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.store.engines import open_for_migration, parse_database_url
from gitopsd.store.migrate import migrate
from gitopsd.store.tables import FORMAT, METADATA
from tests.integration.store.conftest import OpenStore
from tests.support.postgres import PostgresServer
from tests.support.projects import REPOSITORY
from tests.support.store_child import begin_counting, start_child


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def _execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = open_for_migration(parse_database_url(url))
    rows: list[tuple[object, ...]] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            rows += [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


def test_migrations_make_the_tables_that_the_code_uses(empty_url: str) -> None:
    """After all migrations the database has exactly the tables, columns and keys of the code."""
    migrate(empty_url)

    engine = open_for_migration(parse_database_url(empty_url))
    with engine.connect() as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), METADATA
        )
    engine.dispose()

    assert differences == []


def test_partial_indexes_are_the_same(empty_url: str) -> None:
    """The conditions of partial indexes, which no comparison sees, are as in the code."""
    migrate(empty_url)
    engine = open_for_migration(parse_database_url(empty_url))
    made = {index["name"]: index for index in _indexes(engine)}
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    wanted = {index["name"]: index for index in _indexes(engine)}
    engine.dispose()

    assert made == wanted
    assert {"ix_runs_live", "uq_evidence_key", "uq_quarantines_in_force"} <= set(made)


def _indexes(engine: sa.Engine) -> Iterator[dict[str, object]]:
    inspector = sa.inspect(engine)
    for table in ("runs", "evidence", "quarantines"):
        for index in inspector.get_indexes(table):
            conditions = index["dialect_options"].items()
            options = {key: str(value).replace('"', "") for key, value in conditions}
            yield {**index, "dialect_options": options}


async def test_migrating_again_changes_nothing(empty_url: str, opened: OpenStore) -> None:
    """The installation keeps its id, and what is stored stays."""
    migrate(empty_url)
    store = opened(empty_url)
    installation = await store.transact(lambda tx: (begin_counting(tx), tx.installation)[1])  # type: ignore[func-returns-value]  # one expression
    migrate(empty_url)

    assert await opened(empty_url).read(lambda tx: tx.installation) == installation
    assert len(await store.read(lambda tx: tx.runs.live())) == 1


def test_processes_that_migrate_at_once_all_succeed(empty_url: str) -> None:
    """One works, the others wait for it and find nothing to do."""
    children = [start_child("migrate", empty_url) for _ in range(4)]
    ends = [child.communicate(timeout=60)[1] for child in children]

    assert [child.returncode for child in children] == [0] * 4, ends
    assert len(_execute(empty_url, "SELECT id FROM installation")) == 1


async def test_a_database_without_tables_is_refused(empty_url: str, opened: OpenStore) -> None:
    """The sentence says which command makes the tables."""
    with pytest.raises(PermanentError, match="gitopsd migrate") as caught:
        await opened(empty_url).check()

    assert caught.value.reason == "NotMigrated"


async def test_a_newer_database_is_refused(empty_url: str, opened: OpenStore) -> None:
    """Tables that this version does not understand stop both the start and a migration."""
    migrate(empty_url)
    _execute(empty_url, f"UPDATE installation SET format = {FORMAT + 1}")  # noqa: S608 - a number of ours

    with pytest.raises(PermanentError, match=f"format {FORMAT + 1}") as at_start:
        await opened(empty_url).check()
    with pytest.raises(PermanentError) as at_migration:
        migrate(empty_url)

    assert at_start.value.reason == at_migration.value.reason == "NewerDatabase"


async def test_an_expanded_database_still_serves_the_older_version(
    empty_url: str, opened: OpenStore
) -> None:
    """During a rolling upgrade the older version runs on, and leaves the newer tables alone."""
    migrate(empty_url)
    _execute(
        empty_url,
        "ALTER TABLE runs ADD COLUMN colour TEXT",
        "UPDATE alembic_version SET version_num = '9999'",
    )

    migrate(empty_url)

    await opened(empty_url).transact(begin_counting)
    assert _execute(empty_url, "SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize(
    "url",
    ["mysql://root:hunter2@db/x", "sqlite://", "sqlite:///:memory:", "hunter2", "sqlite+x:///a"],
)
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    """The sentence says what to write instead, without the URL, which may hold a password."""
    with pytest.raises(PermanentError, match="postgresql://user:password@host/database") as caught:
        migrate(url)

    assert "hunter2" not in caught.value.message


def test_a_server_that_does_not_answer_is_said() -> None:
    """The sentence names the place, without the password."""
    with pytest.raises(TemporaryError, match=r"shop on 127\.0\.0\.1:1 ") as caught:
        migrate("postgres://ana:hunter2@127.0.0.1:1/shop")

    assert "hunter2" not in caught.value.message


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    """A database file in a directory that does not exist is a sentence, not a traceback."""
    with pytest.raises(PermanentError, match="No such file or directory"):
        migrate(f"sqlite:///{tmp_path}/missing/gitopsd.db")


def test_an_installed_wheel_can_migrate(tmp_path: Path) -> None:
    """The migrations are in the wheel and are found there."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    program = (
        "import gitopsd, sys; from gitopsd.store.migrate import migrate;"
        "migrate(sys.argv[1]); print(gitopsd.__file__)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/wheel.db"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": str(installed)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert _execute(f"sqlite:///{tmp_path}/wheel.db", "SELECT format FROM installation")
