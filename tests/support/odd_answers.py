"""What a local server does instead of answering well: refuse, limit, fail, say nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web

Behaviour: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers a request; None lets the server answer as it would."""

DROP_AFTER = web.RequestKey("drop-after", bool)
"""Key in a request: do what is asked, then break the connection instead of answering."""


@dataclass
class Odd:
    """Behaviours in turn, for requests whose path holds a word.

    Attributes:
        waiting: Word -> behaviours; each is used once, but for the last one of `forever`.
        forever: Word -> what is always done.
        ending: Set when the server ends, for what hangs.
        reached: Set when a request hangs.
    """

    waiting: dict[str, deque[Behaviour]] = field(default_factory=dict)
    forever: dict[str, Behaviour] = field(default_factory=dict)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def once(self, word: str, *behaviours: Behaviour) -> None:
        """Behave so for the next requests whose path holds ``word``."""
        self.waiting.setdefault(word, deque()).extend(behaviours)

    def always(self, word: str, behaviour: Behaviour | None) -> None:
        """Behave so from now on; None mends it."""
        self.forever.pop(word, None)
        if behaviour is not None:
            self.forever[word] = behaviour

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """Do what is due for a request; None when nothing is."""
        for word, behaviours in self.waiting.items():
            if word in request.path and behaviours:
                return await behaviours.popleft()(request)
        for word, behaviour in self.forever.items():
            if word in request.path:
                return await behaviour(request)
        return None

    def hang(self) -> Behaviour:
        """Take the request and say nothing."""

        async def behave(_: web.Request) -> web.StreamResponse:
            self.reached.set()
            await self.ending.wait()
            raise web.HTTPServiceUnavailable

        return behave


def say(status: int, body: object = None, **headers: str) -> Behaviour:
    """Answer so; underscores in header names become dashes."""

    async def behave(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=named)
        return web.json_response(body if body is not None else {}, status=status, headers=named)

    return behave


def drop_after() -> Behaviour:
    """Do what is asked, and break the connection instead of answering."""

    async def behave(request: web.Request) -> None:
        request[DROP_AFTER] = True

    return behave


def finish(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Give the answer, or break the connection when that was ordered."""
    if request.get(DROP_AFTER) and request.transport is not None:
        request.transport.abort()
    return answer
