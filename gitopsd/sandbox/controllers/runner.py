"""Runs controllers on the store: follows its changes, does what is due, sleeps otherwise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from gitopsd.errors import GitopsdError
from gitopsd.sandbox.api.history import Change
from gitopsd.sandbox.api.keys import VersionConflict
from gitopsd.sandbox.controllers.facts import Announcement, Facts, Key, Plan, Refusal, Resource
from gitopsd.sandbox.controllers.mirror import Mirror
from gitopsd.sandbox.controllers.queue import WorkQueue

if TYPE_CHECKING:
    from types import TracebackType

    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.controllers.desk import Desk

LOG = logging.getLogger(__name__)
Reconcile: TypeAlias = Callable[[Key, Facts, datetime, Sequence[Refusal]], Plan]
Interest: TypeAlias = Callable[[Change, Facts], Iterable[Key]]
CONTROLLER_MANAGER = "kube-controller-manager"
# Others on the event loop (requests, above all) get their turn after so many pieces of work.
TURN = 20


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller.

    Attributes:
        name: Its name, which Events give as their source.
        reconcile: What it does about one key.
        interests: For each collection that it follows: which keys a change there concerns.
        rest: Of every collection without an interest of its own; None: nothing.
        manager: Field manager of its writes.
    """

    name: str
    reconcile: Reconcile
    interests: Mapping[Resource, Interest]
    rest: Interest | None = None
    manager: str = CONTROLLER_MANAGER


class _Work(NamedTuple):
    controller: int
    key: Key


class ControllerRunner:
    """Runs controllers; use it as a context manager, which ends following the store.

    Work is done by `settle` (all that is due now, at once: for tests and tools) or by `run` (for
    ever, leaving the event loop to others in between). Every piece of work sees all writes before
    it, so that none acts on what is no longer so.
    """

    def __init__(
        self, store: ObjectStore, desk: Desk, controllers: Sequence[Controller], clock: Clock
    ) -> None:
        self._store = store
        self._desk = desk
        self._controllers = tuple(controllers)
        self._clock = clock
        self._mirror = Mirror()
        self._queue = WorkQueue[_Work]()
        self._feed = store.subscribe(since=0)

    def __enter__(self) -> Self:
        """Follow the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow it no longer."""
        self._feed.close()

    def facts(self) -> Facts:
        """What there is now, all writes before included."""
        self._take_in(self._feed.take())
        return self._mirror

    def next_due(self) -> datetime | None:
        """When work is due that waits for a time; None when only a change can bring some."""
        return self._queue.next_due()

    def settle(self, *, at_most: int | None = None) -> int:
        """Do what is due, and what comes of it.

        Args:
            at_most: End after so many pieces.

        Returns:
            How many pieces of work were done.
        """
        done = 0
        while at_most is None or done < at_most:
            self._take_in(self._feed.take())
            work = self._queue.take(self._clock.now())
            if work is None:
                break
            self._do(work)
            done += 1
        return done

    async def run(self) -> None:
        """Do what is due, for ever. Safe to repeat: every look starts from what is there."""
        while True:
            if self.settle(at_most=TURN) == TURN:
                await self._clock.sleep(timedelta())
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Until something changes or something is due."""
        due = self.next_due()
        if due is None:
            self._take_in(await self._feed.wait())
            return
        changes = asyncio.ensure_future(self._feed.wait())
        alarm = asyncio.ensure_future(self._clock.sleep(due - self._clock.now()))
        try:
            await asyncio.wait({changes, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (changes, alarm):
                task.cancel()
            await asyncio.gather(changes, alarm, return_exceptions=True)
        if not changes.cancelled():
            self._take_in(changes.result())

    def _take_in(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._mirror.follow(change)
            resource = change.key.kind
            for number, controller in enumerate(self._controllers):
                interest = controller.interests.get(resource, controller.rest)
                if interest is not None:
                    for key in interest(change, self._mirror):
                        self._queue.add(_Work(number, key))

    def _do(self, work: _Work) -> None:
        controller = self._controllers[work.controller]
        now = self._clock.now()
        try:
            plan = controller.reconcile(work.key, self._mirror, now, ())
            refusal = self._carry_out(controller, plan)
            if refusal is not None and refusal.reason == VersionConflict.reason:
                plan = Plan(failed=True)
            elif refusal is not None:
                self._take_in(self._feed.take())
                plan = controller.reconcile(work.key, self._mirror, now, (refusal,))
                again = self._carry_out(controller, plan)
                plan = Plan(failed=plan.failed or again is not None, again=plan.again)
        except (GitopsdError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # One object that a controller cannot read must not end the others' work.
            LOG.exception(
                "a controller could not do its work",
                extra={"action": "reconcile", "controller": controller.name, "key": work.key},
            )
            plan = Plan(failed=True)
        if plan.failed:
            self._queue.add_failed(work, now)
        else:
            self._queue.forgive(work)
        if plan.again is not None:
            self._queue.add_later(work, now + plan.again)

    def _carry_out(self, controller: Controller, plan: Plan) -> Refusal | None:
        """The first refusal ends it: what comes after was meant for when it is done.

        What only tells of things is told all the same.
        """
        refusal: Refusal | None = None
        for write in plan.writes:
            if refusal is None or isinstance(write, Announcement):
                refusal = refusal or self._desk.carry_out(
                    write, component=controller.name, manager=controller.manager
                )
        return refusal
