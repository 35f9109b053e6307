"""A watch goes on through whatever a server does to it, and never in a hot loop."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.cluster.watching import WatchPace
from gitopsd.domain.config import ClusterSpec
from tests.support.half_dead_api import event, json_answer, never, refuse, stream, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from tests.integration.cluster.conftest import Connect
    from tests.support.half_dead_api import Behaviour, HalfDeadApi

PATH = "/api/v1/namespaces/shop/configmaps"
BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"50"}}}\n'
GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}\n'
TROUBLE = b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}\n'


class Pauses:
    """Notes how long the watch would rest, and rests for no time at all."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._noted = asyncio.Event()

    async def rest(self, seconds: float) -> None:
        """Note a pause."""
        self.seconds.append(seconds)
        self._noted.set()
        await asyncio.sleep(0)  # noqa: TID251 - others get their turn, nothing is waited for

    async def until(self, number: int) -> None:
        """Wait until so many pauses were noted."""
        async with asyncio.timeout(10):
            while len(self.seconds) < number:
                self._noted.clear()
                await self._noted.wait()


class Watch:
    """The watches of a server: each does the next thing of the script, the last one for ever."""

    def __init__(self, api: HalfDeadApi, *script: Behaviour) -> None:
        self.versions: list[str] = []
        self.lists = 0
        self._api = api
        self._script = list(script)
        api.do("GET", PATH, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        if "watch" not in request.query:
            self.lists += 1
            return json_answer({"metadata": {"resourceVersion": f"{self.lists}0"}, "items": []})
        self.versions.append(request.query["resourceVersion"])
        script = self._script
        return await (script.pop(0) if len(script) > 1 else script[0])(request)


@pytest.fixture
async def pauses() -> Pauses:
    """Fresh pauses."""
    return Pauses()


async def collect(
    api: HalfDeadApi,
    connect: Connect,
    pauses: Pauses,
    count: int,
    silence: timedelta = timedelta(seconds=90),
) -> list[str]:
    """Watch until so many signals came; their actions."""
    found: list[str] = []
    cluster = connect(api.url, pace=WatchPace(silence=silence, rest=pauses.rest))
    watching: AsyncIterator[object] = cluster.watch("v1", "ConfigMap", "shop")
    async with asyncio.timeout(20), aclosing(watching) as signals:  # type: ignore[type-var] # a generator
        async for signal in signals:
            found.append(signal.action)  # type: ignore[attr-defined] # a WatchSignal
            if len(found) == count:
                break
    return found


async def test_changes_are_told_and_bookmarks_are_not(
    api: HalfDeadApi, connect: Connect, pauses: Pauses
) -> None:
    """After the list come the changes; a bookmark only moves the version on."""
    watch = Watch(
        api,
        stream(event("ADDED", "41"), BOOKMARK),
        stream(event("MODIFIED", "51"), event("DELETED", "52")),
    )

    found = await collect(api, connect, pauses, 4)

    assert found == ["Relisted", "Added", "Modified", "Deleted"]
    assert watch.versions == ["10", "50"]


async def test_a_watch_that_ends_at_once_is_not_begun_more_than_once_a_second(
    api: HalfDeadApi, connect: Connect, pauses: Pauses
) -> None:
    """Each end at once is followed by a longer pause, with a jitter, up to a bound."""
    Watch(api, stream())
    task = asyncio.create_task(collect(api, connect, pauses, 2))

    await pauses.until(12)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert min(pauses.seconds) >= 1
    assert pauses.seconds[4] > 2 * pauses.seconds[0]
    assert max(pauses.seconds) <= 45
    assert len(set(pauses.seconds)) > 6


async def test_a_watch_that_says_nothing_is_begun_anew(
    api: HalfDeadApi, connect: Connect, pauses: Pauses
) -> None:
    """Silence longer than a server that is well keeps ends the watch; the version stays."""
    watch = Watch(api, stream(then=never(api)), stream(event("ADDED", "41")))

    found = await collect(api, connect, pauses, 2, silence=timedelta(seconds=0.2))

    assert found == ["Relisted", "Added"]
    assert watch.versions == ["10", "10"]


@pytest.mark.parametrize("gone", [stream(GONE), refuse(410, "Expired", "x")], ids=["event", "http"])
async def test_lost_history_leads_to_a_new_list(
    api: HalfDeadApi, connect: Connect, pauses: Pauses, gone: Behaviour
) -> None:
    """410 twice in a row, in either form: listed anew each time, never at the old version."""
    watch = Watch(api, gone, gone, stream(event("ADDED", "41")))

    found = await collect(api, connect, pauses, 4)

    assert found == ["Relisted", "Relisted", "Relisted", "Added"]
    assert watch.versions == ["10", "20", "30"]


@pytest.mark.parametrize(
    "broken",
    [
        stream(event("ADDED", "41")[:40]),
        stream(b"<html>\n"),
        stream(b"[]\n"),
        stream(b'{"type":"ADDED"}\n'),
        stream(TROUBLE),
        refuse(500, "InternalError", "no"),
        text(200, "{}"),
        refuse(403, "Forbidden", "no"),
    ],
    ids=["cut", "html", "list", "empty", "error event", "500", "no lines", "forbidden"],
)
async def test_a_broken_watch_goes_on_where_it_was(
    api: HalfDeadApi, connect: Connect, pauses: Pauses, broken: Behaviour
) -> None:
    """Cut lines, pages, errors: the next watch asks for what was missed."""
    watch = Watch(api, broken, stream(event("ADDED", "41")))

    found = await collect(api, connect, pauses, 2)

    assert found == ["Relisted", "Added"]
    assert watch.versions == ["10", "10"]
    assert len(pauses.seconds) == 1


async def test_a_line_that_is_too_long_leads_to_a_new_list(
    api: HalfDeadApi, connect: Connect, pauses: Pauses
) -> None:
    """Nobody can say what a line of 5 MB held: everything is looked at again."""
    long = event("ADDED", "41", name="x" * 5_000_000)
    watch = Watch(api, stream(long), stream(event("ADDED", "42")))

    found = await collect(api, connect, pauses, 3)

    assert found == ["Relisted", "Relisted", "Added"]
    assert watch.lists == 2


async def test_a_refused_credential_rests_the_watch_for_a_minute(
    api: HalfDeadApi, connect: Connect, pauses: Pauses
) -> None:
    """A wrong token is not tried again and again."""
    Watch(api, refuse(401, "Unauthorized", "no"))
    task = asyncio.create_task(collect(api, connect, pauses, 2))

    await pauses.until(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert pauses.seconds[0] >= 60


async def test_a_watch_follows_a_new_connection(
    api: HalfDeadApi, connect: Connect, pauses: Pauses, tmp_path: Path
) -> None:
    """When the kubeconfig was replaced, the watch ends at its next line and goes on anew."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(_kubeconfig(api.url, "first"))
    cluster = connect(
        ClusterSpec("shop", kubeconfig=str(kubeconfig)), pace=WatchPace(rest=pauses.rest)
    )
    tokens: list[str] = []

    async def lines(request: web.Request) -> web.StreamResponse:
        tokens.append(request.headers["Authorization"])
        if len(tokens) == 1:
            kubeconfig.write_text(_kubeconfig(api.url, "another"))
            await cluster.fetch_list("v1", "Pod", "shop")
            await cluster.fetch_list("v1", "ConfigMap", "shop")
        return await stream(event("ADDED", "41"), then=never(api))(request)

    Watch(api, lines)
    found: list[str] = []
    watching: AsyncIterator[object] = cluster.watch("v1", "ConfigMap", "shop")
    async with asyncio.timeout(20), aclosing(watching) as signals:  # type: ignore[type-var] # a generator
        async for signal in signals:
            found.append(signal.action)  # type: ignore[attr-defined] # a WatchSignal
            if len(found) == 3:
                break

    assert found == ["Relisted", "Added", "Added"]
    assert tokens == ["Bearer first", "Bearer another"]


def _kubeconfig(url: str, token: str) -> str:
    return f"""\
apiVersion: v1
kind: Config
current-context: only
contexts: [{{name: only, context: {{cluster: shop, user: us}}}}]
clusters: [{{name: shop, cluster: {{server: "{url}"}}}}]
users: [{{name: us, user: {{token: {token}}}}}]
"""
