"""What one listener bears: slow headers, many connections, its own end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from gitopsd import __version__
from gitopsd.entrypoints.http.metrics import build_metrics_app
from gitopsd.entrypoints.http.server import Bounds, listen, parse_listen
from gitopsd.errors import ConfigError, PermanentError, TemporaryError
from tests.support.http_world import HttpWorld, send_raw, serving_world

PROBES = ("/health", "/health/ready", "/health/live", "/healthz")
QUICK_DRIP = timedelta(milliseconds=20)
QUICK_PAUSE = timedelta(milliseconds=500)
QUICK = Bounds(header_seconds=0.3, linger_seconds=0.1, shutdown_seconds=0.5)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health/live HTTP/1.1\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    ],
    ids=["silence", "a line", "half a header"],
)
async def test_a_connection_without_complete_headers_is_closed(sent: bytes) -> None:
    """Slow headers cost the sender its connection."""
    async with serving_world(run=False, bounds=QUICK) as http, asyncio.timeout(5):
        answer = await send_raw(http.url, sent)

    assert answer == b""


async def test_a_further_request_has_to_be_as_quick() -> None:
    """A connection that was served once is closed over slow headers, too."""
    async with serving_world(run=False, bounds=QUICK) as http, asyncio.timeout(5):
        host, _, port = http.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'{"status": "pass"}')
        writer.write(b"GET /health/live HTTP/1.1\r\nHost:")
        left = await reader.read()
        writer.close()

    assert left == b""


async def test_dripping_headers_do_not_keep_a_connection() -> None:
    """Each further byte buys no further time."""
    async with serving_world(run=False, bounds=QUICK) as http:
        host, _, port = http.url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        began = asyncio.get_running_loop().time()
        clock = http.world.clock
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5):
                await drip(http, writer)
        took = clock.monotonic() - began
        writer.close()

    assert took < 2


async def drip(http: HttpWorld, writer: asyncio.StreamWriter) -> None:
    """Send a header byte by byte until the server has enough."""
    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        if writer.transport.is_closing():
            raise ConnectionResetError
        await http.world.clock.sleep(QUICK_DRIP)


async def test_a_quiet_connection_may_ask_again() -> None:
    """Between requests the keep-alive time counts, not the time for headers."""
    async with serving_world(run=False, bounds=QUICK) as http:
        host, _, port = http.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(2):
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.readuntil(b'{"status": "pass"}')
            assert answer.startswith(b"HTTP/1.1 200")
            await http.world.clock.sleep(QUICK_PAUSE)
        writer.close()


async def test_a_long_answer_is_not_cut_by_the_header_bound() -> None:
    """The bound is for headers: a request under way may take its time."""
    async with serving_world(run=False, bounds=QUICK) as http:
        await http.get("/freezes")
        waited = await http.ask("GET", "/commits/" + "a" * 40 + "?wait=1")

    assert waited.status == 200


async def test_connections_beyond_the_cap_are_closed_at_once() -> None:
    """A flood of connections leaves those who are served alone."""
    bounds = Bounds(connections=3, linger_seconds=0.1, shutdown_seconds=0.5)
    async with serving_world(run=False, bounds=bounds) as http:
        host, _, port = http.url.removeprefix("http://").partition(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        for reader, _ in held:
            await reader.readuntil(b'{"status": "pass"}')
        async with asyncio.timeout(5):
            beyond = await send_raw(http.url, b"")
        held[0][1].close()
        await held[0][1].wait_closed()
        async with asyncio.timeout(5):
            after = await until_served(http)
        for _, writer in held[1:]:
            writer.close()

    assert beyond == b""
    assert after.startswith(b"HTTP/1.1 200")


async def until_served(http: HttpWorld) -> bytes:
    """Ask until the place that became free is noticed."""
    while True:
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await send_raw(http.url, request)
        if answer:
            return answer


@pytest.mark.parametrize(
    "text,expected",
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8080", ("::1", 8080)),
        (":9090", ("", 9090)),
        ("gitopsd.example:65535", ("gitopsd.example", 65535)),
    ],
)
def test_addresses_to_listen_on(text: str, expected: tuple[str, int]) -> None:
    """Host and port, IPv6 in brackets, no host for all."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["8080", "localhost", "localhost:", "x:y", "x:65536", "x:-1"])
def test_what_is_no_address_is_said_so(text: str) -> None:
    """The sentence shows what was read and what to write."""
    with pytest.raises(PermanentError, match=r"write HOST:PORT, such as 127.0.0.1:8080"):
        parse_listen(text)


async def test_an_address_that_is_taken_stops_the_start() -> None:
    """The sentence names the address."""
    first = await listen(web.Application(), "127.0.0.1:0", QUICK)
    address = first.url.removeprefix("http://")
    try:
        with pytest.raises(PermanentError, match=f"cannot listen on {address}"):
            await listen(web.Application(), address, QUICK)
    finally:
        await first.close()


async def test_probes_say_what_the_process_can_do() -> None:
    """Alive from the first moment, ready when it works, unready while it ends."""
    async with serving_world(run=False) as http:
        state = http.service.state
        state.started = False
        early = {path: (await http.ask("GET", path, token="")).status for path in PROBES}
        state.started = True
        well = {path: (await http.ask("GET", path, token="")).status for path in PROBES}
        document = (await http.ask("GET", "/health", token="")).document
        state.ending = True
        ending = {path: (await http.ask("GET", path, token="")).status for path in PROBES}

    unready = {"/health/ready": 503, "/health": 503, "/health/live": 200, "/healthz": 200}
    assert early == unready
    assert ending == unready
    assert set(well.values()) == {200}
    assert document["status"] == "pass"
    assert document["version"] == __version__
    components = {"database", "configuration", "receivers", "worker", "server"}
    assert set(document["components"]) == components


async def test_short_names_of_probes_and_the_version_need_no_token() -> None:
    """What orchestrators ask by habit is answered."""
    async with serving_world(run=False) as http:
        answers = []
        for path in ("/livez", "/readyz", "/version"):
            async with http.session.get(http.url + path) as answer:
                answers.append((answer.status, await answer.json(), answer.headers["Server"]))
        async with http.session.head(http.url + "/health/live") as answer:
            head = answer.status

    assert head == 200
    assert answers == [
        (200, {"status": "pass"}, "gitopsd"),
        (200, {"status": "pass"}, "gitopsd"),
        (200, {"version": __version__}, "gitopsd"),
    ]


async def test_a_database_that_is_down_makes_the_process_unready_but_not_dead() -> None:
    """Restarting would not help: live stays 200 while ready and health say why."""
    async with serving_world(run=False) as http:
        http.troubled.trouble += [TemporaryError("the database does not answer")] * 3
        ready = await http.ask("GET", "/health/ready", token="")
        health = await http.ask("GET", "/health", token="")
        live = await http.ask("GET", "/health/live", token="")

    assert (ready.status, ready.document["reason"]) == (503, "the database does not answer")
    assert health.document["status"] == "fail"
    assert health.document["components"]["database"] == {
        "status": "fail",
        "reason": "the database does not answer",
    }
    assert live.status == 200


async def test_a_broken_file_is_a_warning() -> None:
    """The old configuration works on; health, which everybody may read, says how many are wrong."""
    error = ConfigError(
        file="applications/shop.yaml", path="spec", problem="it is missing", remedy="Write it"
    )
    async with serving_world(run=False) as http:
        http.problems.append(error)
        health = await http.ask("GET", "/health", token="")

    assert health.status == 200
    assert health.document["status"] == "warn"
    assert health.document["components"]["configuration"] == {
        "status": "warn",
        "problems": 1,
        "heldRemovals": 0,
    }


async def test_metrics_have_an_address_of_their_own() -> None:
    """Prometheus' text format, and beside it only whether the process lives."""

    async def render() -> bytes:
        return b"gitopsd_up 1\n"

    listener = await listen(build_metrics_app(render), "127.0.0.1:0", QUICK)
    try:
        answer = await send_raw(
            listener.url, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        other = await send_raw(
            listener.url, b"GET /api/v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        live = await send_raw(
            listener.url, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
    finally:
        await listener.close()

    assert live.startswith(b"HTTP/1.1 200")
    assert b"text/plain; version=0.0.4" in answer
    assert answer.endswith(b"gitopsd_up 1\n")
    assert other.startswith(b"HTTP/1.1 404")
