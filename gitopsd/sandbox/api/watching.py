"""WATCH: a stream of changes, resumed from a version or begun with what there is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.forms import bookmark, make_presenter
from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.api.keys import HistoryLost
from gitopsd.sandbox.api.list_options import parse_list_options
from gitopsd.sandbox.api.reading import parse_selectors
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.status_errors import expired

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.forms import Presenter
    from gitopsd.sandbox.api.history import Change, Feed
    from gitopsd.sandbox.api.selectors import Select
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock

BOOKMARK_INTERVAL = timedelta(seconds=20)
LAST_BOOKMARK = timedelta(seconds=2)
DEFAULT_LASTING = timedelta(minutes=30)
# A client that reads slower than this many changes is sent away rather than waited for.
MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one watch is for."""

    namespace: str
    select: Select
    presenter: Presenter
    bookmarks: bool
    initial: bool
    since: int | None
    lasting: timedelta


class Watcher:
    """Makes streams of events.

    Args:
        store: What is watched.
        served: The resources.
        clock: Time.
    """

    def __init__(self, store: ObjectStore, served: ServedResources, clock: Clock) -> None:
        self._store = store
        self._served = served
        self._clock = clock

    def open(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """A stream of events; it ends after the time that was asked for.

        Raises:
            StatusError: The query contradicts itself, or a selector cannot be read.
        """
        return self._events(call, self._parse(call))

    def _parse(self, call: Call) -> _Wanted:
        options = parse_list_options(call.query, watch=True)
        seconds = timedelta(seconds=options.seconds)
        return _Wanted(
            namespace=call.asked.namespace,
            select=parse_selectors(call, self._served),
            presenter=make_presenter(self._served, call.resource, call.form, call.query),
            bookmarks=options.bookmarks,
            initial=options.initial,
            since=options.version if options.version and not options.initial else None,
            lasting=seconds or DEFAULT_LASTING,
        )

    async def _events(self, call: Call, wanted: _Wanted) -> AsyncGenerator[JsonObject, None]:
        kind = kind_of(call.resource)
        try:
            with self._store.subscribe(kind, since=wanted.since or 0, limit=MOST_WAITING) as feed:
                async for event in _Stream(self._store, self._clock, wanted, feed).events():
                    yield event
        except HistoryLost as error:
            yield {"type": "ERROR", "object": expired(error.message).body}


class _Stream:
    """One watch under way."""

    def __init__(self, store: ObjectStore, clock: Clock, wanted: _Wanted, feed: Feed) -> None:
        self._store = store
        self._clock = clock
        self._wanted = wanted
        self._feed = feed
        self._begun = False

    async def events(self) -> AsyncIterator[JsonObject]:
        ending = self._clock.now() + self._wanted.lasting
        if self._wanted.initial:
            begun = self._store.version
            for event in self._take():
                yield event
            if self._wanted.bookmarks:
                yield self._bookmark(begun, initial_end=True)
        due = self._next_bookmark(ending)
        while (now := self._clock.now()) < ending:
            await self._wait(min(ending, due) - now)
            for event in self._take():
                yield event
            if self._clock.now() >= due:
                due = self._next_bookmark(ending)
                if self._wanted.bookmarks:
                    yield self._bookmark(self._store.version)

    def _next_bookmark(self, ending: datetime) -> datetime:
        """From time to time, and once shortly before the end: who comes back misses little."""
        now = self._clock.now()
        last = ending - LAST_BOOKMARK
        regular = now + BOOKMARK_INTERVAL
        if now < last:
            return min(regular, last)
        return ending + BOOKMARK_INTERVAL

    async def _wait(self, at_most: timedelta) -> None:
        try:
            async with asyncio.timeout(max(at_most.total_seconds(), 0)):
                await self._feed.ready()
        except TimeoutError:
            return

    def _take(self) -> Iterator[JsonObject]:
        for change in self._feed.take():
            if self._wanted.namespace and change.key.namespace != self._wanted.namespace:
                continue
            # The columns of a table are described in the first event alone.
            event = _translate(change, self._wanted, self._clock.now(), headers=not self._begun)
            if event is not None:
                self._begun = True
                yield event

    def _bookmark(self, version: int, *, initial_end: bool = False) -> JsonObject:
        now = self._clock.now()
        mark = bookmark(self._wanted.presenter, version, now, initial_end=initial_end)
        return {"type": "BOOKMARK", "object": mark}


def _translate(
    change: Change, wanted: _Wanted, now: datetime, *, headers: bool
) -> JsonObject | None:
    """A change as it looks through a selector: what leaves it is deleted, what enters is added."""
    is_in = change.action is not Action.DELETED and wanted.select(change.object)
    was_in = change.before is not None and wanted.select(change.before)
    obj = change.object
    if is_in:
        action = Action.MODIFIED if was_in else Action.ADDED
    elif was_in and change.before is not None:
        action = Action.DELETED
        version = text_at(change.object, "metadata", "resourceVersion")
        meta = {**object_at(change.before, "metadata"), "resourceVersion": version}
        if change.action is not Action.DELETED:
            obj = {**change.before, "metadata": meta}
    else:
        return None
    return {
        "type": action.value,
        "object": wanted.presenter.show(obj, now, headers=headers),
    }
