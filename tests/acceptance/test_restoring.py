"""What a restore costs between the verdict and its last write: who is asked, and how often.

Real: the engine. In memory: everything outside, in virtual time. How long that takes on a real
control plane is measured by ``make bench``.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import LiveState
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.ports import Clock
from gitopsd.store_ports import Store, Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    job,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

T = TypeVar("T")

GOOD, BAD, TOOL = "registry.example/api:1", "registry.example/api:2", "registry.example/tool:1"
TRANSACTION = timedelta(milliseconds=5)
"""How long one takes; requests to the cluster take no time unless a test says so."""
SOURCES = ("repositories", "renderer", "registry")


@dataclass
class Log:
    """What was done, in order.

    Attributes:
        lines: One for each request and transaction.
        verdict: Number of the line of the transaction that stored the verdict.
        refuse: Whether the database does not answer the next one that something is read beside.
    """

    lines: list[str] = field(default_factory=list)
    verdict: int | None = None
    refuse: bool = False

    def note(self, line: str) -> int:
        """Note something; returns its number."""
        self.lines.append(line)
        return len(self.lines) - 1

    def since_verdict(self) -> list[str]:
        """List what was done since the verdict began to be stored, that transaction included."""
        return self.lines[self.verdict :]

    def until_restored(self) -> list[str]:
        """List what was done from there until the last write of the restore, that one included."""
        lines = self.since_verdict()
        last = max(n for n, line in enumerate(lines) if line.startswith("apply"))
        return lines[: last + 1]

    def count(self, beginning: str) -> int:
        """Count what was done until the last write that begins with a word."""
        return sum(line.startswith(beginning) for line in self.until_restored())


class NotedPort:
    """A port whose calls are noted."""

    def __init__(self, inner: object, name: str, log: Log) -> None:
        self._inner, self._name, self._log = inner, name, log

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - whatever the port has
        """Note each use of the port."""
        value = getattr(self._inner, attribute)
        if not inspect.ismethod(value):
            return value

        @functools.wraps(value)
        def noted(*args: object, **kwargs: object) -> object:
            self._log.note(f"{self._name}.{attribute}")
            return value(*args, **kwargs)

        return noted


class NotedStore:
    """A store whose transactions are noted, and which of them stored the verdict."""

    def __init__(self, inner: Store, log: Log, clock: Clock) -> None:
        self._inner, self._log, self._clock = inner, log, clock

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction."""
        number = self._log.note("transact")
        await self._clock.sleep(TRANSACTION)
        if self._log.refuse and _is_reading():
            self._log.refuse = False
            raise TemporaryError("the database does not answer")
        result = await self._inner.transact(work)
        if self._log.verdict is None and await self._inner.read(_is_condemned):
            self._log.verdict = number
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read."""
        self._log.note("read")
        return await self._inner.read(work)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


def _is_condemned(tx: Transaction) -> bool:
    return any(run.kind is RunKind.ROLLBACK for run in tx.runs.live())


@asynccontextmanager
async def noted_world() -> AsyncIterator[tuple[World, Log]]:
    """Run a world in which nobody looks at Git unasked, with a log of what follows a verdict."""
    world, log = make_world(shop_spec()), Log()
    services = world.services
    sources = {name: NotedPort(getattr(services, name), name, log) for name in SOURCES}
    pace = replace(services.pace, poll=timedelta(days=1))
    store = NotedStore(world.store, log, world.clock)
    world.services = replace(services, store=store, pace=pace, **sources)  # type: ignore[arg-type] # stands in for any port

    async def before(method: str, ref: ObjectRef | None) -> None:
        log.note(f"{method} {ref.key.kind} {ref.key.name}" if ref is not None else method)

    world.cluster.before = before
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
    async with started(world):
        yield world, log


async def roll_back(world: World, *more: JsonObject, account: str = "") -> Run:
    """Push a release that becomes healthy, then one that does not."""
    accounts: list[JsonObject] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        for name in ([account] if account else [])
    ]
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"), *accounts)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("bad", deployment(BAD), config_map("settings", mode="b"), *accounts, *more)
    return await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_restore_asks_nobody_but_the_cluster() -> None:
    """Neither Git nor the renderer nor a registry is asked from the verdict to its healthy end."""
    async with noted_world() as (world, log):
        await roll_back(world)

        assert [line for line in log.since_verdict() if line.startswith(SOURCES)] == []
        assert log.count("apply") == 2


async def test_a_restore_wastes_no_round_trip() -> None:
    """Each object is read once and written once, the fence once; one transaction, no reading.

    With the verdict's that makes two; the objects are read beside it.
    """
    async with noted_world() as (world, log):
        await roll_back(world)

        assert sorted(log.until_restored()) == [
            "apply ConfigMap settings",
            "apply Deployment api",
            "get ConfigMap settings",
            "get Deployment api",
            "replace ConfigMap gitopsd-shop-staging",
            "transact",
            "transact",
        ]


async def test_what_is_there_is_kept_before_the_first_write() -> None:
    """It is read beside the verdict and the fence; no object is written before both are done."""
    async with noted_world() as (world, log):
        note, kept = _note(world), list[LiveState | None]()

        async def before(method: str, ref: ObjectRef | None) -> None:
            await note(method, ref)
            if method == "apply":
                kept.append(await world.store.read(_find_live_state))

        world.cluster.before = before
        await roll_back(world)

        restore = kept[-log.count("apply") :]
        assert [BAD in str(state.objects) for state in restore if state] == [True, True]
        lines = log.until_restored()
        first = next(n for n, line in enumerate(lines) if line.startswith("apply"))
        assert lines[first - 1].startswith("replace")
        assert lines.index("get Deployment api") < lines.index("transact", 1)


def _find_live_state(tx: Transaction) -> LiveState | None:
    backs = [run for run in tx.runs.live() if run.kind is RunKind.ROLLBACK]
    return tx.runs.live_state(backs[0].id) if backs else None


async def test_what_is_read_late_is_kept_all_the_same() -> None:
    """A server that is slow to answer costs one transaction more, still before the first write."""
    async with noted_world() as (world, log):
        note = _note(world)

        async def before(method: str, ref: ObjectRef | None) -> None:
            await note(method, ref)
            if method == "get" and _is_reading():
                await world.clock.sleep(timedelta(seconds=2))

        world.cluster.before = before
        run = await roll_back(world)

        lines = log.until_restored()
        assert lines.count("get Deployment api") == 1
        first = next(n for n, line in enumerate(lines) if line.startswith("apply"))
        assert lines[first - 1] == "transact"
        kept = await world.store.read(lambda tx: tx.runs.live_state(run.id))
        assert kept is not None
        assert BAD in str(kept.objects)


def _note(world: World) -> Callable[[str, ObjectRef | None], Awaitable[None]]:
    """Find what notes the requests to a noted world's cluster."""
    noting = world.cluster.before
    assert noting is not None
    return noting


def _is_reading() -> bool:
    return any(task.get_name() == "live state" for task in asyncio.all_tasks())


async def test_a_reading_that_failed_is_made_anew() -> None:
    """The cluster asks who we are beside the verdict; the restore reads for itself."""
    async with noted_world() as (world, log):
        refused: list[str] = []

        def refuse(method: str, ref: ObjectRef | None) -> GitopsdError | None:
            if method == "get" and ref is not None and not refused and _is_reading():
                refused.append(ref.key.name)
                return TemporaryError("who is asking?", reason="Credential")
            return None

        world.cluster.fault = refuse
        run = await roll_back(world)

        assert refused
        assert log.count("get Deployment api") + log.count("get ConfigMap settings") == 3
        kept = await world.store.read(lambda tx: tx.runs.live_state(run.id))
        assert kept is not None
        assert (len(kept.objects), kept.unread) == (2, ())
        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        assert [event.name for event in events if "Errored" in event.name] == []


async def test_a_verdict_that_is_not_stored_throws_the_reading_away() -> None:
    """Nothing of it goes on; the verdict is found again, and the restore reads anew."""
    async with noted_world() as (world, log):
        note, held = _note(world), list[datetime]()

        async def before(method: str, ref: ObjectRef | None) -> None:
            await note(method, ref)
            if method == "get" and not held and _is_reading():
                held.append(world.clock.now())
                await world.clock.sleep(timedelta(seconds=9))
                held.append(world.clock.now())

        world.cluster.before, log.refuse = before, True
        run = await roll_back(world)

        assert not log.refuse
        assert len(held) == 1
        assert run.started_at is not None
        assert sorted(log.until_restored())[2:4] == ["get ConfigMap settings", "get Deployment api"]


async def test_a_process_that_stops_leaves_no_reading_behind() -> None:
    """It ends while an object hangs that a restore reads."""
    reading = asyncio.Event()
    async with noted_world() as (world, _):

        async def before(method: str, ref: ObjectRef | None) -> None:
            if method == "get" and ref is not None and _is_reading():
                reading.set()
                await world.clock.sleep(timedelta(minutes=1))

        world.cluster.before = before
        async with asyncio.TaskGroup() as together:
            pushing = together.create_task(roll_back(world))
            await reading.wait()
            pushing.cancel()
    assert not _is_reading()


async def test_a_verdict_with_nothing_to_restore_reads_nothing() -> None:
    """The first release of a stage fails; no object is asked for beside the verdict."""
    async with noted_world() as (world, _):
        read: list[str] = []

        async def before(method: str, _: ObjectRef | None) -> None:
            if _is_reading():
                read.append(method)

        world.cluster.before = before
        await world.push("bad", deployment(BAD), config_map("settings", mode="b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert read == []


async def test_standing_accounts_hold_nothing_up_but_what_runs() -> None:
    """A restore sends them with what pods read; what runs comes after both, as ever."""
    async with noted_world() as (world, log):
        note, under_way = _note(world), list[str]()

        async def before(method: str, ref: ObjectRef | None) -> None:
            await note(method, ref)
            if method == "apply" and ref is not None:
                under_way.append(ref.key.kind)
                await world.clock.sleep(timedelta(seconds=1))
                under_way.append("-")

        world.cluster.before = before
        await roll_back(world, account="api")

        assert log.count("apply") == 3
        assert under_way[-6:-2] in (
            ["ServiceAccount", "ConfigMap", "-", "-"],
            ["ConfigMap", "ServiceAccount", "-", "-"],
        )
        assert under_way[-2:] == ["Deployment", "-"]


async def test_a_rollback_without_hooks_is_past_prepare_with_the_verdict() -> None:
    """Its log has every step all the same, and what waits to follow is checked anew."""
    async with noted_world() as (world, _):
        run = await roll_back(world)

        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        done = [event for event in events if event.name == "StepSucceeded"]
        assert [event.step for event in done][:2] == [Step.PREPARE, Step.APPLY]
        assert done[0].at == run.started_at


async def test_hooks_before_a_restore_run_in_its_prepare() -> None:
    """What is there is kept before them, and not read once more for the restore."""
    async with noted_world() as (world, log):
        run = await roll_back(world, job(TOOL, "dump", hook="SyncFail"))

        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        [prepared] = [
            one for one in events if (one.name, one.step) == ("StepSucceeded", Step.PREPARE)
        ]
        assert run.started_at is not None
        assert prepared.at > run.started_at
        lines = log.until_restored()
        assert lines.index("get Deployment api") < lines.index("create Job dump")
        assert lines.count("get Deployment api") == 1
