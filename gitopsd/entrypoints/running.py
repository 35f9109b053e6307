"""Runs one process from its start to a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gitopsd import __version__
from gitopsd.bootstrap import Process, build
from gitopsd.engine.services import Services
from gitopsd.engine.standing import describe_standing
from gitopsd.entrypoints.first_token import FirstToken
from gitopsd.entrypoints.http.app import build_app
from gitopsd.entrypoints.http.limits import TokenBuckets
from gitopsd.entrypoints.http.metrics import build_metrics_app
from gitopsd.entrypoints.http.server import Listener, listen
from gitopsd.entrypoints.http.service import ProcessState, Service
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.settings import Settings

_LOG = logging.getLogger(__name__)

FINISH = timedelta(seconds=20)
"""How long steps under way may take to report when the process is asked to end."""

INFO_FILE = "info.json"
"""Where the CLI finds the process of a data directory."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of the product a process is.

    Attributes:
        serve: Whether it takes requests.
        work: Whether it works on the outbox.
        info: File that is written when the process is ready; None for none.
    """

    serve: bool = True
    work: bool = True
    info: Path | None = None


async def run_process(
    settings: Settings,
    part: Part,
    say: Callable[[str], None],
    wrap: Callable[[Services], Services] = lambda services: services,
) -> None:
    """Run until SIGTERM or SIGINT, then end gracefully.

    Args:
        settings: How it runs.
        part: Which part of the product it is.
        say: Tells the person at the terminal one line.
        wrap: See `gitopsd.bootstrap.build`.

    Raises:
        PermanentError: The process cannot start; says why.
        TemporaryError: The database does not answer.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    try:
        async with build(settings, work=part.work, wrap=wrap) as process:
            await _run(process, part, ending, say)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _run(
    process: Process, part: Part, ending: asyncio.Event, say: Callable[[str], None]
) -> None:
    _refuse_parts_on_sqlite(process, part)
    state = ProcessState()
    hearing = None if part.work else asyncio.create_task(_hear(process), name="doorbell")
    daemon = asyncio.create_task(process.daemon.run(), name="daemon")
    waiting = asyncio.create_task(ending.wait(), name="ending")
    first = FirstToken(process.services, process.settings) if part.serve else None
    following = asyncio.create_task(first.follow(), name="first token") if first else None
    listeners: list[Listener] = []
    try:
        ready = asyncio.create_task(process.daemon.ready.wait())
        await asyncio.wait((daemon, ready, waiting), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not daemon.done() and not ending.is_set():
            if first is not None and (told := await first.settle()):
                say(told)
            await _open(process, part, state, listeners, say)
            await asyncio.wait((daemon, waiting), return_when=asyncio.FIRST_COMPLETED)
        await _finish(process, state, daemon)
    finally:
        (process.settings.data_dir / INFO_FILE).unlink(missing_ok=True)
        waiting.cancel()
        beside = [task for task in (hearing, following) if task is not None]
        for task in beside:
            task.cancel()
        for listener in listeners:
            await listener.close()
        daemon.cancel()
        await asyncio.gather(waiting, *beside, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await daemon


def _refuse_parts_on_sqlite(process: Process, part: Part) -> None:
    """Stop a part of the product that no other part could share its database with.

    Raises:
        PermanentError: The database is SQLite, which one process has to itself.
    """
    if process.sole and not (part.serve and part.work):
        message = (
            "serve --no-worker and worker share one PostgreSQL: set GITOPSD_DATABASE_URL, "
            "or run gitopsd serve alone"
        )
        raise PermanentError(message)


async def _hear(process: Process) -> None:
    """Hear the rings of those who work, so that waiting requests look at once."""
    while True:
        await process.services.doorbell.wait(timedelta(seconds=30))


async def _open(
    process: Process,
    part: Part,
    state: ProcessState,
    listeners: list[Listener],
    say: Callable[[str], None],
) -> None:
    settings = process.settings
    api = ""
    if part.serve:
        service = Service(
            services=process.services,
            actions=process.actions,
            changes=process.changes,
            state=state,
            problems=process.problems,
            buckets=TokenBuckets(process.services.clock),
            sole=process.sole,
            removals=process.removals,
        )
        listeners.append(await listen(build_app(service), settings.listen))
        api = listeners[-1].url
    metrics = build_metrics_app(lambda: _render_metrics(process))
    listeners.append(await listen(metrics, settings.metrics_listen))
    state.started = True
    document = {
        "pid": os.getpid(),
        "api": api,
        "metrics": f"{listeners[-1].url}/metrics",
        "dataDir": str(settings.data_dir.absolute()),
        "version": __version__,
    }
    if part.serve:
        write_info(settings.data_dir / INFO_FILE, document)
    if part.info is not None:
        write_info(part.info, document)
    say(f"gitopsd {__version__} serves {api}" if api else f"gitopsd {__version__} works")


async def _render_metrics(process: Process) -> bytes:
    """Write the metrics; without a database those that need none."""
    with contextlib.suppress(GitopsdError):
        process.telemetry.set_applications(await process.services.store.read(describe_standing))
    return process.telemetry.render()


async def _finish(process: Process, state: ProcessState, daemon: asyncio.Task[None]) -> None:
    """Stop claiming work and give what is under way time to report."""
    state.ending = True
    process.changes.close()
    if daemon.done():
        return
    process.daemon.worker.stop()
    ended = asyncio.create_task(process.daemon.worker.ended.wait())
    limit = asyncio.create_task(process.services.clock.sleep(FINISH))
    if process.daemon.works:
        await asyncio.wait((ended, limit, daemon), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    limit.cancel()
    await asyncio.gather(ended, limit, return_exceptions=True)


def write_info(path: Path, document: dict[str, object]) -> None:
    """Write a JSON file in one piece: a reader finds all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document) + "\n")
    draft.replace(path)
