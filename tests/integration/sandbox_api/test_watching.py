"""Watches, simulated and real: resumed, begun with everything, narrowed, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster_objects import config_map
from tests.support.raw_requests import TABLE, send, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster_client import ClusterClient
    from tests.support.cluster_site import Site

WHOLE = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


class Shop:
    """The ConfigMaps of one namespace."""

    def __init__(self, client: ClusterClient, namespace: str) -> None:
        """Work there."""
        self.client = client
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"

    def make(self, name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
        """Apply one."""
        obj = config_map(name, self.namespace, **data)
        obj["metadata"]["labels"] = labels or {}
        return self.client.apply(f"{self.path}/{name}", obj)

    def version(self) -> str:
        """The version of the list now."""
        found: str = self.client.get(self.path)["metadata"]["resourceVersion"]
        return found

    def watch(self, query: str, **headers: str) -> Any:  # noqa: ANN401 - a context manager
        """Watch them."""
        return watch(self.client, f"{self.path}?watch=1&timeoutSeconds=30&{query}", **headers)


@pytest.fixture
def shop(cluster: Site) -> Shop:
    """A namespace to watch, of each kind of cluster."""
    return Shop(cluster.cluster.client, cluster.namespace)


def names_of(events: Iterator[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    """The next events: what happened to which object."""
    taken = [next(events) for _ in range(count)]
    return [(item["type"], item["object"]["metadata"]["name"]) for item in taken]


def test_a_watch_goes_on_from_a_version(shop: Shop) -> None:
    """Every change after it comes, in order, and none before."""
    shop.make("a")
    version = shop.version()
    shop.make("b")
    shop.make("b", mode="x")
    shop.client.delete(f"{shop.path}/a")

    with shop.watch(f"resourceVersion={version}") as events:
        assert names_of(events, 3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
        shop.make("c")
        assert names_of(events, 1) == [("ADDED", "c")]


def test_a_watch_can_begin_with_everything(shop: Shop) -> None:
    """The first objects come as added; a marked bookmark says that they are all there."""
    shop.make("a")
    shop.make("b")

    with shop.watch(WHOLE) as events:
        seen = []
        for event in events:
            if event["type"] == "BOOKMARK":
                break
            seen.append(event["object"]["metadata"]["name"])
        meta = event["object"]["metadata"]
        shop.make("c")
        assert names_of(events, 1) == [("ADDED", "c")]

    assert {"a", "b"} <= set(seen)
    assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(meta["resourceVersion"]) > 0


def test_a_watch_without_a_version_begins_with_everything(shop: Shop) -> None:
    """So it is on a real server too."""
    shop.make("a")

    with shop.watch("fieldSelector=metadata.name%3Da") as events:
        assert names_of(events, 1) == [("ADDED", "a")]


def test_a_selector_makes_events_of_what_enters_and_leaves(shop: Shop) -> None:
    """Gaining the label adds an object for this watcher, losing it deletes it."""
    with shop.watch(f"resourceVersion={shop.version()}&labelSelector=team%3Da") as events:
        shop.make("x")
        shop.make("x", {"team": "a"})
        shop.make("x", {"team": "a"}, mode="b")
        shop.make("x", {"team": "b"})
        taken = [next(events) for _ in range(3)]

    assert [item["type"] for item in taken] == ["ADDED", "MODIFIED", "DELETED"]
    assert taken[2]["object"]["metadata"]["labels"] == {"team": "a"}
    versions = [int(item["object"]["metadata"]["resourceVersion"]) for item in taken]
    assert versions == sorted(set(versions))


def test_a_watch_ends_when_it_was_asked_to(shop: Shop) -> None:
    """The server ends the stream; nothing but bookmarks came on it."""
    path = f"{shop.path}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"
    with watch(shop.client, f"{path}&resourceVersion={shop.version()}") as events:
        assert {event["type"] for event in events} <= {"BOOKMARK"}


def test_a_watch_can_be_of_table_rows(shop: Shop) -> None:
    """The columns are described in the first event alone."""
    shop.make("a", mode="x")
    shop.make("b")

    query = f"{WHOLE}&fieldSelector=metadata.name!%3Dkube-root-ca.crt"
    with shop.watch(query, Accept=TABLE) as events:
        first, second = next(events)["object"], next(events)["object"]

    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert first["rows"][0]["cells"][:2] == ["a", 1]
    assert second["columnDefinitions"] is None


def test_a_watch_of_before_initial_events_says_where_they_end(shop: Shop) -> None:
    """Without a version, or from any, it begins with everything; a bookmark marks the end."""
    shop.make("a")
    for version in ("", "0"):
        query = f"allowWatchBookmarks=true&resourceVersion={version}"
        with shop.watch(f"{query}&fieldSelector=metadata.name%3Da") as events:
            assert names_of(events, 1) == [("ADDED", "a")]
            mark = next(events)
        assert mark["type"] == "BOOKMARK"
        marked = mark["object"]["metadata"]["annotations"]
        assert marked == {"k8s.io/initial-events-end": "true"}


FORBIDDEN = "Forbidden: resourceVersionMatch is forbidden"


@pytest.mark.parametrize(
    "query, status, said",
    [
        (
            "watch=1&sendInitialEvents=true",
            422,
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            422,
            f"{FORBIDDEN} for watch unless sendInitialEvents is provided",
        ),
        (
            "watch=1&resourceVersionMatch=Exact&continue=a",
            422,
            (
                f"[resourceVersionMatch: {FORBIDDEN} for watch unless sendInitialEvents is "
                'provided, resourceVersionMatch: Unsupported value: "Exact": supported values: '
                f'"NotOlderThan", resourceVersionMatch: {FORBIDDEN} when continue is provided]'
            ),
        ),
        ("sendInitialEvents=false", 422, "sendInitialEvents is forbidden for list"),
        (
            "resourceVersionMatch=Odd",
            422,
            (
                f"[resourceVersionMatch: {FORBIDDEN} unless resourceVersion is provided, "
                'resourceVersionMatch: Unsupported value: "Odd": supported values: "Exact", '
                '"NotOlderThan", ""]'
            ),
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            422,
            'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("watch=1&timeoutSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "resourceVersion=x",
            400,
            (
                'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: '
                'parsing "x": invalid syntax'
            ),
        ),
        ("watch=1&resourceVersion=x", 500, 'parsing "x": invalid syntax'),
        ("continue=abc", 400, "invalid continue token: continue key is not valid"),
    ],
)
def test_queries_that_make_no_sense_are_refused(
    shop: Shop, query: str, status: int, said: str
) -> None:
    """Everything that is wrong is said, in the same words."""
    reply = send(shop.client, "GET", f"{shop.path}?{query}")

    assert reply.status == status
    assert said in reply.body["message"]


def test_a_page_goes_on_at_its_own_version_alone(shop: Shop) -> None:
    """Whoever names another version with a token is refused."""
    for name in "ab":
        shop.make(name)
    first = send(shop.client, "GET", f"{shop.path}?limit=1").body["metadata"]

    query = f"limit=1&continue={first['continue']}&resourceVersion={first['resourceVersion']}"
    reply = send(shop.client, "GET", f"{shop.path}?{query}")

    assert reply.status == 400
    said = "specifying resource version is not allowed when using continue"
    assert reply.body["message"] == said


def test_a_page_at_a_version_is_of_that_version(shop: Shop) -> None:
    """A list without pages need only be no older."""
    shop.make("a", {"team": "a"}, mode="x")
    version = shop.version()
    shop.make("a", {"team": "a"}, mode="y")

    query = f"limit=5&resourceVersion={version}&labelSelector=team%3Da"
    (found,) = send(shop.client, "GET", f"{shop.path}?{query}").body["items"]

    assert found["data"] == {"mode": "x"}
