"""Controllers of the harness: each follows one collection of a cluster in a thread of its own.

    follower = Follower(cluster.client, "/api/v1/persistentvolumes", on_change)
    follower.start()
    ...
    follower.close()                    # raises what ``on_change`` could not cope with

Every object is handed over as it is now, those that were there before included, and again after
each change. A handler is level-triggered: it may see the same object any number of times.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.cluster_client import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.cluster_client import ClusterClient

    OnChange: TypeAlias = Callable[[dict[str, Any]], None]

_AGAIN_AFTER_SECONDS = 0.2
_LASTS_SECONDS = 3600
_OVERTAKEN = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
_TERMINATING = "being terminated"


class FollowingError(Exception):
    """A controller of the harness could not do its work; the message says where and why."""


class Follower:
    """Hands every object of a collection to ``on_change``, in one thread.

    Trouble of the connection is tried again with everything there is; a write that was overtaken
    (the object or its namespace is gone or going, somebody else wrote) is left to the next event.
    """

    def __init__(self, client: ClusterClient, collection: str, on_change: OnChange) -> None:
        """Nothing happens before :meth:`start`."""
        self._client = client
        self._collection = collection
        self._on_change = on_change
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._problems: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name=f"following {collection}")

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End at once and wait until nothing is handed over any more.

        Safe to repeat: what has ended stays ended.
        """
        with self._lock:
            self._over.set()
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop, and say what went wrong meanwhile.

        Raises:
            FollowingError: ``on_change`` raised something that another event does not mend.
        """
        self.stop()
        if self._problems:
            message = f"the controller of {self._collection} failed: {self._problems[0]!r}"
            raise FollowingError(message) from self._problems[0]

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                for item in self._watch():
                    self._hand_over(item)
            except (OSError, http.client.HTTPException, ValueError):
                pass  # a lost connection, or half a line of one: everything is read again
            self._over.wait(_AGAIN_AFTER_SECONDS)

    def _hand_over(self, item: dict[str, Any]) -> None:
        if self._over.is_set():
            return
        try:
            self._on_change(item)
        except ApiError as error:
            if error.status not in _OVERTAKEN and _TERMINATING not in str(error):
                self._problems.append(error)
        except (OSError, http.client.HTTPException):
            raise
        except Exception as error:  # noqa: BLE001 - raised again in the thread of the test
            self._problems.append(error)

    def _watch(self) -> Iterator[dict[str, Any]]:
        connection = self._client.connect(_LASTS_SECONDS)
        try:
            connection.connect()
            with self._lock:
                if self._over.is_set():
                    return
                self._socket = connection.sock
            connection.request(
                "GET",
                f"{self._collection}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
                f"&resourceVersionMatch=NotOlderThan&timeoutSeconds={_LASTS_SECONDS}",
                headers={"User-Agent": "gitopsd-test-operators", **self._client.credentials},
            )
            response = connection.getresponse()
            if response.status == HTTPStatus.OK:
                yield from _objects(response)
        finally:
            with self._lock:
                self._socket = None
            connection.close()


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        event = json.loads(line)
        if event["type"] == "ERROR":
            return
        if event["type"] in {"ADDED", "MODIFIED"}:
            yield event["object"]
