"""Writes Events into the store as the controllers' recorders do: what repeats raises a count."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from gitopsd.sandbox.api.keys import Key, StoreRefusal
from gitopsd.sandbox.controllers.facts import EVENT
from gitopsd.sandbox.controllers.reading import name_of, namespace_of, uid_of
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.controllers.facts import Announcement

_Id = TypeVar("_Id")
_Value = TypeVar("_Value")
# The API server's --event-ttl.
KEPT_FOR = timedelta(hours=1)
# client-go's recorder: so many series are remembered; a message that keeps changing is combined
# with the ones before it; one source may tell of one object so often before it has to wait.
_SERIES = 4096
_COMBINED_FROM = 10
_COMBINED_WITHIN = timedelta(minutes=10)
_BURST, _REFILL = 25, timedelta(minutes=5)
_MESSAGE_LIMIT = 1024


@dataclass(slots=True)
class _Series:
    key: Key
    count: int
    last: datetime


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: datetime


@dataclass(slots=True)
class _Likes:
    messages: set[str]
    last: datetime


class EventJournal:
    """Keeps the Events of every controller; nothing here fails a controller's work."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._number = 0
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._likes: OrderedDict[tuple[str, ...], _Likes] = OrderedDict()
        self._budgets: OrderedDict[tuple[str, str], _Budget] = OrderedDict()
        self._made: deque[tuple[datetime, Key]] = deque()

    def note(self, news: Announcement, message: str, component: str) -> None:
        """Tell of something: a new Event, or one more time of the last one like it.

        Args:
            news: What to tell.
            message: Its message, filled in.
            component: Who tells.
        """
        now = self._clock.now()
        self._expire(now)
        if not self._may_tell(component, uid_of(news.about), now):
            return
        kind = "Warning" if news.warning else "Normal"
        like = (component, uid_of(news.about), kind, news.reason)
        message = message[:_MESSAGE_LIMIT]
        one: tuple[str, ...] = (*like, message)
        if self._is_one_of_many(like, message, now):
            message, one = f"(combined from similar events): {message}", like
        series = self._series.get(one)
        if series is None or not self._counted(series, message, now):
            key = self._key(news.about, now)
            made = self._event(news, message, component, key, now)
            try:
                self._store.create(key, made)
            except StoreRefusal:
                return
            self._made.append((now, key))
            self._series[one] = _Series(key, 1, now)
            _trim(self._series)

    def _counted(self, series: _Series, message: str, now: datetime) -> bool:
        event = self._store.get(series.key)
        if event is None or now - series.last > KEPT_FOR:
            return False
        series.count += 1
        series.last = now
        if text_at(event, "eventTime"):
            said: dict[str, Json] = {
                "series": {"count": series.count, "lastObservedTime": _precise(now)}
            }
        else:
            said = {"count": series.count, "lastTimestamp": stamp(now), "message": message}
        self._store.update(series.key, {**event, **said})
        return True

    def _is_one_of_many(self, like: tuple[str, ...], message: str, now: datetime) -> bool:
        likes = self._likes.get(like)
        if likes is None or now - likes.last > _COMBINED_WITHIN:
            likes = self._likes[like] = _Likes(set(), now)
            _trim(self._likes)
        likes.messages.add(message)
        likes.last = now
        return len(likes.messages) >= _COMBINED_FROM

    def _may_tell(self, component: str, uid: str, now: datetime) -> bool:
        budget = self._budgets.get((component, uid))
        if budget is None:
            budget = self._budgets[component, uid] = _Budget(_BURST, now)
            _trim(self._budgets)
        budget.tokens = min(_BURST, budget.tokens + (now - budget.at) / _REFILL)
        budget.at = now
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True

    def _expire(self, now: datetime) -> None:
        while self._made and now - self._made[0][0] > KEPT_FOR:
            _, key = self._made.popleft()
            if self._store.get(key) is not None:
                self._store.delete(key)

    def _key(self, about: JsonObject, now: datetime) -> Key:
        self._number += 1
        mark = int(now.timestamp() * 1e6) * 1000 + self._number % 1000
        namespace = namespace_of(about) or "default"
        return Key(*EVENT.resource, namespace, f"{name_of(about)}.{mark:x}")

    def _event(
        self, news: Announcement, message: str, component: str, key: Key, now: datetime
    ) -> dict[str, Json]:
        about = news.about
        involved = {
            "kind": text_at(about, "kind"),
            "namespace": namespace_of(about),
            "name": name_of(about),
            "uid": uid_of(about),
            "apiVersion": text_at(about, "apiVersion"),
            "resourceVersion": text_at(about, "metadata", "resourceVersion"),
        }
        event: dict[str, Json] = {
            "kind": EVENT.kind,
            "apiVersion": EVENT.api_version,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "reason": news.reason,
            "message": message,
            "type": "Warning" if news.warning else "Normal",
            "reportingComponent": component,
        }
        if news.action:
            return {
                **event,
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": _precise(now),
                "action": news.action,
                "reportingInstance": f"{component}-sandbox",
            }
        return {
            **event,
            "source": {"component": component},
            "firstTimestamp": stamp(now),
            "lastTimestamp": stamp(now),
            "count": 1,
            "eventTime": None,
            "reportingInstance": "",
        }


def _precise(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _trim(remembered: OrderedDict[_Id, _Value]) -> None:
    while len(remembered) > _SERIES:
        remembered.popitem(last=False)
