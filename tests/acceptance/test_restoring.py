"""What a restore costs between the verdict and its last write: who is asked, and how often.

Real: the engine. In memory: everything outside, in virtual time. How long that takes on a real
control plane is measured by ``make bench``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
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
SOURCES = ("repositories", "renderer", "registry")


@dataclass
class Log:
    """What was done since the verdict, in order."""

    lines: list[str] = field(default_factory=list)
    begun: bool = False

    def note(self, line: str) -> None:
        """Note something, if the verdict is out."""
        if self.begun:
            self.lines.append(line)

    def until_restored(self) -> list[str]:
        """List what was done until the last write of the restore, that one included."""
        last = max(n for n, line in enumerate(self.lines) if line.startswith("apply"))
        return self.lines[: last + 1]

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
    """A store whose transactions are noted; the log begins with the one of the verdict."""

    def __init__(self, inner: Store, log: Log) -> None:
        self._inner, self._log = inner, log

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction."""
        self._log.note("transact")
        result = await self._inner.transact(work)
        self._log.begun = self._log.begun or await self._inner.read(_is_condemned)
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
    store = NotedStore(world.store, log)
    world.services = replace(services, store=store, pace=pace, **sources)  # type: ignore[arg-type] # stands in for any port

    async def before(method: str, ref: ObjectRef | None) -> None:
        log.note(f"{method} {ref.key.kind} {ref.key.name}" if ref is not None else method)

    world.cluster.before = before
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
    async with started(world):
        yield world, log


async def roll_back(world: World, *more: JsonObject) -> Run:
    """Push a release that becomes healthy, then one that does not."""
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("bad", deployment(BAD), config_map("settings", mode="b"), *more)
    return await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_restore_asks_nobody_but_the_cluster() -> None:
    """Neither Git nor the renderer nor a registry is asked from the verdict to its healthy end."""
    async with noted_world() as (world, log):
        await roll_back(world)

        assert [line for line in log.lines if line.startswith(SOURCES)] == []
        assert log.count("apply") == 2


async def test_a_restore_wastes_no_round_trip() -> None:
    """Each object is read once and written once, the fence once; two transactions, no reading."""
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
    """The fence is taken beside the reading; no object is written before both are done."""
    async with noted_world() as (world, log):
        run = await roll_back(world)

        lines = log.until_restored()
        first = next(n for n, line in enumerate(lines) if line.startswith("apply"))
        assert lines[first - 1] == "transact"
        assert [line for line in lines[first:] if not line.startswith("apply")] == []
        kept = await world.store.read(lambda tx: tx.runs.live_state(run.id))
        assert kept is not None
        assert BAD in str(kept.objects)


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
