"""``POST /hooks/{receiver}``: signed deliveries in, one committed row out."""

from __future__ import annotations

import asyncio
import logging
import math
from http import HTTPStatus

from aiohttp import web

from gitopsd.domain.sources import ReceiverName
from gitopsd.engine.intake import accept_delivery
from gitopsd.entrypoints.http.limits import BodiesUnderWay
from gitopsd.entrypoints.http.service import SERVICE, Service
from gitopsd.errors import TemporaryError

_LOG = logging.getLogger(__name__)

LARGEST_BODY = 25 * 1024 * 1024
"""GitHub and GitLab send no larger payloads."""

READ_SECONDS = 5.0
"""How long a sender may take for its body."""

_PLAIN = ("", "identity")


async def receive(request: web.Request) -> web.Response:
    """Take one delivery.

    Safe to repeat: the same delivery is stored once; sent again, it rings the look again.
    """
    service = request.app[SERVICE]
    source = request.remote or ""
    wait = service.buckets.take(source)
    if wait > 0:
        answer = _answer(429, "Too many requests from this address.", close=True)
        answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer
    name = ReceiverName(request.match_info["receiver"])
    if name not in service.services.configuration().receivers:
        return _answer(404, "There is no receiver of that name.", close=True)
    if request.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
        return _answer(415, "Send the body uncompressed: its bytes are what is signed.", close=True)
    if request.content_length is not None and request.content_length > LARGEST_BODY:
        return _answer(413, "The body is larger than 25 MB.", close=True)
    body = _Body(service.bodies, source)
    try:
        refused = await body.read(request)
        return refused or await _accept(service, name, source, request, bytes(body.received))
    finally:
        body.forget()


async def _accept(
    service: Service, name: ReceiverName, source: str, request: web.Request, body: bytes
) -> web.Response:
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        answered = await accept_delivery(service.services, name, headers, body)
    except TemporaryError:
        return _answer(503, "The delivery could not be stored; send it again.")
    _log_once(service, name, answered.problem)
    if answered.status == HTTPStatus.UNAUTHORIZED:
        service.buckets.punish(source)
    return _answer(answered.status, answered.message)


def _log_once(service: Service, receiver: ReceiverName, problem: str) -> None:
    """Log what is wrong with a receiver when it changes, not with each delivery."""
    if service.state.receivers.get(receiver, "") == problem:
        return
    service.state.receivers[receiver] = problem
    if problem:
        _LOG.error("%s", problem)
    else:
        _LOG.info("receiver %s: its secret files can be read again", receiver)


class _Body:
    """A body while it is received and worked on; its bytes count until they are forgotten.

    Args:
        bodies: What is in memory.
        source: Who sends it.
    """

    __slots__ = ("_bodies", "_source", "_taken", "received")

    def __init__(self, bodies: BodiesUnderWay, source: str) -> None:
        self._bodies = bodies
        self._source = source
        self._taken = 0
        self.received: bytes | bytearray = b""

    async def read(self, request: web.Request) -> web.Response | None:
        """Receive it whole; returns the refusal when it is too large, too slow, or one too many."""
        content = request.content
        if content.is_eof():  # it came with its headers, as nearly all do
            self.received = content.read_nowait()
            return self._find_refusal(len(self.received))
        self.received = bytearray()
        try:
            async with asyncio.timeout(READ_SECONDS):
                async for chunk in content.iter_any():
                    refused = self._find_refusal(len(chunk))
                    if refused is not None:
                        return refused
                    self.received += chunk
        except TimeoutError:
            return _answer(408, "The body did not arrive within 5 s.", close=True)
        return None

    def forget(self) -> None:
        """Count it no more. Safe to repeat."""
        self._bodies.give_back(self._source, self._taken)
        self._taken = 0

    def _find_refusal(self, size: int) -> web.Response | None:
        if self._taken + size > LARGEST_BODY:
            return _answer(413, "The body is larger than 25 MB.", close=True)
        if not self._bodies.take(self._source, size):
            answer = _answer(503, "Too much is being received; send it again.", close=True)
            answer.headers["Retry-After"] = "1"
            return answer
        self._taken += size
        return None


def _answer(status: int, message: str, *, close: bool = False) -> web.Response:
    """Answer; ``close`` ends the connection instead of reading the rest of a body from it."""
    response = web.json_response({"message": message}, status=status)
    if close:
        response.force_close()
    return response
