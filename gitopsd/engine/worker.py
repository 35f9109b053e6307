"""Claims due work, does it, and turns what came of it into events.

Any number of workers may run: a row is claimed for a while, every effect may run twice, and an
outcome counts only while the command it answers is outstanding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from gitopsd.domain.runs import RunId
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.engine.admission import settle
from gitopsd.engine.adopting import adopt_stage
from gitopsd.engine.agreeing import agree_in_git
from gitopsd.engine.execution import execute_step
from gitopsd.engine.image_looks import run_image_look
from gitopsd.engine.intake import process_deliveries, process_delivery
from gitopsd.engine.looks import run_look
from gitopsd.engine.monitoring import monitor_run
from gitopsd.engine.observation import watch_run
from gitopsd.engine.probing import probe_gates
from gitopsd.engine.reverifying import reverify_stage
from gitopsd.engine.scope import Scope, scope
from gitopsd.engine.sending import send_queued
from gitopsd.engine.services import Services
from gitopsd.engine.slots import parse_stage_key
from gitopsd.engine.soaking import soak_look
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.store_ports import Transaction

BUG_BACKOFF = timedelta(seconds=10)
"""How long a work item rests after a bug in its handler."""


GATHER = timedelta(milliseconds=10)
"""In a flood of deliveries, how long the next ones gather before they are claimed together."""


class Worker:
    """Works on the outbox until it is told to stop.

    Args:
        services: The ports.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # An item that became due anew can be claimed before the task that did it has ended.
        self._next: dict[str, WorkItem] = {}
        self._runs: dict[str, str] = {}
        # What a restore goes on with is known already, and nothing is looked for before it.
        self._contexts: dict[str, StepContext] = {}
        self._quiet: set[str] = set()
        self._woken = asyncio.Event()
        # A delivery that was tried before is tried as the only one.
        self._alone = asyncio.Lock()
        self._stopping = False
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Claim and work until `stop`. Lost rings cost one sweep."""
        listener = asyncio.create_task(self._listen(), name="worker-doorbell")
        try:
            while not self._stopping:
                self._woken.clear()
                claimed = await self._claim()
                for items in _group(claimed):
                    free = [item for item in items if item.key not in self._tasks]
                    self._next |= {item.key: item for item in items if item.key in self._tasks}
                    if free:
                        self._start(free)
                if not claimed:
                    await self._rest()
                elif _is_flood(claimed):
                    await self._services.clock.sleep(GATHER)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            await self._finish_tasks()
            for context in tuple(self._contexts.values()):  # of what was cancelled before it began
                await _stop_reading(context)
            self.ended.set()

    def stop(self) -> None:
        """Stop claiming; what is under way gets a slice of time to report."""
        self._stopping = True
        self._woken.set()

    def cancel_run(self, run: RunId) -> None:
        """Stop this process's work on a run that ended meanwhile."""
        for key, subject in tuple(self._runs.items()):
            task = self._tasks.get(key)
            if subject == run and task is not None:
                task.cancel()

    async def _claim(self) -> tuple[WorkItem, ...]:
        free = self._services.pace.concurrency - len(self._tasks)
        if free <= 0:
            return ()
        owner, duration = self._services.replica, self._services.pace.claim
        try:
            return tuple(
                await self._services.store.transact(lambda tx: tx.work.claim(owner, free, duration))
            )
        except TemporaryError:
            return ()

    async def _rest(self) -> None:
        """Wait until woken, or until the next sweep."""
        waiter = asyncio.ensure_future(self._woken.wait())
        sweep = asyncio.ensure_future(self._services.clock.sleep(self._services.pace.sweep))
        try:
            await asyncio.wait((waiter, sweep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            sweep.cancel()
            await asyncio.gather(waiter, sweep, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            if await self._services.doorbell.wait(timedelta(seconds=30)):
                self._woken.set()

    def _start(self, items: Sequence[WorkItem]) -> None:
        """Begin to work on items that are done together; mostly it is one."""
        task = asyncio.create_task(self._do(items), name=f"work {items[0].key}")
        for item in items:
            self._tasks[item.key] = task
            if item.kind is WorkKind.EXECUTE_STEP:
                self._runs[item.key] = item.subject

        def ended(_: asyncio.Task[None]) -> None:
            for item in items:
                self._tasks.pop(item.key, None)
                self._runs.pop(item.key, None)
                following = self._next.pop(item.key, None)
                if following is not None:
                    self._start([following])
            if not self._quiet.intersection(item.key for item in items):
                self._woken.set()
            self._quiet.difference_update(item.key for item in items)

        task.add_done_callback(ended)

    async def _do(self, items: Sequence[WorkItem]) -> None:
        first, now = items[0], self._services.clock.now()
        for item in items:
            waited = (now - item.due_at).total_seconds()
            self._services.telemetry.observe("gitopsd_queue_wait_seconds", max(waited, 0.0))
        try:
            with scope(Scope(work=first.kind.value)):
                if len(items) == 1:
                    await self._handler(first.kind)(first)
                else:
                    await process_deliveries(self._services, items)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(items, timedelta(0)))
            raise
        except GitopsdError as error:
            asked = getattr(error, "retry_after", None)
            await self._give_back(items, asked or timedelta(seconds=min(60, 2**first.attempts)))
        except Exception as error:  # noqa: BLE001 - a bug in one handler must not end the worker
            self._services.telemetry.report(error, work=first.kind.value, subject=first.subject)
            await self._give_back(items, BUG_BACKOFF if len(items) == 1 else timedelta(0))

    async def _give_back(self, items: Sequence[WorkItem], wait: timedelta) -> None:
        def postpone(tx: Transaction) -> None:
            for item in items:
                tx.work.postpone(item, tx.now + wait)

        try:
            await self._services.store.transact(postpone)
        except GitopsdError:
            return  # the claims end by themselves

    def _handler(self, kind: WorkKind) -> Callable[[WorkItem], Awaitable[None]]:
        return {
            WorkKind.EXECUTE_STEP: self._execute_step,
            WorkKind.PROCESS_DELIVERY: self._process_delivery,
            WorkKind.LOOK: self._look,
            WorkKind.LOOK_AT_IMAGE: self._look_at_image,
            WorkKind.RECONSIDER: self._reconsider,
            WorkKind.NOTIFY: self._notify,
            WorkKind.OBSERVE: self._observe,
            WorkKind.MONITOR: self._monitor,
            WorkKind.AGREE: self._agree,
            WorkKind.SOAK: self._soak,
            WorkKind.PROBE: self._probe,
            WorkKind.REVERIFY: self._reverify,
            WorkKind.ADOPT: self._adopt,
        }[kind]

    async def _execute_step(self, item: WorkItem) -> None:
        known = self._contexts.pop(item.key, None)
        try:
            following = await execute_step(self._services, item, known)
        finally:
            await _stop_reading(known)
        if following is not None and self._stopping:
            await _stop_reading(following.context)
            await self._give_back([following.item], timedelta(0))
        elif following is not None:
            if following.context is not None:
                self._contexts[following.item.key] = following.context
            if following.restores:
                self._quiet.add(item.key)
            self._start([following.item])

    async def _process_delivery(self, item: WorkItem) -> None:
        if item.attempts == 1:
            await process_deliveries(self._services, [item])
            return
        async with self._alone:
            await process_delivery(self._services, item)

    async def _look(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await run_look(self._services, item))

    async def _look_at_image(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await run_image_look(self._services, item))

    async def _reconsider(self, item: WorkItem) -> None:
        key = parse_stage_key(item.subject)
        configuration = self._services.configuration()

        def work(tx: Transaction) -> None:
            tx.work.finish(item)
            settle(tx, (key,), configuration)

        await retry_conflicts(self._services.store, work)

    async def _notify(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await send_queued(self._services, item))

    async def _observe(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await watch_run(self._services, item))

    async def _monitor(self, item: WorkItem) -> None:
        await monitor_run(self._services, item)

    async def _probe(self, item: WorkItem) -> None:
        await probe_gates(self._services, item)

    async def _reverify(self, item: WorkItem) -> None:
        await reverify_stage(self._services, item)

    async def _adopt(self, item: WorkItem) -> None:
        await adopt_stage(self._services, item)

    async def _agree(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await agree_in_git(self._services, item))

    async def _soak(self, item: WorkItem) -> None:
        await self._finish_or_wait(item, await soak_look(self._services, item))

    async def _finish_or_wait(self, item: WorkItem, wait: timedelta | None) -> None:
        if wait is None:
            await self._finish(item)
        else:
            await self._give_back([item], wait)

    async def _finish(self, item: WorkItem) -> None:
        await self._services.store.transact(lambda tx: tx.work.finish(item))

    async def _finish_tasks(self) -> None:
        following, self._next = tuple(self._next.values()), {}
        if following:
            await self._give_back(following, timedelta(0))
        tasks = tuple(self._tasks.values())
        if not tasks:
            return
        grace = asyncio.ensure_future(self._services.clock.sleep(timedelta(seconds=8)))
        everything = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait((grace, everything), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        grace.cancel()
        await asyncio.gather(grace, everything, return_exceptions=True)


async def _stop_reading(context: StepContext | None) -> None:
    if context is not None and context.ahead is not None:
        await context.ahead.stop()


def _is_flood(claimed: Sequence[WorkItem]) -> bool:
    kinds = {item.kind for item in claimed}
    return len(claimed) > 1 and kinds == {WorkKind.PROCESS_DELIVERY}


def _group(claimed: Sequence[WorkItem]) -> list[list[WorkItem]]:
    """Group what is done together: deliveries that were never tried; anything else is alone."""
    together: list[WorkItem] = []
    groups = [together]
    for item in claimed:
        if item.kind is WorkKind.PROCESS_DELIVERY and item.attempts == 1:
            together.append(item)
        else:
            groups.append([item])
    return groups
