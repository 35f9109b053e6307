"""Verbs that are a process of the product: ``serve``, ``worker``, ``migrate``."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gitopsd.settings import Settings

Info = Annotated[
    Path | None,
    typer.Option("--info", help="Write addresses and pid to this file when ready.", metavar="FILE"),
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(serve)
    app.command()(worker)
    app.command()(migrate)


def serve(
    info: Info = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only take requests; another process works.")
    ] = False,
) -> None:
    """Run the whole product: HTTP, worker and database in one process."""
    _run(serve=True, work=not no_worker, info=info)


def worker(info: Info = None) -> None:
    """Run only the worker, beside ``serve --no-worker`` on the same PostgreSQL."""
    _run(serve=False, work=True, info=info)


def migrate() -> None:
    """Create or upgrade the database's tables. Safe to repeat."""
    from gitopsd.bootstrap import database_url
    from gitopsd.store.data_directory import lock_data_directory
    from gitopsd.store.migrate import migrate as migrate_database

    settings = read_settings()
    with lock_data_directory(settings.data_dir):
        migrate_database(database_url(settings))
    sys.stdout.write("The database is up to date.\n")


def read_settings() -> Settings:
    """Read the process's settings.

    Raises:
        PermanentError: A variable is unknown or cannot be used.
    """
    from gitopsd.settings import load_settings

    return load_settings(os.environ)  # noqa: TID251 - settings are read from here, once


def _run(*, serve: bool, work: bool, info: Path | None) -> None:
    # All that loading makes stays: to look for garbage in it, again and again, is a tenth of a
    # start, and later a part of each pause of the collector.
    gc.disable()
    import asyncio

    from gitopsd.entrypoints.running import Part, run_process

    gc.freeze()
    gc.enable()
    settings = read_settings()
    asyncio.run(run_process(settings, Part(serve=serve, work=work, info=info), _say))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
