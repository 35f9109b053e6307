"""The event stream: what happens, as it happens, to those who may know it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gitopsd.domain.work import Notification
from gitopsd.store_ports import Transaction
from tests.support.engine_world import deployment
from tests.support.http_world import IMAGE, Document, HttpWorld, serving_world

if TYPE_CHECKING:
    import aiohttp


@dataclass
class Stream:
    """An open stream."""

    answer: aiohttp.ClientResponse

    async def next(self) -> tuple[int, Document]:
        """Read on to the next event: its number and content."""
        number = 0
        async with asyncio.timeout(10):
            while True:
                line = (await self.answer.content.readline()).decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "data":
                    return number, json.loads(value)
                elif self.answer.content.at_eof():
                    raise EOFError

    async def ended(self) -> bool:
        """Read to the end."""
        async with asyncio.timeout(10):
            await self.answer.content.read()
        return True


@asynccontextmanager
async def following(
    http: HttpWorld, query: str = "", *, token: str = "", last: str = ""
) -> AsyncIterator[Stream]:
    """Open a stream; returns once the server has begun it."""
    headers = {"Authorization": f"Bearer {token or http.tokens['admin']}"}
    if last:
        headers["Last-Event-ID"] = last
    async with http.session.get(f"{http.url}/api/v1/events{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert (await answer.content.readline()).startswith(b"retry:")
        yield Stream(answer)


def tell(tx: Transaction, name: str, application: str) -> None:
    """Store a notification."""
    tx.records.add_notification(
        Notification(
            id=name,
            trigger="on-deployed",
            application=application,
            stage="staging",
            message=f"{name} with password=a-made-up-password",
            at=tx.now,
            details={"commit": "abc", "note": "token=a-made-up-token"},
        )
    )


async def say(http: HttpWorld, name: str, application: str = "shop") -> None:
    """Let something happen."""
    await http.service.services.store.transact(partial(tell, name=name, application=application))


async def test_what_happens_is_told_as_it_happens() -> None:
    """A push is followed from its release to what waits for an approval."""
    async with serving_world() as http, following(http) as stream:
        await http.world.push("one", deployment(IMAGE))
        seen: list[str] = []
        while "on-approval-requested" not in seen:
            _, event = await stream.next()
            seen.append(event["trigger"])

    assert seen[0] == "on-release-created"
    assert "on-deployed" in seen


async def test_a_new_stream_begins_now_and_an_old_one_where_it_stopped() -> None:
    """Nothing twice, nothing lost: numbers lead on after a break."""
    async with serving_world(run=False) as http:
        await say(http, "before")
        async with following(http) as stream:
            await say(http, "first")
            number, first = await stream.next()
        await say(http, "missed")
        async with following(http, last=str(number)) as stream:
            _, missed = await stream.next()
        async with following(http, "?after=0") as stream:
            everything = [(await stream.next())[1]["id"] for _ in range(3)]

    assert (first["id"], missed["id"]) == ("first", "missed")
    assert everything == ["before", "first", "missed"]


async def test_nobody_hears_of_what_he_may_not_see() -> None:
    """Scope and filter hold for events too; what belongs to no application needs all of them."""
    async with serving_world(run=False) as http:
        token = await http.token("narrow", "viewer", applications=("other",))
        async with (
            following(http, token=token) as narrow,
            following(http, "?application=shop") as filtered,
            following(http) as all_of_it,
        ):
            await say(http, "one", "shop")
            await say(http, "two", "")
            await say(http, "three", "other")
            await say(http, "four", "shop")
            heard = (await narrow.next())[1]["id"]
            shop = [(await filtered.next())[1]["id"] for _ in range(2)]
            everything = [(await all_of_it.next())[1]["id"] for _ in range(4)]

    assert heard == "three"
    assert shop == ["one", "four"]
    assert everything == ["one", "two", "three", "four"]


async def test_a_stream_holds_no_secret() -> None:
    """Messages and details pass the redaction."""
    async with serving_world(run=False) as http, following(http) as stream:
        await say(http, "one")
        _, event = await stream.next()

    assert "a-made-up" not in json.dumps(event)


async def test_a_stream_ends_with_the_process() -> None:
    """A process that ends does not wait for its listeners."""
    async with serving_world(run=False) as http, following(http) as stream:
        http.service.changes.close()
        assert await stream.ended()


async def test_a_listener_that_leaves_leaves_nothing_behind() -> None:
    """A stream whose client is gone ends at the next event at the latest."""
    async with serving_world(run=False) as http:
        async with following(http) as stream:
            stream.answer.close()
        await say(http, "one")
        assert (await http.ask("GET", "/freezes")).status == 200
        assert http.world.telemetry.reports == []
