"""A kustomize that has already started: it waits at a gate for the overlay it will build.

Nearly all of a small render is the start of the program and the reading of its schemas. When a
push is on its way, a child is started on an overlay of our own with three bases: one that makes
kustomize read its schemas, a named pipe that it blocks on, and a link that is only made, to the
overlay asked for, before something is written to the pipe. What it then builds is the overlay as
a base of ours that adds nothing; where that could differ from building it directly, and whenever
the build fails, a child of the ordinary kind does the work.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitopsd.adapters.kustomize.exporting import Scratch
from gitopsd.adapters.kustomize.inputs import Inputs
from gitopsd.adapters.kustomize.running import Child
from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import GitopsdError
from gitopsd.kube.objects import kind_of, name_of

WARM_NAME = "gitopsd-warm-up"
MAX_FILES = 200
"""Above this the start is a small part of a render."""
_GATE = "gate.yaml"
_LINK = "overlay"
_POLL_SECONDS = 0.002
_READY_SECONDS = 3.0
_OUTER = f"resources: [warm-up, {_GATE}, {_LINK}]\n"
_WARM_UP = "resources: [object.yaml]\nlabels: [{pairs: {warm: up}}]\n"
_OBJECT = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {WARM_NAME}}}\n"

StartChild = Callable[[Path, Path], Awaitable[Child]]
"""Starts a confined kustomize by home and directory to build."""


@dataclass(frozen=True, slots=True)
class WarmChild:
    """A child that waits.

    Attributes:
        place: Its home; the overlay's files go to ``files`` in it.
        child: The process.
    """

    place: Path
    child: Child

    def open_gate(self) -> int:
        """Open the pipe for writing; -1 while the child does not wait at it yet."""
        try:
            return os.open(self.place / "outer" / _GATE, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return -1

    def release(self, gate: int, overlay: str) -> None:
        """Let the child build an overlay that was exported to ``files``."""
        (self.place / "outer" / _LINK).symlink_to(f"../files/{overlay}")
        os.write(gate, b"# go on\n")


def is_warmable(inputs: Inputs) -> bool:
    """Whether an overlay comes out the same as a base of an empty overlay.

    ``openapi`` and ``buildMetadata`` mean something else in a base than at the top.
    """
    return not inputs.top_only and len(inputs.input_set.files) <= MAX_FILES


def without_warm_up(objects: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Drop the object that only warmed kustomize up."""
    return tuple(obj for obj in objects if kind_of(obj) != "ConfigMap" or name_of(obj) != WARM_NAME)


class WarmUp:
    """Keeps at most one child waiting, and not for long.

    Args:
        start: Starts a child.
        scratch: Where its files go.
        seconds: How long a child waits for work; 0 starts none.
    """

    def __init__(self, start: StartChild, scratch: Scratch, seconds: float) -> None:
        self._start = start
        self._scratch = scratch
        self._seconds = seconds
        self._waiting: asyncio.Task[WarmChild | None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, after_seconds: float = 0) -> None:
        """Have a child ready, now or after a while, and keep it waiting from then on."""
        if not self._seconds:
            return
        self._set_timer(after_seconds, self._begin)

    def _begin(self) -> None:
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._prepare())
        self._set_timer(self._seconds, self._give_up)

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds:
            self._timer = asyncio.get_running_loop().call_later(seconds, action)
        else:
            action()

    async def _prepare(self) -> WarmChild | None:
        place: Path | None = None
        try:
            place = await asyncio.to_thread(self._make_place)
            child = await self._start(place, place / "outer")
        except (GitopsdError, OSError):
            # Whoever renders next hears of it from a child of the ordinary kind.
            if place is not None:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            return None
        return WarmChild(place, child)

    def _make_place(self) -> Path:
        place = self._scratch.make()
        outer = place / "outer"
        (outer / "warm-up").mkdir(mode=0o700, parents=True)
        (outer / "kustomization.yaml").write_text(_OUTER, encoding="ascii")
        (outer / "warm-up" / "kustomization.yaml").write_text(_WARM_UP, encoding="ascii")
        (outer / "warm-up" / "object.yaml").write_text(_OBJECT, encoding="ascii")
        os.mkfifo(outer / _GATE, 0o600)
        return place

    async def take(self) -> tuple[WarmChild, int] | None:
        """Take the waiting child with its open gate; None when there is none that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        try:
            warm = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._end(waiting)
            raise
        if warm is None:
            return None
        try:
            gate = await self._reach_gate(warm)
        except BaseException:
            await self.discard(warm)
            raise
        if gate < 0:
            await self.discard(warm)
            return None
        return warm, gate

    @staticmethod
    async def _reach_gate(warm: WarmChild) -> int:
        """Wait for a child that is still on its way: it is further than a new one would be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                while warm.child.runs:
                    gate = warm.open_gate()
                    if gate >= 0:
                        return gate
                    await asyncio.sleep(_POLL_SECONDS)  # noqa: TID251 - a pipe tells nobody of its reader
        return -1

    async def discard(self, warm: WarmChild) -> None:
        """End a child and remove its files. Safe to repeat: what is gone is gone."""
        await warm.child.end()
        await asyncio.to_thread(shutil.rmtree, warm.place, ignore_errors=True)

    def _give_up(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._end(waiting)

    def _end(self, waiting: asyncio.Task[WarmChild | None]) -> None:
        """End a child in the background, one that is still being started too."""
        task = asyncio.create_task(self._discard_started(waiting))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _discard_started(self, waiting: asyncio.Task[WarmChild | None]) -> None:
        warm = await waiting
        if warm is not None:
            await self.discard(warm)

    async def close(self) -> None:
        """End what waits. Safe to repeat: nothing waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()
        while self._ending:
            await asyncio.wait(self._ending)
