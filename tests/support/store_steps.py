"""Small steps that tests of stores take again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from gitopsd.store_ports import Store, Transaction

T = TypeVar("T")
V = TypeVar("V")


async def each(store: Store, values: Iterable[V], do: Callable[[Transaction, V], T]) -> list[T]:
    """Do something with each value, each in a transaction of its own; returns the answers."""
    return [await _one(store, value, do) for value in values]


async def _one(store: Store, value: V, do: Callable[[Transaction, V], T]) -> T:
    return await store.transact(lambda tx: do(tx, value))
