"""Webhook deliveries over a real socket: what is answered, and what is stored."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.sources import Delivery, ReceiverName, ReceiverSpec, ReceiverType
from gitopsd.domain.work import Page
from gitopsd.entrypoints.http.limits import Rate
from gitopsd.errors import TemporaryError
from gitopsd.webhooks.signatures import compute_standard_signature
from tests.support.deliveries import sign
from tests.support.engine_world import MAIN, REPO, SECRET, STAGING, deployment
from tests.support.http_world import IMAGE, HttpWorld, send_raw, serving_world

OVERSIZE = 25 * 1024 * 1024 + 1


@dataclass
class Told:
    """What the sender was told."""

    status: int
    message: str
    headers: dict[str, str]


def push_body(after: str = "b" * 40) -> bytes:
    """The body of a push to the shop's repository."""
    payload: Json = {
        "ref": MAIN,
        "before": "0" * 40,
        "after": after,
        "repository": {"clone_url": REPO, "full_name": "example/shop-deploy"},
    }
    return json.dumps(payload).encode()


def headers_of(body: bytes, *, event: str = "push", guid: str = "guid-1") -> dict[str, str]:
    """The headers GitHub would send with a body."""
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid,
        "X-Hub-Signature-256": sign(SECRET, body),
    }


async def deliver(
    http: HttpWorld, body: bytes, headers: dict[str, str], receiver: str = "github"
) -> Told:
    """Send one delivery."""
    async with http.session.post(
        f"{http.url}/hooks/{receiver}", data=io.BytesIO(body), headers=headers
    ) as answer:
        document = await answer.json()
        return Told(answer.status, document["message"], dict(answer.headers))


async def stored(http: HttpWorld) -> list[Delivery]:
    """What lies in the inbox."""
    return list(await http.world.store.read(lambda tx: tx.deliveries.page(Page())))


async def refused(http: HttpWorld) -> dict[str, int]:
    """How often badly signed requests were counted."""
    return dict(await http.world.store.read(lambda tx: tx.deliveries.refused()))


async def test_a_signed_push_is_stored_and_reaches_staging() -> None:
    """202, one row without its signature, and the release follows."""
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE), hint=False)
        body = push_body(sha)
        told = await deliver(http, body, headers_of(body))
        await http.world.until(lambda: _has_run(http), "a run in staging")
        rows = await stored(http)

    assert (told.status, told.message) == (202, "Stored.")
    assert [row.body for row in rows] == [body]
    assert "x-hub-signature-256" not in dict(rows[0].headers)


async def _has_run(http: HttpWorld) -> bool:
    return bool(await http.world.runs(STAGING))


@pytest.mark.parametrize("kind", ["none", "wrong", "other-secret", "other-body", "sha1", "empty"])
async def test_an_unsigned_or_wrongly_signed_request_leaves_nothing_but_a_counter(
    kind: str,
) -> None:
    """401 with one constant body, whatever was wrong."""
    body = push_body()
    headers = headers_of(body)
    signatures = {
        "wrong": "sha256=" + "0" * 64,
        "other-secret": sign(b"another secret", body),
        "other-body": sign(SECRET, body + b" "),
        "sha1": "sha1=" + "0" * 40,
        "empty": "",
    }
    headers["X-Hub-Signature-256"] = signatures.get(kind, "")
    if kind == "none":
        del headers["X-Hub-Signature-256"]
    async with serving_world(run=False) as http:
        told = await deliver(http, body, headers)
        rows, counted = await stored(http), await refused(http)
        listed = await http.get("/deliveries")

    assert (told.status, told.message) == (401, "The signature is missing or wrong.")
    assert rows == []
    assert counted == {"github": 1}
    assert listed["refused"] == {"github": 1}


async def test_a_ping_and_what_concerns_nothing_are_answered_and_not_stored() -> None:
    """200 tells the sender that the address works."""
    body = b'{"zen": "Keep it logically awesome."}'
    async with serving_world(run=False) as http:
        ping = await deliver(http, body, headers_of(body, event="ping"))
        other = await deliver(http, body, headers_of(body, event="issues"))
        unsigned = await deliver(
            http,
            body,
            headers_of(body, event="ping") | {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        )
        rows = await stored(http)

    assert (ping.status, ping.message) == (200, "Pong.")
    assert other.status == 200
    assert other.message.startswith("Nothing to do: ")
    assert unsigned.status == 401
    assert rows == []


async def test_every_delivery_is_counted_by_what_became_of_it() -> None:
    """Refused, stored, answered and ignored at the door; done or dead-lettered afterwards."""
    rubbish = b"no JSON"
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE), hint=False)
        body = push_body(sha)
        for sent, headers in (
            (body, headers_of(body)),
            (body, headers_of(body) | {"X-Hub-Signature-256": "sha256=" + "0" * 64}),
            (b"{}", headers_of(b"{}", event="ping")),
            (b"{}", headers_of(b"{}", event="issues")),
            (rubbish, headers_of(rubbish, guid="guid-2")),
        ):
            await deliver(http, sent, headers)
        await http.until(lambda: _nothing_left(http), "the deliveries are worked on")
        counts = dict(http.world.telemetry.counts)

    found = {
        (labels["event"], labels["result"]): number
        for (name, pairs), number in counts.items()
        if name == "gitopsd_deliveries_total" and (labels := dict(pairs))["receiver"] == "github"
    }
    assert found == {
        ("", "stored"): 2,
        ("", "refused"): 1,
        ("ping", "answered"): 1,
        ("other", "ignored"): 1,
        ("push", "done"): 1,
        ("", "dead-lettered"): 1,
    }


async def _nothing_left(http: HttpWorld) -> bool:
    worked_on = http.world.telemetry.total("gitopsd_deliveries_total") == 7
    return worked_on and all(row.state.value != "Stored" for row in await stored(http))


async def test_an_unknown_receiver_is_not_there() -> None:
    """404 before anything of the body is read."""
    async with serving_world(run=False) as http:
        told = await deliver(http, push_body(), {}, receiver="nobody")

    assert (told.status, told.message) == (404, "There is no receiver of that name.")


async def test_the_same_delivery_is_stored_once() -> None:
    """Sent again, it is accepted again; another body under the same key is another delivery."""
    body, other = push_body(), push_body("c" * 40)
    async with serving_world(run=False) as http:
        first = await deliver(http, body, headers_of(body))
        again = await deliver(http, body, headers_of(body))
        sibling = await deliver(http, other, headers_of(other))
        rows = await stored(http)

    assert [told.status for told in (first, again, sibling)] == [202, 202, 202]
    assert {row.body for row in rows} == {body, other}
    assert len(rows) == 2


async def test_an_announced_oversize_body_is_refused_unread() -> None:
    """413 from the header alone; the connection ends instead of swallowing 25 MB."""
    async with serving_world(run=False) as http:
        answer = await send_raw(
            http.url,
            b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % OVERSIZE,
        )

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"The body is larger than 25 MB." in answer


async def test_an_oversize_body_in_chunks_is_refused_at_the_bound() -> None:
    """Without a length, reading stops at 25 MB."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1024 * 1024
            yield b" " * (1024 * 1024)

    async with serving_world(run=False) as http:
        # The server ends the connection while the client still sends: either may be seen first.
        with contextlib.suppress(aiohttp.ClientError):
            async with http.session.post(f"{http.url}/hooks/github", data=chunks()) as answer:
                assert answer.status == 413
        rows = await stored(http)

    assert OVERSIZE < sent < 4 * OVERSIZE
    assert rows == []


async def test_bodies_that_fill_the_memory_are_refused_before_they_are_whole() -> None:
    """Signed or not: what one address may send at once is bounded; another is heard meanwhile."""
    head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (OVERSIZE - 1)
    part = b" " * (11 * 1024 * 1024)
    body = push_body()
    async with serving_world(run=False) as http:
        where = urlsplit(http.url)
        opened = [
            await asyncio.open_connection(where.hostname, where.port, local_addr=("127.0.3.1", 0))
            for _ in range(3)
        ]
        try:
            for _, writer in opened:
                with contextlib.suppress(ConnectionError):
                    writer.write(head + part)
                    await writer.drain()
            async with asyncio.timeout(4):
                waiting = [asyncio.create_task(reader.readline()) for reader, _ in opened]
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            told = await deliver(http, body, headers_of(body))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            for _, writer in opened:
                writer.transport.abort()
        rows = await stored(http)

    assert [task.result() for task in done] == [b"HTTP/1.1 503 Service Unavailable\r\n"]
    assert told.status == 202
    assert len(rows) == 1


async def test_a_compressed_body_is_refused_before_it_is_unpacked() -> None:
    """What is signed are the bytes as they came; a bomb is never opened."""
    body = push_body()
    async with serving_world(run=False) as http:
        told = await deliver(http, body, {**headers_of(body), "Content-Encoding": "gzip"})

    assert told.status == 415


async def test_a_slow_sender_is_given_up() -> None:
    """A body that drips ends with 408 after 5 s and stores nothing."""
    async with serving_world(run=False) as http:
        answer = await send_raw(
            http.url,
            b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        )
        rows = await stored(http)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert rows == []


async def test_a_busy_source_is_slowed_down_before_its_body_is_read() -> None:
    """429 with Retry-After, for one address alone."""
    body = push_body()
    async with serving_world(run=False, rate=Rate(burst=3, per_second=0.01)) as http:
        told = [await deliver(http, body, headers_of(body)) for _ in range(3)]
        answer = await send_raw(
            http.url,
            b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        )
        api = await http.ask("GET", "/freezes")

    assert [one.status for one in told] == [202, 202, 202]
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 100" in answer
    assert api.status == 200


async def test_a_flood_of_forgeries_is_stopped_before_it_is_counted() -> None:
    """Badly signed requests cost their sender more than they cost the database."""
    body = push_body()
    forged = {**headers_of(body), "X-Hub-Signature-256": "sha256=" + "0" * 64}
    rate = Rate(burst=50, per_second=0.01, refused=20)
    async with serving_world(run=False, rate=rate) as http:
        told = [(await deliver(http, body, forged)).status for _ in range(6)]
        counted = await refused(http)

    assert told == [401, 401, 401, 429, 429, 429]
    assert counted == {"github": 3}


async def test_a_store_that_is_down_asks_for_the_delivery_again() -> None:
    """503: nothing is acknowledged that is not committed."""
    body = push_body()
    async with serving_world(run=False) as http:
        http.troubled.trouble.append(TemporaryError("the database does not answer"))
        told = await deliver(http, body, headers_of(body))
        again = await deliver(http, body, headers_of(body))

    assert (told.status, told.message) == (
        503,
        "The delivery could not be stored; send it again.",
    )
    assert again.status == 202


async def test_signed_rubbish_is_kept_as_a_dead_letter() -> None:
    """Stored, tried, dead-lettered with the reason, and shown without its body."""
    body = b"\x00 this is no JSON, password=a-made-up-password"
    async with serving_world() as http:
        told = await deliver(http, body, headers_of(body))
        await http.until(lambda: _dead(http), "the dead letter")
        listed = await http.get("/deliveries?state=DeadLettered")
        none = await http.get("/deliveries?state=Stored")
        health = await http.ask("GET", "/health")

    assert told.status == 202
    assert [row["state"] for row in listed["items"]] == ["DeadLettered"]
    assert listed["items"][0]["reason"]
    assert listed["items"][0]["bytes"] == len(body)
    assert "a-made-up-password" not in json.dumps(listed)
    assert none["items"] == []
    assert health.status == 200


async def _dead(http: HttpWorld) -> bool:
    return [row.state.value for row in await stored(http)] == ["DeadLettered"]


def _own_headers(body: bytes, _: datetime) -> dict[str, str]:
    return {"X-Gitopsd-Delivery": "build-1", "X-Gitopsd-Signature-256": sign(SECRET, body)}


def _standard_headers(body: bytes, now: datetime) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": compute_standard_signature(SECRET, "msg_1", now, body),
    }


def _late_headers(body: bytes, now: datetime) -> dict[str, str]:
    return _standard_headers(body, now - timedelta(minutes=6))


@pytest.mark.parametrize(
    "headers,status,key",
    [(_own_headers, 202, "build-1"), (_standard_headers, 202, "msg_1"), (_late_headers, 401, "")],
    ids=["own", "standard", "replayed"],
)
async def test_a_generic_receiver_takes_whoever_can_sign(
    headers: Callable[[bytes, datetime], dict[str, str]], status: int, key: str
) -> None:
    """With gitopsd's own header or those of Standard Webhooks, in time, beside other receivers."""
    name = ReceiverName("ci")
    async with serving_world() as http:
        configuration = http.world.configuration[0]
        spec = ReceiverSpec(name, ReceiverType.GENERIC, ("secret",))
        http.world.configuration[0] = replace(
            configuration, receivers={**configuration.receivers, name: spec}
        )
        sha = await http.world.push("one", deployment(IMAGE), hint=False)
        push = {"event": "push", "repository": REPO, "ref": MAIN, "after": sha}
        body = json.dumps(push).encode()
        signed = {"Content-Type": "application/json", **headers(body, http.world.clock.now())}
        told = await deliver(http, body, signed, receiver="ci")
        unsigned = await deliver(http, body, {}, receiver="ci")
        if status == 202:
            await http.world.until(lambda: _has_run(http), "a run in staging")
        rows = await stored(http)

    assert (told.status, unsigned.status) == (status, 401)
    assert [row.key for row in rows] == ([key] if key else [])
    assert not [header for row in rows for header, _ in row.headers if "signature" in header]


async def test_senders_do_not_wait_for_each_other() -> None:
    """A hundred deliveries at once are all stored while a slow one hangs."""
    async with serving_world(run=False) as http:
        slow = asyncio.create_task(
            send_raw(
                http.url,
                b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
            )
        )
        bodies = [push_body(f"{number:040x}") for number in range(1, 101)]
        told = await asyncio.gather(*(deliver(http, body, headers_of(body)) for body in bodies))
        assert not slow.done()
        await slow
        count = len(await http.world.store.read(lambda tx: tx.deliveries.page(Page(200))))

    assert {one.status for one in told} == {202}
    assert count == 100
