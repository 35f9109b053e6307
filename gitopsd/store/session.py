"""One database transaction as the repositories see it: run statements, read rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gitopsd.store.tables import counters

if TYPE_CHECKING:
    from sqlalchemy.sql.base import Executable

Row: TypeAlias = sa.Row[Any]
"""One row; its columns are attributes."""


@dataclass(frozen=True, slots=True)
class PerDialect:
    """One statement in the words of each database."""

    sqlite: Executable
    postgresql: Executable


def per_dialect(make: Callable[[Callable[[sa.Table], sqlite.Insert]], Executable]) -> PerDialect:
    """Build an INSERT with ON CONFLICT for both databases; they spell it alike."""
    alike = cast("Callable[[sa.Table], sqlite.Insert]", postgresql.insert)
    return PerDialect(make(sqlite.insert), make(alike))


def insert_new(table: sa.Table, *identity: str) -> PerDialect:
    """Insert unless a row of the same identity is there."""
    return per_dialect(lambda insert: insert(table).on_conflict_do_nothing(index_elements=identity))


def insert_once(table: sa.Table) -> PerDialect:
    """Insert unless any unique key of the table is taken; the caller looks at the row count."""
    return per_dialect(lambda insert: insert(table).on_conflict_do_nothing())


def upsert(table: sa.Table, *identity: str, keep: Sequence[str] = ()) -> PerDialect:
    """Insert, or replace the row of the same identity but for the columns ``keep``."""
    kept = {*identity, *keep, *(one.name for one in table.primary_key)}

    def make(insert: Callable[[sa.Table], sqlite.Insert]) -> Executable:
        statement = insert(table)
        new = {one.name: statement.excluded[one.name] for one in table.c if one.name not in kept}
        return statement.on_conflict_do_update(index_elements=identity, set_=new)

    return per_dialect(make)


_NEXT = per_dialect(
    lambda insert: (
        insert(counters)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
        .returning(counters.c.value)
    )
)


class Session:
    """Runs statements inside one transaction.

    Args:
        connection: A connection on which the transaction has begun.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._sqlite = connection.dialect.name == "sqlite"

    def run(self, statement: Executable | PerDialect, **values: object) -> int:
        """Run a statement; returns how many rows it touched."""
        return self._result(statement, values).rowcount

    def run_many(
        self, statement: Executable | PerDialect, rows: Sequence[Mapping[str, object]]
    ) -> int:
        """Run a statement once for each row of values; returns how many rows they touched."""
        return self._connection.execute(self._in_words(statement), rows).rowcount if rows else 0

    def rows(self, statement: Executable | PerDialect, **values: object) -> Sequence[Row]:
        """Read all rows."""
        return self._result(statement, values).fetchall()

    def first(self, statement: Executable | PerDialect, **values: object) -> Row | None:
        """Read the first row; None when there is none."""
        return self._result(statement, values).first()

    def next_number(self, counter: str) -> int:
        """Take the next number of a counter, from 1.

        The counter's row stays locked until the transaction ends: numbers have no gaps and become
        visible in their order, which the numbers of a database sequence do not.
        """
        return int(self._result(_NEXT, {"name": counter, "value": 1}).scalar_one())

    def _result(
        self, statement: Executable | PerDialect, values: Mapping[str, object]
    ) -> sa.CursorResult[Any]:
        words = self._in_words(statement)
        return cast("sa.CursorResult[Any]", self._connection.execute(words, values))

    def _in_words(self, statement: Executable | PerDialect) -> Executable:
        if isinstance(statement, PerDialect):
            return statement.sqlite if self._sqlite else statement.postgresql
        return statement
