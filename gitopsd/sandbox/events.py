"""Posts Events about pods as the kubelet does: repeats raise the count of the first one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.errors import GitopsdError
from gitopsd.sandbox.api_client import ApiRefusal
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api_client import ApiClient
    from gitopsd.sandbox.clock import Clock

LOG = logging.getLogger(__name__)
# Events are news, not truth: when the API server is slow, the oldest that wait are dropped.
QUEUE_LIMIT = 1000
KNOWN_EVENTS = 2000
COMPONENT = "kubelet"
MESSAGE_LIMIT = 1024

_Key: TypeAlias = tuple[str, str, str, str]


@dataclass(slots=True)
class _Posted:
    name: str
    count: int
    first: datetime


@dataclass(frozen=True, slots=True)
class _News:
    pod: JsonObject
    container: str
    kind: str
    reason: str
    message: str
    at: datetime


class EventRecorder:
    """Takes notes at once and posts them from one task; `run` has to be running."""

    def __init__(self, api: ApiClient, *, node_name: str, clock: Clock) -> None:
        self._api = api
        self._node_name = node_name
        self._clock = clock
        self._queue: asyncio.Queue[_News] = asyncio.Queue(QUEUE_LIMIT)
        self._posted: dict[_Key, _Posted] = {}
        self._number = 0

    def normal(self, pod: JsonObject, reason: str, message: str, *, container: str = "") -> None:
        """Note something expected."""
        self._note(_News(pod, container, "Normal", reason, message, self._clock.now()))

    def warning(self, pod: JsonObject, reason: str, message: str, *, container: str = "") -> None:
        """Note something a person may have to look at."""
        self._note(_News(pod, container, "Warning", reason, message, self._clock.now()))

    async def run(self) -> None:
        """Post what was noted, for ever. An Event that cannot be posted is dropped."""
        while True:
            news = await self._queue.get()
            try:
                await self._post(news)
            except GitopsdError as error:
                LOG.info(
                    "an Event was not posted",
                    extra={"action": "post-event", "reason": news.reason, "problem": str(error)},
                )

    def _note(self, news: _News) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(news)

    async def _post(self, news: _News) -> None:
        namespace = text_at(news.pod, "metadata", "namespace")
        uid = text_at(news.pod, "metadata", "uid")
        path = f"/api/v1/namespaces/{namespace}/events"
        key = (uid, news.container, news.reason, news.message)
        posted = self._posted.get(key)
        if posted is not None:
            posted.count += 1
            body: JsonObject = {"count": posted.count, "lastTimestamp": stamp(news.at)}
            try:
                await self._api.send_patch(f"{path}/{posted.name}", body)
            except ApiRefusal:
                # The first one expired or was deleted: begin a new series.
                del self._posted[key]
            else:
                return
        self._number += 1
        pod_name = text_at(news.pod, "metadata", "name")
        name = f"{pod_name}.{int(news.at.timestamp() * 1e6):x}{self._number:x}"
        while len(self._posted) >= KNOWN_EVENTS:
            self._posted.pop(next(iter(self._posted)))
        self._posted[key] = _Posted(name, 1, news.at)
        await self._api.send_new(path, self._event(news, name))

    def _event(self, news: _News, name: str) -> JsonObject:
        namespace = text_at(news.pod, "metadata", "namespace")
        involved: dict[str, str] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": text_at(news.pod, "metadata", "name"),
            "uid": text_at(news.pod, "metadata", "uid"),
            "resourceVersion": text_at(news.pod, "metadata", "resourceVersion"),
        }
        if news.container:
            involved["fieldPath"] = f"spec.containers{{{news.container}}}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": news.kind,
            "reason": news.reason,
            "message": news.message[:MESSAGE_LIMIT],
            "count": 1,
            "firstTimestamp": stamp(news.at),
            "lastTimestamp": stamp(news.at),
            "source": {"component": COMPONENT, "host": self._node_name},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
        }
