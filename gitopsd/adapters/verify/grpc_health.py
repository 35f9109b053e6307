"""Checks of ``grpc.health.v1``: one call of Check over HTTP/2, and nothing but SERVING passes.

A call is one request with one small message each way, so HTTP/2 alone is enough for it; the
message has one field in each direction.
Source: grpc/doc/health-checking.md and grpc/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gitopsd.adapters.verify.attempts import Sighting, fine, wrong
from gitopsd.adapters.verify.dialing import Dialer, say, translate_connection
from gitopsd.adapters.verify.tls import make_context, say_refusal
from gitopsd.domain.checks import GrpcCheck
from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError
from gitopsd.kube.redaction import redact_clause, redact_text
from gitopsd.ports import CheckTarget

if TYPE_CHECKING:
    from h2.connection import H2Connection

METHOD = "/grpc.health.v1.Health/Check"
USER_AGENT = "gitopsd-verify"
LONGEST_ANSWER = 65_536
_CHUNK = 65_536
_OK = "200"
_SERVING = 1
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
# Source: grpc/doc/statuscodes.md.
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_PREFIX_BYTES = 5
# A server of HTTP/2 says its settings first (RFC 9113, section 3.4); a frame's head has 9 bytes.
_HEAD_BYTES, _TYPE_AT, _SETTINGS = 9, 3, 4
_LENGTH_DELIMITED, _VARINT, _FIXED_64, _FIXED_32 = 2, 0, 1, 5


@dataclass(slots=True)
class GrpcAnswer:
    """What came back of one call.

    Attributes:
        headers: Headers of the answer, lower case; trailers are added to them.
        body: Its data.
        complete: Whether the server ended the stream by itself.
    """

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    def take(self, headers: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        """Add headers or trailers."""
        for name, value in headers:
            self.headers[_text(name).lower()] = _text(value)


class GrpcLooker:
    """Calls the health service.

    Args:
        dialer: Opens connections.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def look(self, check: GrpcCheck, target: CheckTarget) -> Sighting:
        """Make one call. The caller bounds the time.

        Raises:
            PermanentError: The connection was not taken, broke, or does not speak HTTP/2.
            TemporaryError: This side could not ask.
        """
        host = check.endpoint.find_host(target.namespace)
        context = await asyncio.to_thread(make_context, check.ca_file) if check.tls else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        name = check.server_name or host
        try:
            async with self._dialer.open(
                host, check.endpoint.port, tls=context, server_name=name
            ) as (reader, writer):
                tls = writer.get_extra_info("ssl_object")
                if tls is not None and tls.selected_alpn_protocol() != "h2":
                    raise PermanentError("the server does not offer HTTP/2 in its handshake")
                bracketed = f"[{name}]" if ":" in name else name
                authority = f"{bracketed}:{check.endpoint.port}"
                answer = await _call(reader, writer, check, authority)
        except ssl.SSLCertVerificationError as error:
            said = say_refusal(error.verify_code, error.verify_message, name, None)
            raise PermanentError(said) from error
        except ssl.SSLError as error:
            raise PermanentError(f"the TLS handshake failed: {say(error)}") from error
        except OSError as error:
            raise translate_connection(error) from error
        return judge_answer(check, answer)


async def _call(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    check: GrpcCheck,
    authority: str,
) -> GrpcAnswer:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.exceptions import ProtocolError

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(
        stream,
        [
            (":method", "POST"),
            (":scheme", "https" if check.tls else "http"),
            (":path", METHOD),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", f"{int(check.timeout.total_seconds() * 1000)}m"),
            ("user-agent", USER_AGENT),
        ],
    )
    connection.send_data(stream, encode_request(check.health_of), end_stream=True)
    answer, greeting = GrpcAnswer(), b""
    try:
        while not answer.complete and len(answer.body) <= LONGEST_ANSWER:
            writer.write(connection.data_to_send())
            await writer.drain()
            chunk = await reader.read(_CHUNK)
            if not chunk:
                raise PermanentError("the connection was closed before the answer was complete")
            greeting = (greeting + chunk)[:_HEAD_BYTES]
            if len(greeting) == _HEAD_BYTES and greeting[_TYPE_AT] != _SETTINGS:
                raise PermanentError("what answers there is no HTTP/2")
            _read_events(connection, chunk, stream, answer)
    except ProtocolError as error:
        raise PermanentError(f"what answers there is no HTTP/2: {say(error)}") from error
    except UnicodeDecodeError as error:
        raise PermanentError("the headers of the answer are no text") from error
    return answer


def _read_events(connection: H2Connection, chunk: bytes, stream: int, answer: GrpcAnswer) -> None:
    from h2 import events

    for event in connection.receive_data(chunk):
        match event:
            case events.ResponseReceived() | events.TrailersReceived():
                answer.take(event.headers or ())
            case events.DataReceived():
                answer.body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case events.StreamEnded():
                answer.complete = True
            case events.StreamReset():
                raise PermanentError(f"the call was reset (HTTP/2 error {event.error_code})")
            case events.ConnectionTerminated() if event.error_code:
                message = f"the connection was ended (HTTP/2 error {event.error_code})"
                raise PermanentError(message)
            case _:
                pass  # settings, windows and pings are answered by the library


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def encode_request(service: str) -> bytes:
    """Encode a ``HealthCheckRequest`` with the prefix of a gRPC message. Pure."""
    name = service.encode()
    message = b"\x0a" + _encode_varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode_status(message: bytes) -> int | None:
    """Read the status out of a ``HealthCheckResponse``; None when it is none. Pure."""
    status, at = 0, 0
    try:
        while at < len(message):
            key, at = _decode_varint(message, at)
            kind = key & 7
            if kind == _VARINT:
                value, at = _decode_varint(message, at)
                status = value if key >> 3 == 1 else status
            elif kind == _LENGTH_DELIMITED:
                length, at = _decode_varint(message, at)
                at += length
            elif kind in (_FIXED_64, _FIXED_32):
                at += 8 if kind == _FIXED_64 else 4
            else:
                return None
    except IndexError:
        return None
    return status if at == len(message) else None


def _decode_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise IndexError


def judge_answer(check: GrpcCheck, answer: GrpcAnswer) -> Sighting:
    """Judge what came back of a call: only a proper SERVING passes. Pure."""
    problem, state = _find_problem(check, answer)
    shown: dict[str, Json] = {
        "headers": {
            name: redact_text(answer.headers[name][:200])
            for name in (":status", "content-type", "grpc-status", "grpc-message", "server")
            if name in answer.headers
        },
        "bytes": len(answer.body),
    }
    if state:
        shown["status"] = state
    return wrong(problem, shown) if problem else fine("answered SERVING", shown)


def _find_problem(check: GrpcCheck, answer: GrpcAnswer) -> tuple[str, str]:
    headers = answer.headers
    if headers.get(":status") != _OK:
        return f"answered HTTP {headers.get(':status', 'nothing')}, which is no gRPC", ""
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].partition("+")[0] != "application/grpc":
        said = redact_clause(kind[:60]) or "no content type"
        return f"answered HTTP 200 with {said}: this is no gRPC server", ""
    if "grpc-status" not in headers:
        return "answered without a gRPC status", ""
    if headers["grpc-status"] != "0":
        return _say_status(check, headers), ""
    return _judge_message(check, bytes(answer.body))


def _say_status(check: GrpcCheck, headers: Mapping[str, str]) -> str:
    number = headers["grpc-status"]
    known = number.isascii() and number.isdigit() and int(number) < len(_CODES)
    code = _CODES[int(number)] if known else redact_clause(number[:20])
    if code == "NOT_FOUND":
        return f"the health service does not know {_say_service(check)} (NOT_FOUND)"
    if code == "UNIMPLEMENTED":
        return "the server has no health service (UNIMPLEMENTED)"
    message = redact_clause(unquote(headers.get("grpc-message", ""))[:200])
    return f"the call ended with {code}{f': {message}' if message else ''}"


def _judge_message(check: GrpcCheck, body: bytes) -> tuple[str, str]:
    length = int.from_bytes(body[1:_PREFIX_BYTES], "big")
    if len(body) < _PREFIX_BYTES or len(body) != _PREFIX_BYTES + length:
        return "answered something else than one message", ""
    status = decode_status(body[_PREFIX_BYTES:]) if body[0] == 0 else None
    if status is None:
        return "answered a message that is no health status", ""
    state = _STATES.get(status, str(status))
    if status == _SERVING:
        return "", state
    return f"{_say_service(check)} is {state}; expected SERVING", state


def _say_service(check: GrpcCheck) -> str:
    return f"service {check.health_of}" if check.health_of else "the server"
