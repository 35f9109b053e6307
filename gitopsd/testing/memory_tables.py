"""Tables of the in-memory store: dictionaries that can undo what a transaction wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from gitopsd.domain.work import Page
from gitopsd.errors import ConflictError, PermanentError

K = TypeVar("K")
V = TypeVar("V")


class Journal:
    """What undoes the writes of the transaction under way, in the order they were made."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._since_backup: list[Callable[[], None]] | None = None
        self.writable = False

    def note(self, undo: Callable[[], None]) -> None:
        """Remember how to undo a write.

        Raises:
            PermanentError: A read wants to write.
        """
        if not self.writable:
            raise PermanentError(
                "A function run by Store.read tried to write; run it by Store.transact instead.",
                reason="ReadOnly",
            )
        self._undo.append(undo)

    def roll_back(self) -> None:
        """Undo everything, newest first."""
        while self._undo:
            self._undo.pop()()

    def commit(self) -> None:
        """Keep everything."""
        if self._since_backup is not None:
            self._since_backup += self._undo
        self._undo.clear()

    def back_up(self) -> None:
        """Remember this moment."""
        self._since_backup = []

    def restore(self) -> None:
        """Undo everything that was kept since the moment remembered last, newest first."""
        kept = self._since_backup or []
        while kept:
            kept.pop()()


class Table(Generic[K, V]):
    """One table: keys in the order of their insertion, values that never change in place.

    Args:
        journal: Learns how to undo each write.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._rows: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Read one row."""
        return self._rows.get(key)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._rows.values()))

    def __reversed__(self) -> Iterator[V]:
        return iter(list(reversed(self._rows.values())))

    def __len__(self) -> int:
        return len(self._rows)

    def items(self) -> list[tuple[K, V]]:
        """Read all rows with their keys, oldest first."""
        return list(self._rows.items())

    def insert(self, key: K, value: V) -> None:
        """Add a row.

        Raises:
            ConflictError: The key is there already.
        """
        if key in self._rows:
            raise ConflictError(f"A row {key} is there already; read it and decide anew.")
        self.put(key, value)

    def put(self, key: K, value: V) -> None:
        """Add or replace a row; a replaced row keeps its place."""
        rows = self._rows
        if key in rows:
            old = rows[key]
            self._journal.note(lambda: rows.__setitem__(key, old))
        else:
            self._journal.note(lambda: rows.__delitem__(key))
        rows[key] = value

    def remove(self, key: K) -> None:
        """Drop a row; nothing happens when there is none."""
        if key not in self._rows:
            return
        before = dict(self._rows)
        self._journal.note(lambda: self._restore(before))
        del self._rows[key]

    def _restore(self, rows: dict[K, V]) -> None:
        self._rows.clear()
        self._rows.update(rows)


class Counter:
    """Numbers from 1; one that a rolled back transaction took is given again.

    Args:
        journal: Learns how to undo each step.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last = 0

    def next(self) -> int:
        """Take the next number."""
        last = self._last
        self._journal.note(lambda: self._set(last))
        self._last += 1
        return self._last

    def _set(self, value: int) -> None:
        self._last = value


def page_of(rows: Iterable[V], page: Page, cursor: Callable[[V], str]) -> list[V]:
    """Select one page of rows that are in the order of the list.

    Args:
        rows: All rows of the list.
        page: The cursor is what ``cursor`` says of the last row of the previous page; one that
            is not in the list selects nothing.
        cursor: Names a row.
    """
    found: list[V] = []
    started = not page.before
    for row in rows:
        if started and len(found) < page.limit:
            found.append(row)
        started = started or cursor(row) == page.before
    return found
