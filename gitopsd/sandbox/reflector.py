"""Follows one collection of the API: a list, then watches; a new list when history is lost."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.errors import TemporaryError
from gitopsd.sandbox.api_client import GONE, ApiRefusal
from gitopsd.sandbox.clock import jittered
from gitopsd.sandbox.fields import number_at, object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api_client import ApiClient
    from gitopsd.sandbox.clock import Clock

LOG = logging.getLogger(__name__)
FIRST_RETRY = timedelta(milliseconds=200)
LONGEST_RETRY = timedelta(seconds=10)
WATCH_LASTS = timedelta(minutes=5)
PAGE = "500"


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it is now."""

    object: JsonObject


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that is no more; as it was last."""

    object: JsonObject


Change: TypeAlias = Seen | Gone


class Reflector:
    """Yields every change of the objects in one collection, for ever.

    Each object is `Seen` at least once after its last change, and `Gone` once, also when the watch
    missed it. Trouble with the server is retried with back-off and never ends the iteration.
    """

    def __init__(
        self, api: ApiClient, path: str, *, selectors: Mapping[str, str], clock: Clock
    ) -> None:
        self._api = api
        self._path = path
        self._selectors = dict(selectors)
        self._clock = clock
        self._known: dict[str, JsonObject] = {}
        self._version = ""

    async def fetch_changes(self) -> AsyncIterator[Change]:
        """List and watch until the caller stops iterating."""
        retry = FIRST_RETRY
        while True:
            try:
                if not self._version:
                    for change in await self._fetch_list():
                        yield change
                async for change in self._fetch_watch():
                    retry = FIRST_RETRY
                    yield change
                # A server that ends streams at once must not be asked in a tight loop.
                await self._clock.sleep(jittered(FIRST_RETRY))
            except (TemporaryError, ApiRefusal) as error:
                LOG.warning(
                    "following a collection was interrupted",
                    extra={"action": "watch", "path": self._path, "problem": str(error)},
                )
                if isinstance(error, ApiRefusal):
                    self._version = ""
                await self._clock.sleep(jittered(retry))
                retry = min(retry * 2, LONGEST_RETRY)

    async def _fetch_list(self) -> list[Change]:
        items: list[JsonObject] = []
        token = ""
        while True:
            params = {**self._selectors, "limit": PAGE}
            if token:
                params["continue"] = token
            page = await self._api.fetch(self._path, params)
            items.extend(objects_at(page, "items"))
            token = text_at(page, "metadata", "continue")
            if not token:
                break
        self._version = text_at(page, "metadata", "resourceVersion")
        found = {text_at(item, "metadata", "uid"): item for item in items}
        gone = [Gone(item) for uid, item in self._known.items() if uid not in found]
        self._known = found
        return [*gone, *(Seen(item) for item in items)]

    async def _fetch_watch(self) -> AsyncIterator[Change]:
        params = {**self._selectors, "resourceVersion": self._version}
        lasting = WATCH_LASTS / 2 + jittered(WATCH_LASTS)
        async for event in self._api.fetch_events(self._path, params, lasting=lasting):
            kind, item = text_at(event, "type"), object_at(event, "object")
            if kind == "ERROR":
                code = int(number_at(item, "code"))
                if code == GONE:
                    self._version = ""
                    return
                raise TemporaryError(f"the watch ended with {code}: {text_at(item, 'message')}")
            self._version = text_at(item, "metadata", "resourceVersion")
            uid = text_at(item, "metadata", "uid")
            if kind == "DELETED":
                self._known.pop(uid, None)
                yield Gone(item)
            elif kind != "BOOKMARK":
                self._known[uid] = item
                yield Seen(item)
