"""Columns as migrations write them; frozen: a change here would rewrite history."""

from __future__ import annotations

import sqlalchemy as sa

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.Text(), "sqlite")


def text(name: str, *, null: bool = False) -> sa.Column[str]:
    """Text of any length."""
    return sa.Column(name, sa.Text(), nullable=null)


def number(name: str, *, null: bool = False) -> sa.Column[int]:
    """A 64-bit number."""
    return sa.Column(name, _BIG, nullable=null, autoincrement=False)


def sequence(name: str) -> sa.Column[int]:
    """A number that the database gives."""
    return sa.Column(name, _BIG, sa.Identity(), nullable=False)


def moment(name: str, *, null: bool = False) -> sa.Column[object]:
    """A point in time."""
    return sa.Column(name, _MOMENT, nullable=null)


def json(name: str) -> sa.Column[object]:
    """A JSON document."""
    return sa.Column(name, sa.JSON(), nullable=False)


def flag(name: str) -> sa.Column[bool]:
    """True or false."""
    return sa.Column(name, sa.Boolean(), nullable=False)


def octets(name: str) -> sa.Column[bytes]:
    """Bytes."""
    return sa.Column(name, sa.LargeBinary(), nullable=False)
