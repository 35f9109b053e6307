"""What happened in the store, in order: a bounded ring, and feeds that follow it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Self

from gitopsd.sandbox.api.keys import HistoryLost, Key, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gitopsd.domain.manifests import JsonObject

KEPT_CHANGES = 4096


class Action(Enum):
    """What happened to an object, in the words of watches."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One write.

    Attributes:
        action: What happened.
        key: To which object.
        object: The object afterwards; of a deleted one its last state at the deletion's version.
        before: The object before; None when it was created.
        version: The store's version of this write.
    """

    action: Action
    key: Key
    object: JsonObject
    before: JsonObject | None
    version: int


class Feed:
    """Follows the store for one subscriber; use it as a context manager.

    Nothing is lost and order is kept, unless more than `limit` changes wait unread.
    """

    def __init__(
        self,
        leave: Callable[[Feed], None],
        kinds: frozenset[Kind] | None,
        limit: int | None,
        waiting: Iterator[Change],
    ) -> None:
        self._leave = leave
        self._kinds = kinds
        self._limit = limit
        self._waiting = deque(waiting)
        self._wake = asyncio.Event()
        self._lost: HistoryLost | None = None
        if self._waiting:
            self._wake.set()

    def __enter__(self) -> Self:
        """Follow."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow no longer."""
        self.close()

    def close(self) -> None:
        """Follow no longer. Safe to repeat."""
        self._leave(self)

    def take(self) -> tuple[Change, ...]:
        """Every change that waits, without waiting for one.

        Raises:
            HistoryLost: The subscriber was too slow; it must list again.
        """
        if self._lost is not None:
            raise self._lost
        taken = tuple(self._waiting)
        self._waiting.clear()
        self._wake.clear()
        return taken

    async def wait(self) -> tuple[Change, ...]:
        """At least one change, and all others that wait with it.

        Raises:
            HistoryLost: The subscriber was too slow; it must list again.
        """
        await self.ready()
        return self.take()

    async def ready(self) -> None:
        """Wait until there is something to take, or the feed was broken off."""
        await self._wake.wait()

    def tell(self, change: Change) -> None:
        """Called by the store for each write."""
        if self._kinds is not None and change.key.kind not in self._kinds:
            return
        if self._limit is not None and len(self._waiting) >= self._limit:
            self._waiting.clear()
            self._lost = HistoryLost(change.version, change.version)
        elif self._lost is None:
            self._waiting.append(change)
        self._wake.set()


class History:
    """The newest changes of a store."""

    def __init__(self, keep: int = KEPT_CHANGES, version: int = 0) -> None:
        self._changes: deque[Change] = deque(maxlen=keep)
        self._feeds: list[Feed] = []
        self._lost_up_to = version

    @property
    def oldest(self) -> int:
        """The oldest version after which every change is still kept."""
        return self._lost_up_to

    def append(self, change: Change) -> None:
        """Note a write and tell every feed."""
        if len(self._changes) == self._changes.maxlen:
            self._lost_up_to = self._changes[0].version
        self._changes.append(change)
        for feed in tuple(self._feeds):
            feed.tell(change)

    def compact(self, version: int) -> None:
        """Forget every change up to and with `version`."""
        while self._changes and self._changes[0].version <= version:
            self._changes.popleft()
        self._lost_up_to = max(self._lost_up_to, version)

    def since(self, version: int) -> Iterator[Change]:
        """Every change after `version`, oldest first.

        Raises:
            HistoryLost: Some of them are not kept any more.
        """
        if version < self._lost_up_to:
            raise HistoryLost(version, self._lost_up_to)
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.version <= version:
                break
            found.append(change)
        return reversed(found)

    def follow(self, kinds: frozenset[Kind] | None, limit: int | None, since: int | None) -> Feed:
        """Open a feed of what happens from now on, or after a version.

        Raises:
            HistoryLost: Changes after `since` are not kept any more.
        """
        missed: Iterator[Change] = iter(())
        if since is not None:
            past = self.since(since)
            missed = (item for item in past if kinds is None or item.key.kind in kinds)
        feed = Feed(self._forget, kinds, limit, missed)
        self._feeds.append(feed)
        return feed

    def _forget(self, feed: Feed) -> None:
        if feed in self._feeds:
            self._feeds.remove(feed)
