"""A flood of signed deliveries over a few kept connections, as fast as they are answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from gitopsd.domain.manifests import Json
from gitopsd.sandbox.hosts.push_hooks import Movement, describe_push, sign_push

BODY_BYTES = 20_480
COMMITS = 20
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class NoHttpError(Exception):
    """What came back has no length, or the connection was closed in the middle."""


@dataclass
class Flood:
    """What came of the requests.

    Attributes:
        seconds: From the first byte sent to the last answer.
        statuses: How often each status was answered.
        answer_seconds: Of each request, from its first byte to its whole answer.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    answer_seconds: list[float] = field(default_factory=list)


def make_body(
    base_url: str, repository: str, after: str, *, seed: str = "", size: int = BODY_BYTES
) -> bytes:
    """Write what GitHub sends after a push of 20 commits, with messages that make up the size.

    Args:
        base_url: Address of the Git host.
        repository: Path of the repository, with ``.git``.
        after: What the branch points to now.
        seed: Makes bodies differ whose branches point to the same commit.
        size: Bytes of the body.
    """
    movement = Movement("refs/heads/main", "0" * 40, after)
    commits = [_commit(number, after, seed) for number in range(COMMITS)]

    def dump() -> bytes:
        return json.dumps(describe_push(base_url, repository, movement, commits=commits)).encode()

    share, rest = divmod(size - len(dump()), COMMITS - 1)
    for number, commit in enumerate(commits[:-1]):  # the last stands there twice: it is the head
        commit["message"] = f"{commit['message']}{'.' * (share + (number < rest))}"
    return dump()


def _commit(number: int, after: str, seed: str) -> dict[str, Json]:
    person: dict[str, Json] = {"name": "A developer", "email": "developer@example.test"}
    return {
        "id": f"{number:02x}{after[2:]}" if number < COMMITS - 1 else after,
        "tree_id": after[::-1],
        "distinct": True,
        "message": f"Change {number:2} {seed}",
        "timestamp": "2026-01-01T12:00:00+00:00",
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": [f"apps/app-{number:03d}/overlays/production/kustomization.yaml"],
    }


def make_request(url: str, body: bytes, secret: bytes) -> bytes:
    """Write a signed delivery of its own id as it stands on the wire."""
    where = urlsplit(url)
    headers = {"Host": where.netloc, **sign_push(body, secret), "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {where.path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def send_flood(url: str, requests: Sequence[bytes], sources: Sequence[str]) -> Flood:
    """Send requests over one connection from each address, each the next once it is answered.

    Args:
        url: Where they go.
        requests: Whole requests, which keep their connection.
        sources: Loopback addresses to send from: behind each is another sender.

    Raises:
        NoHttpError: A connection was closed before everything was answered.
    """
    where, loop, flood = urlsplit(url), asyncio.get_running_loop(), Flood()
    waiting = deque(requests)
    senders = []
    for source in sources:
        _, sender = await loop.create_connection(
            lambda: _Sender(waiting, flood),
            where.hostname or "",
            where.port or 0,
            local_addr=(source, 0),
        )
        senders.append(sender)
    begin = time.perf_counter()
    for sender in senders:
        sender.send()
    try:
        await asyncio.gather(*(sender.done for sender in senders))
        flood.seconds = time.perf_counter() - begin
    finally:
        for sender in senders:
            sender.close()
    return flood


class _Sender(asyncio.Protocol):
    """One connection."""

    def __init__(self, waiting: deque[bytes], flood: Flood) -> None:
        self._waiting = waiting
        self._flood = flood
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self) -> None:
        """Send the next request, or be done."""
        if not self._waiting or self._transport is None:
            self.done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._waiting.popleft())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(_END_OF_HEAD)
        if not end or len(rest) < _find_length(head):
            return
        self._received = b""
        self._flood.statuses[int(head[9:12])] += 1
        self._flood.answer_seconds.append(time.perf_counter() - self._sent_at)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            why = exc or "the connection was closed before everything was answered"
            self.done.set_exception(NoHttpError(str(why)))

    def close(self) -> None:
        """Close the connection."""
        self.done.cancel()
        if self._transport is not None:
            self._transport.abort()


def _find_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(_LENGTH):
            return int(line.removeprefix(_LENGTH))
    raise NoHttpError(head.decode(errors="replace"))
