"""What a registry reports: Distribution's events, sent in order until somebody took them.

Source: the CNCF Distribution project, its page on notifications and package ``notifications``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections import deque
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import orjson

from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.hosts.logins import read_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from gitopsd.domain.manifests import Json, JsonObject

ENVELOPE = "application/vnd.docker.distribution.events.v1+json"
TIMEOUT = aiohttp.ClientTimeout(total=5)
THRESHOLD = 3
"""Tries in a row before it waits."""
BACK_OFF = timedelta(seconds=1)
MOST_WAITING = 1000
_TAKEN = range(200, 400)


class Events:
    """The queue of one registry and what sends it.

    Args:
        receiver_file: JSON with ``url`` and ``secretFile``; None reports nothing.
        clock: For the waits between tries.
    """

    def __init__(self, receiver_file: Path | None, clock: Clock | None = None) -> None:
        self._receiver_file = receiver_file
        self._clock = clock or Clock()
        self._waiting: deque[JsonObject] = deque(maxlen=MOST_WAITING)
        self._bell = asyncio.Event()
        self._instance = str(uuid.uuid4())

    def report(self, request: web.Request, action: str, target: JsonObject) -> None:
        """Queue an event. Safe to repeat for receivers: each has an id of its own.

        Args:
            request: What caused it.
            action: ``push``, ``mount`` or ``delete``.
            target: What it concerns.
        """
        event: JsonObject = {
            "id": str(uuid.uuid4()),
            "timestamp": self._clock.now().isoformat().replace("+00:00", "Z"),
            "action": action,
            "target": target,
            "request": {
                "id": str(uuid.uuid4()),
                "addr": request.remote or "",
                "host": request.host,
                "method": request.method,
                "useragent": request.headers.get("User-Agent", ""),
            },
            "actor": {},
            "source": {"addr": f"{os.uname().nodename}:{request.url.port}"},
        }
        self._waiting.append(event)
        self._bell.set()

    @asynccontextmanager
    async def run(self, _url: str) -> AsyncIterator[None]:
        """Send for as long as the block lasts; what waits then is lost, as with the real one."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            task = asyncio.create_task(self._send_all(session))
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        failed = 0
        while True:
            while not self._waiting:
                self._bell.clear()
                await self._bell.wait()
            if await self._send(session, self._waiting[0]):
                self._waiting.popleft()
                failed = 0
                continue
            failed += 1
            if failed % THRESHOLD == 0:
                await self._clock.sleep(BACK_OFF)

    async def _send(self, session: aiohttp.ClientSession, event: JsonObject) -> bool:
        receiver = read_receiver(self._receiver_file)
        if receiver is None:
            return True
        url, secret = receiver
        envelope: Json = {"events": [event]}
        headers = {"Content-Type": ENVELOPE, "Authorization": f"Bearer {secret.decode()}"}
        try:
            async with session.post(url, data=orjson.dumps(envelope), headers=headers) as answer:
                if answer.status not in _TAKEN:
                    sys.stderr.write(f"{url} answered {answer.status}; the event comes again\n")
                return answer.status in _TAKEN
        except (aiohttp.ClientError, TimeoutError) as error:
            sys.stderr.write(f"{url} does not answer: {error}; the event comes again\n")
            return False
