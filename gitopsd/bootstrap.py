"""The composition root: the only place that builds adapters and wires them."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.config_files.live import ConfigurationFiles
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.adapters.secret_files import load_secret
from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.domain.config import Configuration
from gitopsd.engine.actions import Actions
from gitopsd.engine.changes import AnnouncingDoorbell, AnnouncingStore, Changes
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.engine.services import Pace, Services
from gitopsd.errors import ConfigError, PermanentError
from gitopsd.ports import Clock, Doorbell, Telemetry
from gitopsd.settings import Settings
from gitopsd.store.data_directory import lock_data_directory
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import open_store
from gitopsd.testing.doorbell import MemoryDoorbell
from gitopsd.testing.notifier import MemoryNotifier
from gitopsd.testing.telemetry import MemoryTelemetry

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """Everything one process is made of.

    Attributes:
        settings: How it runs.
        services: The ports.
        daemon: What runs for as long as the process does.
        actions: What people do.
        changes: Tells when something stored changed.
        problems: What is wrong in the configuration folder now.
        render_metrics: Writes all metrics as text.
        sole: Whether no other process can be working for this installation.
    """

    settings: Settings
    services: Services
    daemon: Daemon
    actions: Actions
    changes: Changes
    problems: Callable[[], tuple[ConfigError, ...]]
    render_metrics: Callable[[], bytes]
    sole: bool


def database_url(settings: Settings) -> str:
    """Tell which database is used: the configured one, or SQLite in the data directory."""
    configured = settings.database_url.get_secret_value()
    return configured or f"sqlite:///{settings.data_dir.absolute() / 'gitopsd.db'}"


@asynccontextmanager
async def build(
    settings: Settings,
    *,
    work: bool = True,
    wrap: Callable[[Services], Services] = lambda services: services,
) -> AsyncIterator[Process]:
    """Build a process and take it apart again at the end.

    Args:
        settings: How it runs.
        work: Whether it works on the outbox, or only serves.
        wrap: Puts something around the ports before anything uses them, e.g. a recorder.

    Raises:
        PermanentError: The data directory is taken, a file cannot be used, the database is newer.
        TemporaryError: The database does not answer.
    """
    async with AsyncExitStack() as stack:
        held = lock_data_directory(settings.data_dir)
        stack.callback(held.release)
        url = database_url(settings)
        migrate(url)
        opened = open_store(url, encryption_key_file=settings.encryption_key_file)
        stack.push_async_callback(opened.close)
        clock = SystemClock()
        changes = Changes(clock)
        store = AnnouncingStore(opened, changes)
        telemetry = MemoryTelemetry()
        known = await store.read(lambda tx: tuple(tx.specs.currents()))
        files = ConfigurationFiles(settings.config_dir, known=known)
        _refuse_broken_receivers(files.load().errors)
        _log_problems(files.current.errors)
        doorbell = AnnouncingDoorbell(MemoryDoorbell(clock), changes)
        stack.push_async_callback(doorbell.close)
        services = wrap(_services(settings, store, files, telemetry, clock, doorbell, stack))
        sole = url.startswith("sqlite")
        daemon = Daemon(services, _changes(files, clock), sole=sole, work=work)
        yield Process(
            settings=settings,
            services=services,
            daemon=daemon,
            actions=Actions(services),
            changes=changes,
            problems=lambda: files.current.errors,
            render_metrics=lambda: b"",
            sole=sole,
        )


def _services(
    settings: Settings,
    store: AnnouncingStore,
    files: ConfigurationFiles,
    telemetry: Telemetry,
    clock: Clock,
    doorbell: Doorbell,
    stack: AsyncExitStack,
) -> Services:
    def configuration() -> Configuration:
        return files.current.configuration

    repositories = GitRepositories(
        settings.data_dir / "git",
        lambda: configuration().repositories,
        allow_local=settings.git.allow_local,
        deadline=settings.git.deadline,
    )
    stack.push_async_callback(repositories.close)
    clusters = ConfiguredClusters(lambda: configuration().clusters, telemetry)
    stack.push_async_callback(clusters.close)
    verifier = HttpVerifier(clusters, clock, allow_loopback=settings.verify.allow_loopback)
    stack.push_async_callback(verifier.close)
    binary = Path(settings.renderer) if settings.renderer else None
    return Services(
        store=store,
        clusters=clusters,
        repositories=repositories,
        renderer=KustomizeRenderer(repositories, binary=binary),
        verifier=verifier,
        notifier=MemoryNotifier(),
        doorbell=doorbell,
        clock=clock,
        telemetry=telemetry,
        configuration=configuration,
        read_secret=load_secret,
        replica=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        pace=Pace(poll=settings.poll_interval, sweep=settings.sweep_interval),
    )


async def _changes(files: ConfigurationFiles, clock: Clock) -> AsyncIterator[ConfigurationChange]:
    async for result in files.watch(clock):
        _log_problems(result.errors)
        yield ConfigurationChange(confirmed=not result.held)


def _refuse_broken_receivers(errors: tuple[ConfigError, ...]) -> None:
    """Stop the start rather than to serve a receiver less than the folder names.

    Raises:
        PermanentError: A receiver's file cannot be used, for the lack of its secret, say.
    """
    for error in errors:
        if error.file.startswith("receivers/"):
            raise PermanentError(error.message)


def _log_problems(errors: tuple[ConfigError, ...]) -> None:
    for error in errors:
        _LOG.error("configuration file is not used: %s", error)
