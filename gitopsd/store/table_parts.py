"""What tables are made of, and the metadata that holds them all."""

from __future__ import annotations

import sqlalchemy as sa

from gitopsd.store.column_types import BIG_NUMBER, UtcDateTime

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[str]:
    """Text of any length."""
    return sa.Column(name, sa.Text, primary_key=key, nullable=null)


def number(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    """A 64-bit number."""
    return sa.Column(name, BIG_NUMBER, primary_key=key, nullable=null, autoincrement=False)


def moment(name: str, *, null: bool = False) -> sa.Column[object]:
    """A point in time."""
    return sa.Column(name, UtcDateTime, nullable=null)


def json(name: str) -> sa.Column[object]:
    """A JSON document."""
    return sa.Column(name, sa.JSON, nullable=False)


def sequence(name: str = "seq") -> sa.Column[int]:
    """A number that the database gives."""
    return sa.Column(name, BIG_NUMBER, sa.Identity(), primary_key=True)


def table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    """A table of the schema."""
    # Numbers given by the database are asked for with RETURNING where they are wanted.
    return sa.Table(name, METADATA, *parts, implicit_returning=False)
