"""Checks by URL against a server that lies, over real sockets."""

from __future__ import annotations

import errno
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.verify.direct import is_same_host
from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.manifests import Json
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryClusters
from tests.support.lying_server import (
    Answering,
    LyingServer,
    drip,
    drop,
    garbage,
    gzip_bomb,
    hang,
    pour,
    reply,
    reply_json,
    reset_in_body,
    run_lying_server,
)

TARGET = CheckTarget("staging", "shop")
HEALTHY: Json = {"status": "healthy", "components": [{"name": "db", "up": True}], "load": 1}
QUICK = timedelta(milliseconds=300)


@pytest.fixture
async def server() -> AsyncIterator[LyingServer]:
    """A server on loopback."""
    async with run_lying_server() as running:
        yield running


@pytest.fixture
async def verifier() -> AsyncIterator[HttpVerifier]:
    """A verifier that may ask this machine."""
    made = HttpVerifier(MemoryClusters({}), LoopClock(), allow_loopback=True)
    yield made
    await made.close()


def _check(server: LyingServer, path: str = "/health") -> HttpCheck:
    return HttpCheck(name="health", url=f"{server.url}{path}")


async def _run(
    verifier: HttpVerifier, server: LyingServer, answer: Answering, check: HttpCheck
) -> CheckAttempt:
    server.answer(answer)
    return await verifier.run_check(check, TARGET)


async def test_a_right_answer_passes(server: LyingServer, verifier: HttpVerifier) -> None:
    """Status, body and JSON as expected; the evidence says what was seen."""
    check = replace(
        _check(server, "/health?full=1"),
        json_path={"status": "healthy", "components[0].up": True, "load": 1},
        body_contains='"db"',
        headers={"X-Probe": "gitopsd"},
    )
    attempt = await _run(verifier, server, reply_json(HEALTHY), check)
    assert attempt.passed is True
    assert attempt.message == "answered 200"
    assert timedelta(0) < attempt.latency < timedelta(seconds=5)
    evidence = json.loads(json.dumps(attempt.evidence))
    assert evidence["request"] == {"method": "GET", "url": check.url}
    assert evidence["answer"]["status"] == 200
    assert evidence["answer"]["body"] == json.dumps(HEALTHY)
    assert evidence["answer"]["headers"]["content-type"] == "application/json"
    [request] = server.requests
    assert (request.method, request.target) == ("GET", "/health?full=1")
    assert request.headers["x-probe"] == "gitopsd"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "gitopsd-verify"
    assert "cookie" not in request.headers


LIES = {
    "another value": (reply_json({"status": "sick"}), 'status is "sick", expected "healthy"'),
    "no such key": (reply_json({}), "the body has no status"),
    "a list": (reply_json([HEALTHY]), "the body has no status"),
    "HTML": (reply(200, b"<html>healthy</html>"), "the body is not JSON"),
    "cut JSON": (reply(200, b'{"status": "heal'), "the body is not JSON"),
    "deep JSON": (reply(200, b"[" * 100_000), "the body is not JSON"),
    "no UTF-8": (reply(200, b'\xff{"status": "healthy"}'), "the body is not JSON"),
    "204": (reply(204), "answered 204; expected 200"),
    "500": (reply(500, b"boom"), "answered 500; expected 200"),
    "429": (reply(429), "answered 429; expected 200"),
    "302": (
        reply(302, Location="http://other.example/health"),
        "answered 302, which sends on to http://other.example/health; expected 200",
    ),
}


@pytest.mark.parametrize("answer, message", LIES.values(), ids=LIES.keys())
async def test_a_lie_does_not_pass(
    server: LyingServer, verifier: HttpVerifier, answer: Answering, message: str
) -> None:
    """200 with a wrong body, a wrong status, rubbish: each is a failure with its clause."""
    check = replace(_check(server), json_path={"status": "healthy"})
    attempt = await _run(verifier, server, answer, check)
    assert (attempt.passed, attempt.message) == (False, message)


@pytest.mark.parametrize(
    "expected, found, passed",
    [
        (1, 1, True),
        (2, 2.0, True),
        (1, True, False),
        (True, 1, False),
        (False, 0, False),
        (None, None, True),
        (None, False, False),
        ("1", 1, False),
        (2, "2", False),
        (0.5, 0.5, True),
        ("a", {"a": 1}, False),
    ],
)
async def test_values_are_compared_as_json(
    server: LyingServer,
    verifier: HttpVerifier,
    expected: str | float | bool | None,
    found: Json,
    passed: bool,
) -> None:
    """A number is no text, and true is not 1."""
    check = replace(_check(server), json_path={"value": expected})
    attempt = await _run(verifier, server, reply_json({"value": found}), check)
    assert attempt.passed is passed


async def test_text_in_the_body(server: LyingServer, verifier: HttpVerifier) -> None:
    """A body may be asked to hold a text."""
    check = replace(_check(server), body_contains="größe")
    assert (await _run(verifier, server, reply(200, "xgrößex".encode()), check)).passed is True
    attempt = await _run(verifier, server, reply(200, b"x"), check)
    assert (attempt.passed, attempt.message) == (False, "the body does not hold 'größe'")


async def test_each_attempt_is_its_own(server: LyingServer, verifier: HttpVerifier) -> None:
    """200 200 500 is two successes and a failure; right at the third try is right then."""
    server.answer(reply(200), reply(200), reply(500))
    attempts = [await verifier.run_check(_check(server), TARGET) for _ in range(3)]
    assert [attempt.passed for attempt in attempts] == [True, True, False]
    server.answer(reply(503), drop(), reply_json(HEALTHY))
    attempts = [await verifier.run_check(_check(server), TARGET) for _ in range(3)]
    assert [attempt.passed for attempt in attempts] == [False, False, True]
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "answer", [hang(), drip(), drip(headers_too=True)], ids=["hangs", "drips", "slow headers"]
)
async def test_an_answer_has_a_bound(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """The bound is for the whole attempt: bytes that keep coming do not extend it."""
    attempt = await _run(verifier, server, answer, replace(_check(server), timeout=QUICK))
    assert (attempt.passed, attempt.message) == (False, "no complete answer within 0.3 s")
    assert QUICK <= attempt.latency < QUICK + timedelta(seconds=2)


async def test_a_late_answer_does_not_pass(server: LyingServer, verifier: HttpVerifier) -> None:
    """Latency counts the body too."""
    check = replace(_check(server), max_latency=timedelta(microseconds=1))
    attempt = await _run(verifier, server, reply(200), check)
    assert attempt.passed is False
    assert attempt.message.startswith("took 0.")
    assert attempt.message.endswith(" s, allowed are 1e-06 s")


async def test_a_body_without_end_is_not_read(server: LyingServer, verifier: HttpVerifier) -> None:
    """A gigabyte costs no more memory than the bound, and fails."""
    tracemalloc.start()
    try:
        attempt = await _run(verifier, server, pour(2**30), _check(server))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert attempt.passed is False
    assert attempt.message == "the body is longer than 1000000 bytes"
    assert server.sent < 64 * 2**20
    assert peak < 32 * 2**20


async def test_a_body_of_the_bound_passes(server: LyingServer, verifier: HttpVerifier) -> None:
    """As long as allowed is not too long."""
    check = replace(_check(server), max_body_bytes=10)
    assert (await _run(verifier, server, reply(200, b"x" * 10), check)).passed is True
    assert (await _run(verifier, server, reply(200, b"x" * 11), check)).passed is False


async def test_a_packed_body_is_not_unpacked(server: LyingServer, verifier: HttpVerifier) -> None:
    """Packing was not asked for; what is packed all the same is not expanded in memory."""
    answer = gzip_bomb()
    check = replace(_check(server), json_path={"status": "healthy"})
    tracemalloc.start()
    try:
        attempt = await _run(verifier, server, answer, check)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert attempt.passed is False
    assert attempt.message == "the body is encoded ('gzip') although that was not asked for"
    assert peak < 16 * 2**20


@pytest.mark.parametrize(
    "answer", [reset_in_body(), drop(), garbage()], ids=["reset", "dropped", "garbage"]
)
async def test_a_broken_answer_is_a_failure(
    server: LyingServer, verifier: HttpVerifier, answer: Answering
) -> None:
    """Reset in mid-body, closed without a word, or no HTTP at all."""
    attempt = await _run(verifier, server, answer, _check(server))
    assert attempt.passed is False
    assert attempt.message


async def test_nobody_listening_is_a_failure(verifier: HttpVerifier) -> None:
    """A refused connection is a definite answer."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        check = HttpCheck(name="x", url=f"http://127.0.0.1:{port}/")
        attempt = await verifier.run_check(check, TARGET)
    assert attempt.passed is False
    assert "127.0.0.1" in attempt.message


async def test_secrets_in_answers_are_masked(server: LyingServer, verifier: HttpVerifier) -> None:
    """Evidence and messages are redacted, whatever the application says."""
    token = "ghp_" + "0123456789abcdefABCDEF0123456789abcd"
    answer = reply(
        302,
        json.dumps({"password": "hunter22", "token": token}).encode(),
        Location=f"http://bot:{token}@other.example/",
        Set_Cookie=f"session={token}",
    )
    check = replace(_check(server, f"/?token={token}"))
    attempt = await _run(verifier, server, answer, check)
    shown = json.dumps(attempt.evidence) + attempt.message
    assert token not in shown
    assert "hunter22" not in shown
    assert "set-cookie" not in shown.lower()


async def test_redirects_are_not_followed_unless_asked(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """Asked to, they are followed on the same host."""
    server.answer(reply(302, Location="/there"), reply(307, Location=f"{server.url}/end"), reply())
    check = replace(_check(server), follow_redirects=True)
    assert (await verifier.run_check(check, TARGET)).passed is True
    assert [request.target for request in server.requests] == ["/health", "/there", "/end"]


async def test_redirects_to_another_host_are_never_followed(
    server: LyingServer, verifier: HttpVerifier
) -> None:
    """Not even when asked to follow: the other host is never connected to."""
    async with run_lying_server() as other:
        for location in (
            f"{other.url}/",
            f"//127.0.0.1:{other.port}/",
            f"http://localhost:{server.port}/",
            "http://[::1/",
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data/",
            "//[fe80::1]/",
        ):
            check = replace(_check(server), follow_redirects=True)
            attempt = await _run(verifier, server, reply(302, Location=location), check)
            assert attempt.passed is False
            assert attempt.message.startswith("answered 302, which sends on to ")
        assert other.requests == []


async def test_redirects_in_a_circle_end(server: LyingServer, verifier: HttpVerifier) -> None:
    """After five hops it is a failure."""
    check = replace(_check(server), follow_redirects=True)
    attempt = await _run(verifier, server, reply(301, Location="/health"), check)
    assert (attempt.passed, attempt.message) == (False, "more than 5 redirects")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("http://h/a", "http://h/b", True),
        ("http://h/a", "http://h:80/b", True),
        ("http://h/a", "https://h/b", True),
        ("https://h/a", "http://h/b", False),
        ("http://h:8080/a", "https://h/b", False),
        ("http://h/a", "http://h:81/b", False),
        ("http://h/a", "http://i/b", False),
        ("http://h/a", "http://h:x/b", False),
        ("http://h/a", "gopher://h/b", False),
    ],
)
def test_what_the_same_host_is(one: str, other: str, same: bool) -> None:
    """Same origin, or up from http to https; never down."""
    assert is_same_host(one, other) is same


async def test_loopback_is_refused_unless_allowed(server: LyingServer) -> None:
    """No way of writing this machine's address reaches it."""
    verifier = HttpVerifier(MemoryClusters({}), LoopClock())
    for host in (
        "127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "0", "[::]",
        "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[2001:0:102:304:0:0:80ff:fffe]",
    ):  # fmt: skip
        check = HttpCheck(name="x", url=f"http://{host}:{server.port}/", timeout=QUICK * 10)
        attempt = await verifier.run_check(check, TARGET)
        assert attempt.passed is False, host
        assert "address" in attempt.message, (host, attempt.message)
    assert server.requests == []
    await verifier.close()


@pytest.mark.parametrize(
    "address, word",
    [
        ("169.254.169.254", "link-local"),
        ("[fe80::1]", "link-local"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[64:ff9b::a9fe:a9fe]", "link-local"),
        ("[2002:a9fe:a9fe::]", "link-local"),
        ("[fe80::1%25eth0]", "link-local"),
        ("[fd00:ec2::254]", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("224.0.0.1", "no address of a host"),
        ("255.255.255.255", "no address of a host"),
    ],
)
async def test_metadata_and_link_local_are_always_refused(
    verifier: HttpVerifier, address: str, word: str
) -> None:
    """Loopback allowed or not, in every spelling."""
    attempt = await verifier.run_check(HttpCheck(name="x", url=f"http://{address}/"), TARGET)
    assert attempt.passed is False
    assert word in attempt.message


class _Names:
    """A name server that answers differently each time."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look_up(self, host: str, _port: int) -> Sequence[str]:
        """Answer the next question."""
        self.asked.append(host)
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def _named(names: _Names, *, allow_loopback: bool = False) -> HttpVerifier:
    resolver = CheckedResolver(allow_loopback=allow_loopback, look_up=names.look_up)
    return HttpVerifier(
        MemoryClusters({}), LoopClock(), allow_loopback=allow_loopback, resolver=resolver
    )


async def test_a_name_is_looked_up_once_for_each_connection(server: LyingServer) -> None:
    """What was checked is what is connected to: a second answer cannot slip in between."""
    names = _Names(["127.0.0.1"], ["169.254.169.254"])
    verifier = _named(names, allow_loopback=True)
    check = HttpCheck(name="x", url=f"http://shop.example:{server.port}/")
    first = await verifier.run_check(check, TARGET)
    second = await verifier.run_check(check, TARGET)
    assert (first.passed, second.passed) == (True, False)
    assert second.message == ("shop.example is not asked: 169.254.169.254 is a link-local address")
    assert names.asked == ["shop.example"] * 2
    assert server.requests[0].headers["host"] == f"shop.example:{server.port}"
    await verifier.close()


async def test_refused_addresses_are_left_out(server: LyingServer) -> None:
    """A name with good and bad addresses is asked at the good ones only."""
    names = _Names(["169.254.169.254", "127.0.0.1"])
    verifier = _named(names, allow_loopback=True)
    check = HttpCheck(name="x", url=f"http://shop.example:{server.port}/")
    assert (await verifier.run_check(check, TARGET)).passed is True
    await verifier.close()


@pytest.mark.parametrize(
    "trouble, passed, message",
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False, "the name does not resolve"),
        ([], False, "shop.example is not asked: it has no address"),
        (
            socket.gaierror(socket.EAI_AGAIN, "try again"),
            None,
            "the name cannot be looked up: [Errno -3] try again",
        ),
    ],
)
async def test_names_that_do_not_resolve(
    trouble: Sequence[str] | OSError, passed: bool | None, message: str
) -> None:
    """An unknown name is the application's fault, a name server that is away is not."""
    verifier = _named(_Names(trouble))
    attempt = await verifier.run_check(HttpCheck(name="x", url="http://shop.example/"), TARGET)
    assert (attempt.passed, attempt.message) == (passed, message)
    await verifier.close()


async def test_trouble_of_this_machine_is_no_verdict() -> None:
    """Too many open files, or no network here, says nothing about the application."""
    for number in (errno.EMFILE, errno.ENETUNREACH):
        verifier = _named(_Names(OSError(number, "own trouble")))
        attempt = await verifier.run_check(HttpCheck(name="x", url="http://shop.example/"), TARGET)
        assert attempt.passed is None
        await verifier.close()


async def test_closing_is_safe_to_repeat(verifier: HttpVerifier) -> None:
    """Before the first check and twice."""
    await verifier.close()
    await verifier.close()
