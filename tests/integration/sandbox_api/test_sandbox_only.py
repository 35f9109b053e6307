"""What the sandbox has beyond a cluster, and what it will never have: switches, a log, 501."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.cluster_objects import config_map
from tests.support.cluster_site import Site, is_ready
from tests.support.images import web_image
from tests.support.processes import wait_until
from tests.support.raw_requests import lines, send, watch

if TYPE_CHECKING:
    from tests.support.registry import RegistryServer
    from tests.support.sandbox_server import SandboxServer

WITHIN = timedelta(seconds=20)
MINE = "a-client-under-test/1.0"


@pytest.fixture
def maps(sandbox_namespace: str) -> str:
    """The ConfigMaps of a fresh namespace."""
    return f"/api/v1/namespaces/{sandbox_namespace}/configmaps"


def control(server: SandboxServer, method: str, path: str, body: bytes) -> tuple[int, Any]:
    """Ask the control address for something it may refuse."""
    connection = http.client.HTTPConnection(urlsplit(server.control).netloc, timeout=20)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_every_request_is_logged(sandbox_server: SandboxServer, maps: str) -> None:
    """Who, what, as which manager, and how it ended; numbers have no gaps."""
    client = sandbox_server.client
    before = sandbox_server.last_request()
    send(client, "POST", f"{maps}?fieldManager=me&dryRun=All", {}, User_Agent=MINE)
    send(client, "GET", f"{maps}/none", User_Agent=MINE, Impersonate_User="somebody")
    with watch(client, f"{maps}?watch=1&timeoutSeconds=30", User_Agent=MINE):
        logged = sandbox_server.requests(before)

    mine = [item for item in logged if item["userAgent"] == MINE]
    assert [item["seq"] for item in logged] == list(range(before + 1, before + 1 + len(logged)))
    shown = [(item["verb"], item["method"], item["status"]) for item in mine]
    assert shown == [("create", "POST", 422), ("get", "GET", 403), ("watch", "GET", 200)]
    assert (mine[0]["fieldManager"], mine[0]["dryRun"]) == ("me", True)
    assert mine[0]["path"].startswith(maps)
    assert (mine[1]["user"], mine[1]["impersonated"]) == ("sandbox-admin", "somebody")


def test_a_stream_is_logged_when_it_begins(
    sandbox_server: SandboxServer, sandbox_registry: RegistryServer, sandbox_namespace: str
) -> None:
    """Whoever follows a log for hours is in the request log from the first minute."""
    site = Site(sandbox_server, sandbox_registry, sandbox_namespace)
    site.deploy(site.push(web_image("1"), "1").pinned)
    pod = site.pod(is_ready, "a ready pod")["metadata"]["name"]
    before = sandbox_server.last_request()

    path = f"{site.base}/pods/{pod}/log?follow=true"
    with lines(sandbox_server.client, path, User_Agent=MINE) as read:
        assert next(read)
        logged = [item for item in sandbox_server.requests(before) if item["userAgent"] == MINE]

    assert [(item["verb"], item["status"]) for item in logged] == [("get", 200)]


def test_a_switch_makes_chosen_requests_fail(quiet_server: SandboxServer, maps: str) -> None:
    """Only those that match, as often as was asked, with code, words and Retry-After."""
    client = quiet_server.client
    match = {"verb": "create", "path": "configmaps", "userAgent": "under-test"}
    quiet_server.add_fault({"match": match, "code": 429, "retryAfter": 2, "count": 2})
    body = config_map("a", "")
    del body["metadata"]["namespace"]

    tries = [send(client, "POST", maps, body, User_Agent=MINE) for _ in range(3)]

    assert [item.status for item in tries] == [429, 429, 201]
    assert tries[0].headers["retry-after"] == "2"
    assert tries[0].body["reason"] == "TooManyRequests"
    assert tries[0].body["details"]["retryAfterSeconds"] == 2
    assert send(client, "GET", maps, User_Agent=MINE).status == 200


def test_a_switch_can_delay_drop_and_hang(quiet_server: SandboxServer, maps: str) -> None:
    """A slow answer, a connection that is cut, and none at all."""
    client = quiet_server.client
    who = {"userAgent": "under-test"}
    quiet_server.add_fault({"match": who, "delay": 0.3, "count": 1})
    begun = time.monotonic()
    assert send(client, "GET", maps, User_Agent=MINE).status == 200
    assert time.monotonic() - begun >= 0.3

    quiet_server.add_fault({"match": who, "drop": True, "count": 1})
    with pytest.raises((http.client.HTTPException, OSError)):
        send(client, "GET", maps, User_Agent=MINE)

    before = quiet_server.last_request()
    quiet_server.add_fault({"match": who, "hang": True, "count": 1})
    connection = http.client.HTTPSConnection(
        str(client.address), client.port, timeout=20, context=client.tls
    )
    connection.request("GET", maps, headers={**client.credentials, "User-Agent": MINE})

    def logged() -> list[int]:
        asked = quiet_server.requests(before)
        return [item["status"] for item in asked if item["userAgent"] == MINE]

    wait_until(lambda: logged() == [0], what="a request without an answer", within=WITHIN)
    connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()


def test_switches_are_shown_and_switched_off(quiet_server: SandboxServer) -> None:
    """One by its number, or all at once; a wrong one is refused with what is known."""
    first = quiet_server.add_fault({"match": {"user": "nobody-at-all"}, "code": 500})
    second = quiet_server.add_fault(
        {"match": {"verb": ["list", "watch"], "path": "^/none"}, "hang": True}
    )

    status, shown = control(quiet_server, "GET", "/faults", b"")
    assert (status, [item["id"] for item in shown]) == (200, [first, second])
    assert shown[1]["match"] == {"verb": ["list", "watch"], "path": "^/none"}
    assert control(quiet_server, "DELETE", f"/faults/{first}", b"") == (200, {"removed": 1})
    assert control(quiet_server, "DELETE", "/faults", b"") == (200, {"removed": 1})
    for body, word in ((b'{"cod": 1}', "unknown fields: cod"), (b"{", "no JSON")):
        status, answer = control(quiet_server, "POST", "/faults", body)
        assert status == 400
        assert word in answer["error"]


def test_whoever_asks_for_something_else_hears_what_there_is(sandbox_server: SandboxServer) -> None:
    """A wrong path or method is answered with the requests that exist."""
    for method, path, expected in (("GET", "/", 404), ("PUT", "/faults", 405)):
        status, answer = control(sandbox_server, method, path, b"")
        assert status == expected
        assert "GET, POST and DELETE /faults" in answer["error"]


def test_a_bookmark_comes_before_the_end(sandbox_server: SandboxServer, maps: str) -> None:
    """Whoever comes back goes on from its version, and has missed little."""
    client = sandbox_server.client
    version = client.get(maps)["metadata"]["resourceVersion"]
    path = f"{maps}?watch=1&timeoutSeconds=3&allowWatchBookmarks=true&resourceVersion={version}"
    with watch(client, path) as events:
        last = list(events)[-1]

    assert last["type"] == "BOOKMARK"
    assert int(last["object"]["metadata"]["resourceVersion"]) >= int(version)


def test_forgotten_history_ends_a_watch_with_410(sandbox_server: SandboxServer, maps: str) -> None:
    """The stream says Expired in an event; a list at that version is refused the same way."""
    client = sandbox_server.client
    version = client.get(maps)["metadata"]["resourceVersion"]
    client.create(maps, {"metadata": {"name": "a"}})
    sandbox_server.forget_history()

    with watch(client, f"{maps}?watch=1&timeoutSeconds=30&resourceVersion={version}") as events:
        event = next(events)
    listed = send(client, "GET", f"{maps}?resourceVersion={version}&resourceVersionMatch=Exact")

    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert "too old resource version" in event["object"]["message"]
    assert (listed.status, listed.body["reason"]) == (410, "Expired")


def test_a_version_of_another_cluster_is_expired(sandbox_server: SandboxServer, maps: str) -> None:
    """Whoever comes back to a cluster that was made anew is told to list again."""
    future = "9" * 15
    with watch(
        sandbox_server.client, f"{maps}?watch=1&timeoutSeconds=30&resourceVersion={future}"
    ) as events:
        event = next(events)
    listed = send(sandbox_server.client, "GET", f"{maps}?resourceVersion={future}")

    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert (listed.status, listed.body["reason"]) == (504, "Timeout")


def test_pages_of_a_browser_cannot_switch_anything(sandbox_server: SandboxServer) -> None:
    """The control address refuses requests that say which page they come from."""
    connection = http.client.HTTPConnection(urlsplit(sandbox_server.control).netloc, timeout=20)
    connection.request("POST", "/compact", headers={"Origin": "https://page.example"})
    assert connection.getresponse().status == 403
    connection.close()


def test_connections_can_be_cut(sandbox_server: SandboxServer, maps: str) -> None:
    """A stream breaks off; a new request is answered."""
    client = sandbox_server.client
    begun = time.monotonic()
    with watch(client, f"{maps}?watch=1&timeoutSeconds=50") as events:
        sandbox_server.disconnect()
        with suppress(http.client.HTTPException, OSError):
            list(events)

    assert time.monotonic() - begun < 40
    assert send(client, "GET", maps).status == 200
