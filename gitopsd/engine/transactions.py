"""Runs a transaction again when one of its conditional writes lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction

T = TypeVar("T")

ATTEMPTS = 10
"""Losing this often in a row means something else is wrong; the caller's work item waits."""


async def retry_conflicts(store: Store, work: Callable[[Transaction], T]) -> T:
    """Run ``work`` until its conditional writes hold; it reads everything anew each time.

    Raises:
        ConflictError: It lost every time.
        TemporaryError: The database does not answer.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return await store.transact(work)
        except ConflictError:
            continue
    return await store.transact(work)
