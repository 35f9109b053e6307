"""The work that is due, each piece once: what changes while it waits does not make it two."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from datetime import datetime

Work = TypeVar("Work", bound=Hashable)

FIRST_RETRY = timedelta(milliseconds=50)
LONGEST_RETRY = timedelta(seconds=30)
_MOST_DOUBLINGS = 16


class WorkQueue(Generic[Work]):
    """First in, first out, without doubles; pieces may be put off until a time.

    Of several times for one piece the earliest counts.
    """

    def __init__(self) -> None:
        self._ready: dict[Work, None] = {}
        self._later: list[tuple[datetime, int, Work]] = []
        self._due: dict[Work, datetime] = {}
        self._failures: dict[Work, int] = {}
        self._number = 0

    def add(self, work: Work) -> None:
        """Do it when its turn comes."""
        self._ready.setdefault(work)

    def add_later(self, work: Work, when: datetime) -> None:
        """Do it at a time, unless an earlier one is set."""
        due = self._due.get(work)
        if due is not None and due <= when:
            return
        self._due[work] = when
        self._number += 1
        heapq.heappush(self._later, (when, self._number, work))

    def add_failed(self, work: Work, now: datetime) -> None:
        """Do it again, later each time it has failed in a row."""
        failures = self._failures.get(work, 0)
        self._failures[work] = min(failures + 1, _MOST_DOUBLINGS)
        self.add_later(work, now + min(FIRST_RETRY * 2**failures, LONGEST_RETRY))

    def forgive(self, work: Work) -> None:
        """Forget its failures: it went well."""
        self._failures.pop(work, None)

    def take(self, now: datetime) -> Work | None:
        """The next piece, and it is the caller's; None when nothing is due."""
        while self._later and self._later[0][0] <= now:
            when, _, work = heapq.heappop(self._later)
            if self._due.get(work) == when:
                del self._due[work]
                self.add(work)
        for first in self._ready:
            del self._ready[first]
            return first
        return None

    def next_due(self) -> datetime | None:
        """When the next piece is due that was put off; None when none was."""
        while self._later and self._due.get(self._later[0][2]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    @property
    def has_ready(self) -> bool:
        """Whether something could be taken without waiting."""
        return bool(self._ready)
