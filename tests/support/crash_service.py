"""``gitopsd serve`` that notes every port call and transaction, or kills itself at one of them.

Started as ``python -m tests.support.crash_service --info FILE``, or by a nursery. Its variables are
no settings, and gitopsd does not see them:

- ``CRASH_RECORD`` names a file that gets each distinct point once.
- ``CRASH_AT`` names a file with one point a line: the process sends itself and its whole group a
  signal at each of them, once, after noting it in ``CRASH_AT`` + ``.fired``.
- ``CRASH_SIGNAL`` is that signal, SIGKILL unless given.
- ``CRASH_PACE`` is a JSON object of seconds that replace the pace's, e.g. ``{"lease": 3}``.
- ``CRASH_PART`` is ``serve`` or ``work`` for one part of the product.

A point is ``<run kind> <step> <call> <before|after>``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import inspect
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from gitopsd.engine.scope import current_scope
from gitopsd.engine.services import Services
from gitopsd.entrypoints.running import Part, run_process
from gitopsd.errors import PermanentError
from gitopsd.settings import load_settings
from gitopsd.store_ports import Transaction

T = TypeVar("T")


class Points:
    """Where the process is, and what happens there.

    Args:
        record: File that gets each distinct point once; None for none.
        at: File with the points at which something happens; None for none.
        number: The signal that the process's group gets there.
    """

    def __init__(
        self, record: Path | None, at: Path | None, number: signal.Signals = signal.SIGKILL
    ) -> None:
        self._number = number
        self._record = record
        self._at = at
        self._known: set[str] = set()
        fired = self._fired
        done = set(fired.read_text().splitlines()) if fired and fired.exists() else set()
        wanted = at.read_text().splitlines() if at is not None else []
        self._armed = [point for point in wanted if point not in done]

    @property
    def _fired(self) -> Path | None:
        return self._at.with_suffix(".fired") if self._at is not None else None

    def reach(self, call: str, moment: str) -> None:
        """Note a point, and end there if it is armed."""
        scope = current_scope()
        point = f"{scope.kind or scope.work or '-'} {scope.step or '-'} {call} {moment}"
        if self._record is not None and point not in self._known:
            self._known.add(point)
            with self._record.open("a") as file:
                file.write(point + "\n")
        fired = self._fired
        if point in self._armed and fired is not None:
            with fired.open("a") as file:
                file.write(point + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._armed.remove(point)
            os.killpg(os.getpgrp(), self._number)


class Watched:
    """A port whose every call is a point before and after it."""

    def __init__(self, inner: object, name: str, points: Points) -> None:
        self._inner = inner
        self._name = name
        self._points = points

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - whatever the port has
        """Wrap the port's coroutine methods."""
        value = getattr(self._inner, attribute)
        if attribute == "get" and self._name == "clusters":
            return lambda *args, **kwargs: Watched(value(*args, **kwargs), "cluster", self._points)
        if not inspect.iscoroutinefunction(value):
            return value
        return self._wrap(f"{self._name}.{attribute}", value)

    def _wrap(self, call: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wrapped(*args: object, **kwargs: object) -> object:
            named = f"{call} dry-run" if kwargs.get("dry_run") else call
            self._points.reach(named, "before")
            result = await method(*args, **kwargs)
            self._points.reach(named, "after")
            return result

        return wrapped


class WatchedStore:
    """A store whose every transaction is a point before and after it."""

    def __init__(self, inner: Any, points: Points) -> None:  # noqa: ANN401 - any Store
        self._inner = inner
        self._points = points

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a transaction between two points."""
        name = f"transaction {work.__module__.rpartition('.')[2]}.{work.__qualname__}"
        self._points.reach(name, "before")
        result: T = await self._inner.transact(work)
        self._points.reach(name, "after")
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read; nothing can be lost by dying there."""
        result: T = await self._inner.read(work)
        return result

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


def watch(services: Services, points: Points) -> Services:
    """Put points around everything that leaves the process."""
    names = ("clusters", "repositories", "renderer", "verifier", "notifier")
    ports: dict[str, Any] = {name: Watched(getattr(services, name), name, points) for name in names}
    return replace(services, store=WatchedStore(services.store, points), **ports)


def serve(environment: Mapping[str, str], info: Path) -> None:
    """Run the service with its points."""
    ours = {name: value for name, value in environment.items() if name.startswith("CRASH_")}
    settings = load_settings(environment)
    record, at = ours.get("CRASH_RECORD"), ours.get("CRASH_AT")
    number = signal.Signals[ours.get("CRASH_SIGNAL", "SIGKILL")]
    points = Points(Path(record) if record else None, Path(at) if at else None, number)
    changed = json.loads(ours.get("CRASH_PACE", "{}"))
    pace: dict[str, Any] = {name: timedelta(seconds=seconds) for name, seconds in changed.items()}
    part = ours.get("CRASH_PART", "")

    def wrap(services: Services) -> Services:
        return watch(replace(services, pace=replace(services.pace, **pace)), points)

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    wanted = Part(serve=part != "work", work=part != "serve", info=info)
    try:
        asyncio.run(run_process(settings, wanted, say, wrap))
    except PermanentError as error:
        say(error.message)
        sys.exit(2)


def main() -> None:
    """Run it as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--info", type=Path, required=True)
    info: Path = parser.parse_args().info
    serve(os.environ, info)  # noqa: TID251 - a child reads what its test gave it


if __name__ == "__main__":
    main()
