"""The one clock that stored times come from."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

import sqlalchemy as sa

from gitopsd.store.session import Session

_ASK = sa.select(sa.func.clock_timestamp().label("now"))


class StoreClock:
    """Tells a time that never goes back, whatever the machine's clock does.

    When the machine's clock was set back, this one goes on at half speed until it is caught up:
    standing still would make every lease and deadline endless.

    Args:
        ask: Asks for the time of day, aware.
        elapsed: Seconds that never go back; None for a clock that only the test sets.
    """

    def __init__(
        self,
        ask: Callable[[Session], datetime],
        elapsed: Callable[[], float] | None = time.monotonic,
    ) -> None:
        self._ask = ask
        self._elapsed = elapsed or (lambda: 0.0)
        self._lock = Lock()
        self._last: datetime | None = None
        self._told_at = 0.0

    def tell(self, session: Session) -> datetime:
        """Tell the time inside a transaction."""
        asked = self._ask(session).astimezone(UTC)
        with self._lock:
            read_at = self._elapsed()
            if self._last is not None and asked < self._last:
                asked = self._last + timedelta(seconds=(read_at - self._told_at) / 2)
            self._last, self._told_at = asked, read_at
            return asked

    def advance_to(self, mark: datetime) -> None:
        """Never tell a time before ``mark``: what was stored before this process started."""
        with self._lock:
            if self._last is None or mark > self._last:
                self._last, self._told_at = mark, self._elapsed()


def process_time(_: Session) -> datetime:
    """Ask this machine; for SQLite, which runs in this process."""
    return datetime.now(UTC)  # noqa: TID251 - with SQLite this machine's clock is the database's


def server_time(session: Session) -> datetime:
    """Ask the PostgreSQL server, not for the transaction's begin but for this moment."""
    moment: datetime = session.rows(_ASK)[0].now
    return moment
