"""Checks of ports, certificates, gRPC health and names, over real sockets.

Against servers that are what they say, and servers that only look so.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import Check, DnsCheck, Endpoint, GrpcCheck, TcpCheck, TlsCheck
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.cluster import MemoryClusters
from tests.support.verified_servers import (
    NAME,
    Authority,
    GrpcServer,
    Http2Answer,
    run_grpc_server,
    run_http2_server,
    run_name_server,
    run_tcp_server,
    say,
    self_signed,
    stay,
)

TARGET = CheckTarget("staging", "shop")
QUICK = timedelta(milliseconds=300)
DAY = timedelta(days=1)
GRPC_HEADERS = ((":status", "200"), ("content-type", "application/grpc"))
DONE = (("grpc-status", "0"),)
SERVING, NOT_SERVING = b"\0\0\0\0\2\x08\x01", b"\0\0\0\0\2\x08\x02"


class Names:
    """A resolver that answers as told, in turn; the last answer stays."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look_up(self, host: str, _port: int) -> Sequence[str]:
        """Answer."""
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def verifier_of(names: Names | None = None, *, allow_loopback: bool = True) -> VerifierByKind:
    """Make a verifier; any name is 127.0.0.1 unless told otherwise."""
    look_up = (names or Names(["127.0.0.1"])).look_up
    resolver = CheckedResolver(allow_loopback=allow_loopback, look_up=look_up)
    return VerifierByKind(
        MemoryClusters({}), SystemClock(), allow_loopback=allow_loopback, resolver=resolver
    )


@pytest.fixture
async def verifier() -> AsyncIterator[VerifierByKind]:
    """A verifier that may ask this machine."""
    made = verifier_of()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


def refused_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def result_of(attempt: CheckAttempt) -> tuple[bool | None, str]:
    """What an attempt came to; its evidence can be written as JSON."""
    assert json.loads(json.dumps(attempt.evidence))["message"] == attempt.message
    return attempt.passed, attempt.message


# ---------------------------------------------------------------------------- tcp


async def test_a_port_that_takes_connections_passes(verifier: VerifierByKind) -> None:
    """By address and by name; nothing needs to be said."""
    async with run_tcp_server(stay) as port:
        for host in ("127.0.0.1", NAME):
            attempt = await verifier.run_check(TcpCheck("a", Endpoint(port, host)), TARGET)
            assert result_of(attempt) == (True, "it takes connections")


async def test_a_service_is_asked_by_its_name_in_the_cluster() -> None:
    """With the stage's namespace, where the check names none."""
    names = Names(["127.0.0.1"])
    verifier = verifier_of(names)
    async with run_tcp_server(stay) as port:
        check = TcpCheck("a", Endpoint(port, service="db"))
        assert (await verifier.run_check(check, TARGET)).passed is True
    assert names.asked == ["db.shop.svc"]


@pytest.mark.parametrize(
    "sent, passed, message",
    [
        (b"220 mail.example ready\r\n", True, "answered '220 '"),
        (b"554 no\r\n", False, "answered '554 no\\r\\n'; expected '220 '"),
        (b"", False, "no complete answer within 0.3 s"),
    ],
)
async def test_what_a_port_says_is_judged(
    verifier: VerifierByKind, sent: bytes, passed: bool, message: str
) -> None:
    """A server that says something else and waits has not answered in time."""
    async with run_tcp_server(say(sent)) as port:
        check = TcpCheck("a", Endpoint(port, "127.0.0.1"), expect="220 ", timeout=QUICK)
        assert result_of(await verifier.run_check(check, TARGET)) == (passed, message)


async def test_what_is_sent_arrives_and_a_closed_connection_is_an_answer(
    verifier: VerifierByKind,
) -> None:
    """PING and PONG, the wrong word, and no word at all."""

    async def talk(reader: object, writer: object) -> None:
        line = await reader.read(6)  # type: ignore[attr-defined]  # a stream
        writer.write(answers.pop(0) if line == b"PING\r\n" else b"?")  # type: ignore[attr-defined]  # as above
        await writer.drain()  # type: ignore[attr-defined]  # as above

    answers = [b"+PONG\r\n", b"-ERR token=abcdefgh12345678\r\n", b""]
    async with run_tcp_server(talk) as port:
        check = TcpCheck("a", Endpoint(port, "127.0.0.1"), send="PING\r\n", expect="+PONG")
        results = [result_of(await verifier.run_check(check, TARGET)) for _ in range(3)]

    assert results[0] == (True, "answered '+PONG'")
    assert results[1][0] is False
    assert "expected '+PONG'" in results[1][1]
    assert results[2] == (False, "closed without an answer; expected '+PONG'")


@pytest.mark.parametrize("kind", ["tcp", "tls", "grpc"])
async def test_nobody_listening_is_a_failure(verifier: VerifierByKind, kind: str) -> None:
    """A refused connection is a definite answer, whatever would be asked on it."""
    place = Endpoint(refused_port(), "127.0.0.1")
    checks: dict[str, Check] = {
        "tcp": TcpCheck("a", place),
        "tls": TlsCheck("a", place),
        "grpc": GrpcCheck("a", place),
    }
    passed, message = result_of(await verifier.run_check(checks[kind], TARGET))
    assert passed is False
    assert str(place.port) in message


# ---------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "127.0.0.1", "::1", "fd00:ec2::254", "::ffff:169.254.169.254"]
)
@pytest.mark.parametrize("kind", ["tcp", "tls", "grpc"])
async def test_refused_addresses_are_never_connected_to(host: str, kind: str) -> None:
    """Loopback, link-local and metadata addresses, written down: refused, and the reason said."""
    place = Endpoint(443, host)
    checks: dict[str, Check] = {
        "tcp": TcpCheck("a", place),
        "tls": TlsCheck("a", place),
        "grpc": GrpcCheck("a", place),
    }
    verifier = verifier_of(allow_loopback=False)
    passed, message = result_of(await verifier.run_check(checks[kind], TARGET))
    assert passed is False
    assert " is a " in message


async def test_a_name_is_judged_again_at_each_connection() -> None:
    """A name that is good at first and bad after is refused when it is bad, and says why."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    verifier = verifier_of(names)
    async with run_tcp_server(stay) as port:
        check = TcpCheck("a", Endpoint(port, NAME))
        first, second = [await verifier.run_check(check, TARGET) for _ in range(2)]
    assert first.passed is True
    said = f"{NAME} is not asked: 169.254.169.254 is a link-local address"
    assert result_of(second) == (False, said)
    assert names.asked == [NAME, NAME]


async def test_a_bad_address_beside_a_good_one_is_left_out() -> None:
    """The good one is asked; when it does not take the connection, the bad one is not tried."""
    verifier = verifier_of(Names(["169.254.169.254", "127.0.0.1"]))
    async with run_tcp_server(stay) as port:
        assert (await verifier.run_check(TcpCheck("a", Endpoint(port, NAME)), TARGET)).passed
    gone = await verifier.run_check(TcpCheck("a", Endpoint(port, NAME)), TARGET)
    assert gone.passed is False
    assert "169.254" not in gone.message


async def test_another_address_of_a_name_may_do() -> None:
    """The first one refuses the connection, the second one takes it."""
    verifier = verifier_of(Names(["127.0.0.2", "127.0.0.1"]))
    async with run_tcp_server(stay) as port:
        assert (await verifier.run_check(TcpCheck("a", Endpoint(port, NAME)), TARGET)).passed


@pytest.mark.parametrize(
    "trouble, passed",
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), None),
        (OSError(errno.EMFILE, "too many open files"), None),
    ],
)
async def test_names_that_do_not_resolve(trouble: OSError, passed: bool | None) -> None:
    """An unknown name is the application's fault; a name server that is away is not."""
    verifier = verifier_of(Names(trouble))
    attempt = await verifier.run_check(TcpCheck("a", Endpoint(1, NAME)), TARGET)
    assert attempt.passed is passed


# ---------------------------------------------------------------------------- tls


def tls_check(port: int, authority: Authority, name: str = NAME) -> TlsCheck:
    """Ask for the certificate of a name on this machine."""
    return TlsCheck("a", Endpoint(port, name), ca_file=authority.file)


async def test_a_good_certificate_passes(verifier: VerifierByKind, authority: Authority) -> None:
    """Trusted, for the name, and valid for long enough; the evidence shows it."""
    async with run_tcp_server(stay, authority.context()) as port:
        attempt = await verifier.run_check(tls_check(port, authority), TARGET)
    passed, message = result_of(attempt)
    assert passed is True
    assert message.startswith("the certificate is valid for 89 days more, until ")
    shown = json.loads(json.dumps(attempt.evidence))["answer"]
    assert shown["names"] == [NAME]
    assert shown["daysLeft"] == 89


async def test_the_name_that_is_asked_for_can_be_given(
    verifier: VerifierByKind, authority: Authority
) -> None:
    """A check by address names the server that it means."""
    async with run_tcp_server(stay, authority.context()) as port:
        check = replace(tls_check(port, authority), endpoint=Endpoint(port, "127.0.0.1"))
        named = await verifier.run_check(replace(check, server_name=NAME), TARGET)
        unnamed = await verifier.run_check(check, TARGET)
    assert named.passed is True
    assert result_of(unnamed) == (False, f"the certificate is not for 127.0.0.1 but for {NAME}")


TLS_LIES = {
    "another name": (
        {"name": "other.example"},
        f"the certificate is not for {NAME} but for other.example",
    ),
    "3 days left": ({"left": 3.5 * DAY}, "the certificate is valid for 3 days more, until "),
    "13 days left": ({"left": 13.9 * DAY}, "expected at least 14 days"),
    "expired": ({"left": -1 * DAY}, "the certificate, or one that signed it, expired at 20"),
    "not yet valid": ({"left": 200 * DAY}, "is not valid before 20"),
}


@pytest.mark.parametrize("lie", TLS_LIES)
async def test_a_certificate_that_only_looks_good_fails(
    verifier: VerifierByKind, authority: Authority, lie: str
) -> None:
    """The handshake works with all of them for a client that does not look."""
    changes, message = TLS_LIES[lie]
    context = authority.context(**changes)  # type: ignore[arg-type]  # each of its own
    async with run_tcp_server(stay, context) as port:
        attempt = await verifier.run_check(tls_check(port, authority), TARGET)
    passed, said = result_of(attempt)
    assert passed is False
    assert message in said
    assert "notAfter" in json.dumps(attempt.evidence)


async def test_a_certificate_that_nobody_signed_fails(
    verifier: VerifierByKind, authority: Authority, tmp_path: Path
) -> None:
    """Signed by itself, or by an authority that is not trusted here."""
    async with run_tcp_server(stay, self_signed(tmp_path)) as port:
        own = await verifier.run_check(tls_check(port, authority), TARGET)
    async with run_tcp_server(stay, authority.context()) as port:
        check = replace(tls_check(port, authority), ca_file="")
        foreign = await verifier.run_check(check, TARGET)
    said = "the certificate is signed by itself, and it is no authority that is trusted here"
    assert result_of(own) == (False, said)
    assert foreign.passed is False
    assert "is not trusted" in foreign.message


async def test_what_is_no_tls_fails(verifier: VerifierByKind, authority: Authority) -> None:
    """A server that speaks something else."""
    async with run_tcp_server(say(b"220 ready\r\n")) as port:
        attempt = await verifier.run_check(tls_check(port, authority), TARGET)
    passed, message = result_of(attempt)
    assert passed is False
    assert message.startswith("the TLS handshake failed: ")


async def test_a_handshake_has_a_bound(verifier: VerifierByKind, authority: Authority) -> None:
    """A server that takes the connection and says nothing."""
    async with run_tcp_server(stay) as port:
        check = replace(tls_check(port, authority), timeout=QUICK)
        attempt = await verifier.run_check(check, TARGET)
    assert result_of(attempt) == (False, "no complete answer within 0.3 s")


async def test_a_missing_ca_file_is_no_verdict(verifier: VerifierByKind, tmp_path: Path) -> None:
    """It is this side's trouble, and the sentence names the file."""
    check = TlsCheck("a", Endpoint(1, "127.0.0.1"), ca_file=str(tmp_path / "none.crt"))
    passed, message = result_of(await verifier.run_check(check, TARGET))
    assert passed is None
    assert "none.crt cannot be used" in message


# ---------------------------------------------------------------------------- grpc


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    """A real gRPC server with the real health service."""
    with run_grpc_server() as running:
        yield running


def grpc_check(port: int, service: str = "") -> GrpcCheck:
    """Ask a server on this machine."""
    return GrpcCheck("a", Endpoint(port, "127.0.0.1"), health_of=service)


async def test_a_serving_server_passes(verifier: VerifierByKind, server: GrpcServer) -> None:
    """The whole server, and a service by name, also one with a long name."""
    long = "shop.v1." + "Cart" * 60
    for service in ("shop.v1.Cart", long):
        server.set(service, "SERVING")
    for service in ("", "shop.v1.Cart", long):
        attempt = await verifier.run_check(grpc_check(server.port, service), TARGET)
        assert result_of(attempt) == (True, "answered SERVING")


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN"])
async def test_a_server_that_answers_and_does_not_serve_fails(
    verifier: VerifierByKind, server: GrpcServer, status: str
) -> None:
    """The call itself succeeds: only the answer tells."""
    server.set("shop.v1.Cart", status)
    attempt = await verifier.run_check(grpc_check(server.port, "shop.v1.Cart"), TARGET)
    assert result_of(attempt) == (False, f"service shop.v1.Cart is {status}; expected SERVING")


async def test_an_unknown_service_fails(verifier: VerifierByKind, server: GrpcServer) -> None:
    """The server serves, the service that was asked for does not exist."""
    attempt = await verifier.run_check(grpc_check(server.port, "shop.v1.Car"), TARGET)
    said = "the health service does not know service shop.v1.Car (NOT_FOUND)"
    assert result_of(attempt) == (False, said)


async def test_a_server_without_the_health_service_fails(verifier: VerifierByKind) -> None:
    """It speaks gRPC, and nobody knows how it is."""
    with run_grpc_server(healthy=False) as server:
        attempt = await verifier.run_check(grpc_check(server.port), TARGET)
    said = "the server has no health service (UNIMPLEMENTED)"
    assert result_of(attempt) == (False, said)


async def test_grpc_over_tls(verifier: VerifierByKind, authority: Authority) -> None:
    """The certificate must be trusted and name the server, as everywhere."""
    with run_grpc_server(authority.credentials()) as server:
        check = GrpcCheck("a", Endpoint(server.port, NAME), tls=True, ca_file=authority.file)
        good = await verifier.run_check(check, TARGET)
        other = await verifier.run_check(replace(check, server_name="other.example"), TARGET)
        foreign = await verifier.run_check(replace(check, ca_file=""), TARGET)
        plain = await verifier.run_check(replace(check, tls=False, ca_file=""), TARGET)
    assert result_of(good) == (True, "answered SERVING")
    assert result_of(other) == (False, "the certificate is not for other.example")
    assert (foreign.passed, plain.passed) == (False, False)


HTTP2_LIES = {
    "a page": (Http2Answer(body=b"<html>SERVING</html>"), "answered HTTP 200 with text/html: this"),
    "nothing but 200": (Http2Answer(((":status", "200"),)), "with no content type: this is no gR"),
    "404": (Http2Answer(((":status", "404"),)), "answered HTTP 404, which is no gRPC"),
    "no status": (Http2Answer(GRPC_HEADERS, SERVING), "answered without a gRPC status"),
    "SERVING and a failed call": (
        Http2Answer(GRPC_HEADERS, SERVING, (("grpc-status", "14"), ("grpc-message", "no%20way"))),
        "the call ended with UNAVAILABLE: no way",
    ),
    "an unheard-of status": (
        Http2Answer(GRPC_HEADERS, SERVING, (("grpc-status", "77"),)),
        "the call ended with 77",
    ),
    "no message": (Http2Answer(GRPC_HEADERS, b"", DONE), "answered something else than one"),
    "half a message": (Http2Answer(GRPC_HEADERS, SERVING[:-1], DONE), "something else than one"),
    "two messages": (Http2Answer(GRPC_HEADERS, SERVING * 2, DONE), "something else than one"),
    "an empty message": (Http2Answer(GRPC_HEADERS, bytes(5), DONE), "the server is UNKNOWN"),
    "a packed message": (
        Http2Answer(GRPC_HEADERS, b"\1" + SERVING[1:], DONE),
        "answered a message that is no health status",
    ),
    "another message": (
        Http2Answer(GRPC_HEADERS, b"\0\0\0\0\2\x0a\x09", DONE),
        "answered a message that is no health status",
    ),
    "NOT_SERVING": (Http2Answer(GRPC_HEADERS, NOT_SERVING, DONE), "the server is NOT_SERVING"),
    "a reset": (Http2Answer(reset=True), "the call was reset (HTTP/2 error 2)"),
}


@pytest.mark.parametrize("lie", HTTP2_LIES)
async def test_http2_that_is_no_health_service_fails(verifier: VerifierByKind, lie: str) -> None:
    """A plain HTTP/2 server that answers 200 is the look-alike of a gRPC server."""
    answer, message = HTTP2_LIES[lie]
    async with run_http2_server(answer) as port:
        passed, said = result_of(await verifier.run_check(grpc_check(port), TARGET))
    assert passed is False
    assert message in said


async def test_the_same_answer_in_order_passes(verifier: VerifierByKind) -> None:
    """What the liars leave out is all that they lack."""
    async with run_http2_server(Http2Answer(GRPC_HEADERS, SERVING, DONE)) as port:
        attempt = await verifier.run_check(grpc_check(port), TARGET)
    assert result_of(attempt) == (True, "answered SERVING")


async def test_what_speaks_no_http2_fails(verifier: VerifierByKind, authority: Authority) -> None:
    """HTTP/1, a server that hangs up, and one that offers no HTTP/2 in its handshake."""
    async with run_tcp_server(say(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        first = await verifier.run_check(grpc_check(port), TARGET)

    async def hang_up(*_: object) -> None:
        pass

    async with run_tcp_server(hang_up) as port:
        closed = await verifier.run_check(grpc_check(port), TARGET)
    async with run_tcp_server(stay, authority.context(alpn=["http/1.1"])) as port:
        check = GrpcCheck("a", Endpoint(port, NAME), tls=True, ca_file=authority.file)
        refused = await verifier.run_check(check, TARGET)

    assert first.passed is False
    assert first.message.startswith("what answers there is no HTTP/2")
    assert closed.passed is False
    assert refused.passed is False
    assert "HTTP/2" in refused.message or "handshake" in refused.message


async def test_a_call_has_a_bound(verifier: VerifierByKind) -> None:
    """A server that takes the call and never answers."""
    async with run_tcp_server(stay) as port:
        attempt = await verifier.run_check(replace(grpc_check(port), timeout=QUICK), TARGET)
    assert result_of(attempt) == (False, "no complete answer within 0.3 s")


# ---------------------------------------------------------------------------- dns


DNS_CASES: dict[str, tuple[DnsCheck, bool, str]] = {
    "some address": (
        DnsCheck("a", NAME),
        True,
        f"{NAME} is 192.0.2.1, 192.0.2.2",
    ),
    "the address": (
        DnsCheck("a", NAME, expect=("192.0.2.2",)),
        True,
        f"{NAME} is 192.0.2.1, 192.0.2.2",
    ),
    "another address": (
        DnsCheck("a", NAME, expect=("192.0.2.2", "192.0.2.9")),
        False,
        f"{NAME} is 192.0.2.1, 192.0.2.2; expected 192.0.2.9",
    ),
    "no address of that kind": (
        DnsCheck("a", NAME, "AAAA"),
        False,
        f"{NAME} has no AAAA record",
    ),
    "another name": (
        DnsCheck("a", "www.shop.example", "CNAME", ("SHOP.example",)),
        True,
        "www.shop.example is shop.example.",
    ),
    "a service": (
        DnsCheck("a", "_api._tcp.shop.example", "SRV", ("10 5 443 shop.example",)),
        True,
        "_api._tcp.shop.example is 10 5 443 shop.example.",
    ),
    "no such name": (
        DnsCheck("a", "shopp.example"),
        False,
        "there is no name shopp.example (NXDOMAIN)",
    ),
}


@pytest.mark.parametrize("case", DNS_CASES)
async def test_records_are_held_against_what_is_expected(
    verifier: VerifierByKind, case: str
) -> None:
    """A name that resolves to something else is no success."""
    check, passed, message = DNS_CASES[case]
    async with run_name_server() as server:
        server.records = {
            ("shop.example.", "A"): ["192.0.2.1", "192.0.2.2"],
            ("www.shop.example.", "CNAME"): ["shop.example."],
            ("_api._tcp.shop.example.", "SRV"): ["10 5 443 shop.example."],
        }
        attempt = await verifier.run_check(replace(check, nameservers=(server.address,)), TARGET)
    assert result_of(attempt) == (passed, message)


async def test_a_name_server_that_fails_is_no_verdict(verifier: VerifierByKind) -> None:
    """SERVFAIL and silence say nothing about the name; NXDOMAIN does."""
    async with run_name_server() as server:
        check = DnsCheck("a", NAME, nameservers=(server.address,), timeout=QUICK)
        server.failing = True
        failing = await verifier.run_check(check, TARGET)
        server.failing, server.silent = False, True
        silent = await verifier.run_check(check, TARGET)
        server.silent = False
        unknown = await verifier.run_check(check, TARGET)
    assert [one.passed for one in (failing, silent, unknown)] == [None, None, False]
    assert failing.message.startswith("no name server answered: ")


async def test_a_name_server_is_an_address_like_others() -> None:
    """One that is written down on a refused address is not asked."""
    verifier = verifier_of(allow_loopback=False)
    check = DnsCheck("a", NAME, nameservers=("169.254.169.254:53",))
    said = "169.254.169.254 is a link-local address"
    assert result_of(await verifier.run_check(check, TARGET)) == (False, said)
