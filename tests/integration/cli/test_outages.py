"""A server that goes away while somebody waits at a terminal, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gitopsd.cli.client import TRIES
from gitopsd.entrypoints.http.server import listen
from tests.support.command_line import CommandLine

SHA = "a" * 40
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(state: str) -> web.Response:
    """What the API says of a commit in one stage."""
    stage = {
        "application": "shop",
        "stage": "staging",
        "state": state,
        "exact": True,
        "terminal": state == "Live",
        "reason": "",
        "waitingFor": "",
    }
    return web.json_response({"commit": SHA, "stages": [stage]})


async def hang_up(request: web.Request) -> web.Response:
    """End the connection instead of answering."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def say(response: Callable[[], web.Response]) -> Handler:
    """Answer always the same."""

    async def handler(_: web.Request) -> web.Response:
        return response()

    return handler


def tell(number: int) -> Handler:
    """Stream one event, and the head of another, then end in the middle."""

    async def handler(request: web.Request) -> web.StreamResponse:
        told.append(request.query.get("after", ""))
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        event = (
            f'"at": "2026-05-01T12:00:0{number}+00:00", "trigger": "on-deployed", '
            f'"application": "shop", "stage": "", "message": "shop: number {number}"'
        )
        sent = f"retry: 2000\n\nid: {number}\ndata: {{{event}}}\n\nid: {number + 1}\n"
        await response.write(sent.encode())
        assert request.transport is not None
        request.transport.close()
        return response

    told: list[str] = []
    handler.told = told  # type: ignore[attr-defined] # read by the test that made it
    return handler


@asynccontextmanager
async def serving(tmp_path: Path, *answers: Handler) -> AsyncIterator[CommandLine]:
    """A server that answers one request after the other, and a person who asks it."""
    left = iter(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await next(left)(request)

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", handle)
    listener = await listen(app, "127.0.0.1:0")
    try:
        yield CommandLine(listener.url, "gitopsd_x", tmp_path)
    finally:
        await listener.close()


async def test_a_wait_survives_a_server_that_restarts(tmp_path: Path) -> None:
    """Broken connections and 503 are told once each time and waited out; no line comes twice."""
    away = [hang_up] * TRIES
    starting = say(lambda: web.json_response({"detail": "It starts."}, status=503))
    seen, live = say(lambda: status("Running")), say(lambda: status("Live"))
    async with serving(tmp_path, seen, *away, starting, seen, live) as person:
        ran = await person.run("wait", SHA)

    assert ran.code == 0
    assert ran.out.splitlines() == ["shop/staging Running", "shop/staging Live"]
    (told,) = ran.err.splitlines()
    assert "does not answer" in told
    assert told.endswith("Still trying.")


@pytest.mark.parametrize("code", [401, 500])
async def test_a_wait_ends_when_the_server_says_no(tmp_path: Path, code: int) -> None:
    """What does not pass by itself is an error at once, also in the middle."""
    refused = say(lambda: web.json_response({"detail": "No."}, status=code))
    async with serving(tmp_path, say(lambda: status("Running")), refused) as person:
        ran = await person.run("wait", SHA)

    assert ran.code == 2
    assert ran.err.startswith("gitopsd: No.\n")


async def test_a_server_that_never_answered_is_not_waited_for(tmp_path: Path) -> None:
    """A wrong address is an error at once, not after the time to wait."""
    async with serving(tmp_path, *[hang_up] * TRIES) as person, asyncio.timeout(5):
        ran = await person.run("wait", SHA)

    assert ran.code == 2
    assert "does not answer" in ran.err


async def test_events_go_on_where_a_broken_stream_stopped(tmp_path: Path) -> None:
    """Each event is printed once; one of which only the head came is asked for again."""
    first, second = tell(1), tell(2)
    refused = say(lambda: web.json_response({"detail": "The token ended."}, status=401))
    async with serving(tmp_path, first, hang_up, second, refused) as person:
        ran = await person.run("events", "--after", "0")

    assert ran.code == 2
    assert ran.out.splitlines() == [
        "2026-05-01T12:00:01Z on-deployed shop number 1",
        "2026-05-01T12:00:02Z on-deployed shop number 2",
    ]
    assert (first.told, second.told) == (["0"], ["1"])  # type: ignore[attr-defined] # see `tell`
    assert "gitopsd: The token ended." in ran.err.splitlines()
