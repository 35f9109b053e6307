"""Brings a database to the tables of this version."""

from __future__ import annotations

import secrets
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gitopsd.store.engines import describe, open_for_migration, parse_database_url
from gitopsd.store.failures import translate
from gitopsd.store.sql_store import check_format
from gitopsd.store.tables import FORMAT, installation

_SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6769746F70736400  # "gitopsd" in ASCII: any number that nobody else uses
_LOCK_TABLES_AT_MOST = "10s"


def migrate(url: str) -> None:
    """Create or upgrade the tables. Safe to repeat, and to run in several processes at once.

    PostgreSQL: an advisory lock lets one work while the others wait; then they find nothing to
    do. SQLite: the caller holds the data directory's lock, and the whole migration is one
    transaction.

    A database of a newer version whose tables this one can still use is left as it is.

    Args:
        url: As for `open_store`.

    Raises:
        PermanentError: The URL cannot be used, or the database belongs to a newer version.
        TemporaryError: The database does not answer.
    """
    parsed = parse_database_url(url)
    place = describe(parsed)
    engine = open_for_migration(parsed)
    try:
        with engine.begin() as connection:
            _wait_for_others(connection)
            if sa.inspect(connection).has_table(installation.name):
                found = connection.execute(sa.select(installation.c.format)).scalar()
                check_format(found or 0, place)
            _upgrade(connection)
            _install(connection)
    except sa.exc.SQLAlchemyError as error:
        raise translate(error, place, reading=False) from error
    finally:
        engine.dispose()


def _wait_for_others(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Held until the transaction ends, so that a process that dies gives it back.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        # Who waits for a table's lock makes everybody behind wait too.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TABLES_AT_MOST}'")


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_heads()
    if known.issuperset(current):
        command.upgrade(config, "head")


def _install(connection: sa.Connection) -> None:
    """Give a new database its installation id."""
    if connection.execute(sa.select(installation.c.id)).first() is None:
        values = {"one": 1, "id": secrets.token_hex(8), "format": FORMAT}
        connection.execute(sa.insert(installation), values)
