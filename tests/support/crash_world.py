"""A process in virtual time that can die after everything it does, and be started again.

What a dead process does afterwards reaches nothing: each of its calls is refused. What it had done
before stays: store, cluster and channels are those of the world around it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from gitopsd.domain.runs import Run
from gitopsd.domain.work import Page, WorkKind
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.engine.services import Services
from gitopsd.ports import Telemetry
from gitopsd.store_ports import Store, Transaction
from gitopsd.testing.doorbell import MemoryDoorbell
from tests.support.engine_world import PRODUCTION, STAGING, World

T = TypeVar("T")

SWEEP = timedelta(seconds=5)
"""Rarer than in earnest, since sweeps that find nothing are what time is spent on here."""

PORTS = ("clusters", "repositories", "renderer", "verifier", "notifier")


EFFECTS = frozenset({"apply", "create", "replace", "patch", "delete", "send", "pin", "push_commit"})
"""What leaves something behind; dying before it is dying after the one before."""


class Life:
    """One life of the process: it ends right after the effect whose number was chosen.

    Args:
        end: Number of the effect, from 1, that is its last; 0 for no end.

    Attributes:
        effects: What it did that leaves something behind, in order.
        over: Set when it died.
    """

    def __init__(self, end: int) -> None:
        self.effects: list[str] = []
        self.over = asyncio.Event()
        self._end = end

    def have(self, effect: str) -> None:
        """Note an effect, and die of it if it is the last.

        Raises:
            CancelledError: It is dead.
        """
        self.check()
        self.effects.append(effect)
        if len(self.effects) == self._end:
            self.over.set()
        self.check()

    def end_after(self, effects: int) -> None:
        """Die after so many more effects than there are by now."""
        self._end = len(self.effects) + effects

    def check(self) -> None:
        """Let nothing through that comes from a dead process.

        Raises:
            CancelledError: It is dead.
        """
        if self.over.is_set():
            raise asyncio.CancelledError


class MortalPort:
    """A port of one life."""

    def __init__(self, inner: object, name: str, life: Life) -> None:
        self._inner, self._name, self._life = inner, name, life

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - whatever the port has
        """Wrap the port's coroutine methods."""
        value = getattr(self._inner, attribute)
        if attribute == "get" and self._name == "clusters":
            return lambda *args, **kwargs: MortalPort(value(*args, **kwargs), "cluster", self._life)
        if not inspect.iscoroutinefunction(value):
            return value
        return self._wrap(attribute, value)

    def _wrap(self, attribute: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wrapped(*args: object, **kwargs: object) -> object:
            self._life.check()
            result = await method(*args, **kwargs)
            if attribute in EFFECTS and not kwargs.get("dry_run"):
                self._life.have(f"{self._name}.{attribute}")
            return result

        return wrapped


class MortalStore:
    """The store of one life: each transaction is an effect, but for those that find nothing."""

    def __init__(self, inner: Store, life: Life) -> None:
        self._inner, self._life = inner, life

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction."""
        self._life.check()
        result = await self._inner.transact(work)
        name = work.__qualname__.replace(".<locals>", "")
        idle = "Worker._claim" in name and not result
        if not idle and "Daemon._show_life" not in name:
            self._life.have(name)
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read, while alive."""
        self._life.check()
        return await self._inner.read(work)

    async def close(self) -> None:
        """Leave the world's store open: the next life uses it."""


class MortalTelemetry:
    """Counts and reports of one life; what a dead process says is not heard."""

    def __init__(self, inner: Telemetry, life: Life) -> None:
        self._inner, self._life = inner, life

    def count(self, name: str, **labels: str) -> None:
        """See `gitopsd.ports.Telemetry.count`."""
        self._inner.count(name, **labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """See `gitopsd.ports.Telemetry.observe`."""
        self._inner.observe(name, value, **labels)

    def report(self, error: BaseException, **context: str) -> None:
        """See `gitopsd.ports.Telemetry.report`."""
        if not self._life.over.is_set():
            self._inner.report(error, **context)


@dataclass(frozen=True)
class Schedule:
    """When a process dies.

    Attributes:
        ends: After how many effects each life ends; lives after the last one do not.
        sole: Whether a new life knows that the former is over, as with SQLite's lock.
    """

    ends: tuple[int, ...] = ()
    sole: bool = True


@dataclass
class Process:
    """A process that is started again whenever it died.

    Attributes:
        world: Everything around it.
        schedule: When it dies.
        lives: Every life so far.
    """

    world: World
    schedule: Schedule
    lives: list[Life] = field(default_factory=list)

    async def run(self) -> None:
        """Live again and again until cancelled."""
        while True:
            ends = self.schedule.ends
            life = Life(ends[len(self.lives)] if len(self.lives) < len(ends) else 0)
            self.lives.append(life)
            daemon = asyncio.create_task(self._daemon(life).run(), name=f"life {len(self.lives)}")
            over = asyncio.create_task(life.over.wait())
            try:
                await asyncio.wait((daemon, over), return_when=asyncio.FIRST_COMPLETED)
                if not life.over.is_set():
                    await daemon
            finally:
                life.over.set()
                daemon.cancel()
                over.cancel()
                await asyncio.gather(daemon, over, return_exceptions=True)

    def _daemon(self, life: Life) -> Daemon:
        services = self.world.services
        ports: dict[str, Any] = {
            name: MortalPort(getattr(services, name), name, life) for name in PORTS
        }
        mortal: Services = replace(
            services,
            store=MortalStore(services.store, life),
            doorbell=MemoryDoorbell(self.world.clock),
            telemetry=MortalTelemetry(services.telemetry, life),
            replica=f"replica-{len(self.lives)}",
            pace=replace(services.pace, sweep=SWEEP),
            **ports,
        )
        return Daemon(mortal, self._changes(), sole=self.schedule.sole)

    async def is_idle(self) -> bool:
        """Tell whether nothing is left to do but to look again."""
        backlog = await self.world.store.read(lambda tx: tx.work.backlog())
        return not set(backlog) - {WorkKind.LOOK}

    async def _changes(self) -> AsyncIterator[ConfigurationChange]:
        while True:
            yield await self.world.changed.get()


@asynccontextmanager
async def living(world: World, schedule: Schedule) -> AsyncIterator[Process]:
    """Keep a process alive in a world until the block ends."""
    process = Process(world, schedule)
    task = asyncio.create_task(process.run(), name="lives")
    try:
        yield process
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True)
class Remains:
    """What a story left behind, without the names that chance gave.

    Attributes:
        runs: Per stage: kind, phase and reason of each run, in order.
        stages: Per stage: which run's bytes are applied and verified, slots, stall.
        quarantined: Per stage: which runs' bytes are quarantined.
        votes: Votes that count.
        live: Live objects, gitopsd's inventories included.
        told: How often each trigger was told.
        sent: How many messages reached a channel.
        work: What is left in the outbox, by kind.
        reports: Bugs.
    """

    runs: tuple[object, ...]
    stages: tuple[object, ...]
    quarantined: tuple[object, ...]
    votes: int
    live: object
    told: object
    work: object
    reports: object


async def remains_of(world: World) -> Remains:
    """Read what a story left."""
    stored = await world.store.read(_stored)
    return Remains(
        **stored,
        live={name: _wished(obj) for name, obj in sorted(world.cluster.live().items())},
        reports=tuple(str(report) for report in world.telemetry.reports),
    )


def _wished(obj: Any) -> object:  # noqa: ANN401 - any manifest
    kept = {key: value for key, value in obj.items() if key not in ("status", "metadata")}
    return kept | {"labels": obj["metadata"].get("labels")}


def _stored(tx: Transaction) -> dict[str, Any]:
    runs, stages, quarantined, votes = [], [], [], 0
    for key in (STAGING, PRODUCTION):
        found = tuple(reversed(tx.runs.page(Page(200), stage=key)))
        names = {run.id: f"run {number}" for number, run in enumerate(found)}
        rendered = {run.rendered: names[run.id] for run in reversed(found)}
        runs.append((str(key), tuple(_run(run) for run in found)))
        stage = tx.stages.get(key)
        if stage is not None:
            verified = tx.verifications.get(stage.verified) if stage.verified else None
            stages.append(
                (
                    rendered.get(stage.applied.rendered) if stage.applied else None,
                    rendered.get(verified.rendered) if verified else None,
                    names.get(stage.front) if stage.front else None,
                    names.get(stage.next) if stage.next else None,
                    stage.stall.reason.value if stage.stall else None,
                )
            )
        quarantined.append(tuple(rendered[item.rendered] for item in tx.quarantines.in_force(key)))
        votes += sum(vote.void_at is None for run in found for vote in tx.votes.of_run(run.id))
    told = Counter(
        (item.stage, item.trigger) for _, item in tx.records.notifications_after(0, 1000)
    )
    return {
        "runs": tuple(runs),
        "stages": tuple(stages),
        "quarantined": tuple(quarantined),
        "votes": votes,
        "told": dict(sorted(told.items())),
        "work": {kind.value: count for kind, count in tx.work.backlog().items()},
    }


def _run(run: Run) -> tuple[str, ...]:
    reason = run.failure.reason if run.failure is not None else ""
    return (run.kind.value, run.phase.value, run.step.value if run.step else "", reason)
