"""Servers on loopback that checks over the network ask: good ones, and ones that only look so."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import grpc
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

if TYPE_CHECKING:
    from pathlib import Path

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NAME = "shop.example"
TURNS = 5
"""Turns of the loop between a connection's being accepted and its being treated."""


@asynccontextmanager
async def run_tcp_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server on 127.0.0.1 that treats every connection in one way; yields its port."""
    talks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            await talk(reader, writer)
        writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        task = asyncio.create_task(serve(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()
        for _ in range(TURNS):
            await asyncio.sleep(0)  # noqa: TID251 - what was accepted in this moment gets its turn
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        closing = (writer.wait_closed() for writer in writers)
        await asyncio.gather(*closing, return_exceptions=True)


async def stay(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing until the other side goes."""
    await reader.read()


def say(text: bytes) -> Talk:
    """Say something at once, then wait for the other side to go."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        await reader.read()

    return talk


class Authority:
    """A certificate authority of the test's own.

    Args:
        directory: Where its certificate is written.
    """

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        path = directory / "ca.crt"
        self._authority.cert_pem.write_to_path(path)
        self.file = str(path)

    def context(
        self, name: str = NAME, *, left: timedelta = timedelta(days=90), alpn: Sequence[str] = ()
    ) -> ssl.SSLContext:
        """Make a server's context with a certificate for a name that is valid so long."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issue(name, left).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def credentials(self, name: str = NAME) -> Any:  # noqa: ANN401 - the library has no types
        """Make the credentials of a gRPC server."""
        leaf = self._issue(name, timedelta(days=90))
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])

    def _issue(self, name: str, left: timedelta) -> trustme.LeafCert:
        end = datetime.now(UTC) + left  # noqa: TID251 - certificates are judged by real time
        begin = end - timedelta(days=120)
        return self._authority.issue_cert(name, not_before=begin, not_after=end)


def self_signed(directory: Path) -> ssl.SSLContext:
    """Make a server's context with a certificate that nobody but itself has signed."""
    from cryptography import x509  # noqa: PLC0415 - one test needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)  # noqa: TID251 - certificates are judged by real time
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "self-signed.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@dataclass
class GrpcServer:
    """A real gRPC server with the real health service.

    Attributes:
        port: Where it listens.
        servicer: The health service.
    """

    port: int
    servicer: Any

    def set(self, service: str, status: str) -> None:
        """Say how a service is: ``SERVING``, ``NOT_SERVING``, ``UNKNOWN``."""
        self.servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))


@contextmanager
def run_grpc_server(credentials: Any = None, *, healthy: bool = True) -> Iterator[GrpcServer]:  # noqa: ANN401 - the library has no types
    """Run a gRPC server; without ``healthy`` it has no health service."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    servicer = health.HealthServicer()
    if healthy:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = "127.0.0.1:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    made = GrpcServer(port, servicer)
    made.set("", "SERVING")
    try:
        yield made
    finally:
        server.stop(grace=None).wait()


@dataclass
class Http2Answer:
    """What a plain HTTP/2 server answers to everything.

    Attributes:
        headers: Headers with ``:status``.
        body: Data.
        trailers: Headers after the data; none when empty.
        reset: Reset the stream instead.
    """

    headers: Sequence[tuple[str, str]] = ((":status", "200"), ("content-type", "text/html"))
    body: bytes = b""
    trailers: Sequence[tuple[str, str]] = ()
    reset: bool = False


@asynccontextmanager
async def run_http2_server(
    answer: Http2Answer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run an HTTP/2 server that answers everything alike; yields its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, StreamEnded) and event.stream_id:
                    _answer(connection, event.stream_id, answer)
                assert not isinstance(event, RequestReceived) or event.headers
            writer.write(connection.data_to_send())
            await writer.drain()

    async with run_tcp_server(talk, tls) as port:
        yield port


def _answer(connection: H2Connection, stream: int, answer: Http2Answer) -> None:
    if answer.reset:
        connection.reset_stream(stream, 2)
        return
    alone = not (answer.body or answer.trailers)
    connection.send_headers(stream, list(answer.headers), end_stream=alone)
    if answer.body:
        connection.send_data(stream, answer.body, end_stream=not answer.trailers)
    if answer.trailers:
        connection.send_headers(stream, list(answer.trailers), end_stream=True)


@dataclass
class NameServer:
    """A name server that knows what a test tells it.

    Attributes:
        port: Where it listens.
        records: (name, type) -> values.
        names: Names that exist, whatever their records.
        failing: Answers SERVFAIL to everything.
        silent: Answers nothing.
        asked: Names and types that were asked for.
    """

    port: int = 0
    records: dict[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    failing: bool = False
    silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def answer(self, packet: bytes) -> bytes | None:
        """Answer one question."""
        query = dns.message.from_wire(packet)
        [question] = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        known = {one for one, _ in self.records}
        if self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name not in known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, kind) in self.records:
            values = self.records[name, kind]
            response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
        return response.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


@asynccontextmanager
async def run_name_server() -> AsyncIterator[NameServer]:
    """Run a name server on 127.0.0.1."""
    server = NameServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), local_addr=("127.0.0.1", 0)
    )
    server.port = int(transport.get_extra_info("sockname")[1])
    try:
        yield server
    finally:
        transport.close()
