"""A Slack of the tests' own: conversations, threads, metadata, limits, and every way to be ill."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.odd_answers import Odd, finish

CONVERSATION = "C0123456789"
TOKEN = "xoxb-made-up-for-this-test"
_TEXT_LIMIT = 3000
_BLOCK_LIMIT = 50
_TOTAL_LIMIT = 13_200


@dataclass
class Posted:
    """One message.

    Attributes:
        ts: Its name in the conversation.
        arguments: What it was made of, the last update included.
        versions: The texts it had, in order.
    """

    ts: str
    arguments: dict[str, Any]
    versions: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text of its blocks."""
        found = []
        for block in self.arguments.get("blocks") or ():
            held = block.get("elements", [block.get("text")])
            found += [one["text"] for one in held]
        return "\n".join(found)

    @property
    def thread(self) -> str:
        """The message it is below; empty when it is below none."""
        return str(self.arguments.get("thread_ts") or "")


@dataclass
class SlackServer:
    """One workspace with one conversation.

    Attributes:
        url: Address of its Web API.
        odd: What it does instead of answering well.
        messages: What was posted, in order.
        calls: Methods that were called, in order.
        requests: The same with their arguments.
        tokens: Tokens that count.
        scopes: What the app may do.
    """

    url: str = ""
    odd: Odd = field(default_factory=Odd)
    messages: list[Posted] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "channels:history"})

    @property
    def parents(self) -> list[Posted]:
        """Messages that are in no thread."""
        return [message for message in self.messages if not message.thread]

    def below(self, parent: Posted) -> list[Posted]:
        """Messages in a thread."""
        return [message for message in self.messages if message.thread == parent.ts]

    def find(self, *words: str) -> Posted:
        """Find the one message that says all of these now."""
        found = [one for one in self.messages if all(word in one.text for word in words)]
        assert len(found) == 1, (words, [one.text for one in self.messages])
        return found[0]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        method = request.path.rpartition("/")[2]
        self.calls.append(method)
        arguments = await _read_arguments(request)
        self.requests.append((method, arguments))
        instead = await self.odd.answer(request)
        if instead is not None:
            return instead
        return finish(request, web.json_response(self._answer(method, request, arguments)))

    def _answer(
        self, method: str, request: web.Request, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _no("invalid_auth")
        if arguments.get("channel") != CONVERSATION:
            return _no("channel_not_found")
        match method:
            case "chat.postMessage":
                return self._post(arguments)
            case "chat.update":
                return self._update(arguments)
            case "conversations.history" | "conversations.replies":
                return self._list(method, arguments)
            case _:
                return _no("unknown_method")

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wrong = _find_wrong(arguments)
        thread = arguments.get("thread_ts")
        if wrong:
            return _no(wrong)
        if thread and all(one.ts != thread for one in self.messages):
            return _no("thread_not_found")
        ts = f"{1_767_225_600 + len(self.messages)}.{len(self.messages):06d}"
        self.messages.append(Posted(ts, arguments, [str(arguments.get("text"))]))
        return {"ok": True, "channel": CONVERSATION, "ts": ts, "message": {}}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wrong = _find_wrong(arguments)
        found = next((one for one in self.messages if one.ts == arguments.get("ts")), None)
        if wrong or found is None:
            return _no(wrong or "message_not_found")
        found.arguments = {**found.arguments, **arguments}
        found.versions.append(str(arguments.get("text")))
        return {"ok": True, "channel": CONVERSATION, "ts": found.ts, "text": ""}

    def _list(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if "channels:history" not in self.scopes:
            return {**_no("missing_scope"), "needed": "channels:history"}
        thread = arguments.get("ts", "") if method == "conversations.replies" else ""
        told = [
            {"ts": one.ts, "text": one.arguments.get("text"), **_metadata(one, arguments)}
            for one in self.messages
            if thread in (one.thread, one.ts)
        ]
        # One to a page, so that whoever does not turn pages finds nothing.
        number = int(arguments.get("cursor") or 0)
        told.reverse()
        following = str(number + 1) if number + 1 < len(told) else ""
        page = told[number : number + 1]
        return {"ok": True, "messages": page, "response_metadata": {"next_cursor": following}}


def _metadata(one: Posted, arguments: Mapping[str, Any]) -> dict[str, Any]:
    wanted = arguments.get("include_all_metadata") in (True, "1", "true")
    return {"metadata": one.arguments.get("metadata")} if wanted else {}


def _no(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _find_wrong(arguments: Mapping[str, Any]) -> str:
    """Refuse what Block Kit refuses."""
    blocks = arguments.get("blocks") or []
    texts = [
        one.get("text", "")
        for block in blocks
        for one in block.get("elements", [block.get("text") or {}])
    ]
    if not arguments.get("text"):
        return "no_text"
    if len(blocks) > _BLOCK_LIMIT or any(not 0 < len(text) <= _TEXT_LIMIT for text in texts):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(map(len, texts)) > _TOTAL_LIMIT else ""


async def _read_arguments(request: web.Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    read: dict[str, Any] = json.loads(await request.text())
    return read


@asynccontextmanager
async def run_slack() -> AsyncIterator[SlackServer]:
    """Run one on a free port of this machine."""
    slack = SlackServer()
    app = web.Application()
    app.router.add_route("*", "/api/{method}", slack.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        slack.url = str(server.make_url("/api/"))
        yield slack
        slack.odd.ending.set()
