"""Waits for what the API server reports, by watching it instead of asking again and again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.processes import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.cluster_client import ClusterClient

DEFAULT_WITHIN = timedelta(seconds=30)

Objects: TypeAlias = "list[dict[str, Any]]"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with what tests look at."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def wait_for_objects(
    client: ClusterClient,
    collection: str,
    condition: Callable[[Objects], object],
    *,
    what: str,
    within: timedelta = DEFAULT_WITHIN,
) -> Objects:
    """Follow a collection until `condition` holds for its objects, and return these.

    Args:
        client: Who asks.
        collection: Path, with selectors in its query if wanted.
        condition: Gets the objects there are after each change; any true value ends the wait.
        what: Completes "waited for ..." in the message.
        within: How long to wait at most.

    Raises:
        WaitTimeoutError: The condition did not hold in time; the message shows the objects.
    """
    found: dict[str, dict[str, Any]] = {}
    complete = False
    for event in _watch(client, collection, within):
        # The first objects come one by one; None says that all of them are here.
        complete = complete or event is None
        if event is not None:
            uid = event["object"]["metadata"]["uid"]
            if event["type"] == "DELETED":
                found.pop(uid, None)
            else:
                found[uid] = event["object"]
        if complete and condition(list(found.values())):
            return list(found.values())
    shown = [
        {"name": item["metadata"]["name"], "status": item.get("status")} for item in found.values()
    ]
    message = f"waited {within.total_seconds():g} s for {what}; now: {json.dumps(shown)}"
    raise WaitTimeoutError(message)


def ask(client: ClusterClient, path: str, *, method: str = "GET") -> Answer:
    """One request with everything of its answer, whatever its status: for proxied requests."""
    connection = client.connect(20)
    try:
        connection.request(method, path, headers=client.credentials)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def _watch(
    client: ClusterClient, collection: str, within: timedelta
) -> Iterator[dict[str, Any] | None]:
    """Events of a watch that begins with everything there is; None after the last of these."""
    deadline = time.monotonic() + within.total_seconds()
    seconds = max(int(within.total_seconds()), 1)
    mark = "&" if "?" in collection else "?"
    connection = client.connect(seconds + 5)
    try:
        connection.request(
            "GET",
            f"{collection}{mark}watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
            f"&resourceVersionMatch=NotOlderThan&timeoutSeconds={seconds}",
            headers=client.credentials,
        )
        response = connection.getresponse()
        for line in response:
            event = json.loads(line)
            if event["type"] == "BOOKMARK":
                yield None
            elif event["type"] == "ERROR":
                message = f"watch of {collection}: {event['object'].get('message')}"
                raise WaitTimeoutError(message)
            else:
                yield event
            if time.monotonic() > deadline:
                return
    finally:
        connection.close()
