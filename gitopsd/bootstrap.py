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

from gitopsd import __version__
from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.config_files.live import ConfigurationFiles
from gitopsd.adapters.gates.by_kind import GateProberByKind
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.adapters.kustomize.discovery import locate_program
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.adapters.notify.by_type import NotifierByType
from gitopsd.adapters.queue.in_process import InProcessDoorbell
from gitopsd.adapters.registry.client import HttpRegistry
from gitopsd.adapters.secret_files import load_secret
from gitopsd.adapters.telemetry.logs import start_logging
from gitopsd.adapters.telemetry.metrics import PrometheusTelemetry
from gitopsd.adapters.telemetry.sentry import start_sentry, stop_sentry
from gitopsd.adapters.telemetry.story import TellingStore
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.config import Configuration, HeldRemoval
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import RepoURL
from gitopsd.engine.actions import Actions
from gitopsd.engine.changes import AnnouncingDoorbell, AnnouncingStore, Changes
from gitopsd.engine.daemon import ConfigurationChange, Daemon
from gitopsd.engine.measuring import MeasuringStore
from gitopsd.engine.removals import fetch_confirmed
from gitopsd.engine.services import Pace, Services
from gitopsd.errors import ConfigError, PermanentError
from gitopsd.kube.redaction import redact_object
from gitopsd.ports import Clock, Doorbell, Rejection, RenderRequest, Telemetry
from gitopsd.settings import Settings
from gitopsd.store.data_directory import lock_data_directory
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import open_store

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
        telemetry: Metrics and reports of bugs.
        sole: Whether no other process can be working for this installation.
        removals: Files that vanished at once and whose removal waits for a person.
    """

    settings: Settings
    services: Services
    daemon: Daemon
    actions: Actions
    changes: Changes
    problems: Callable[[], tuple[ConfigError, ...]]
    telemetry: PrometheusTelemetry
    sole: bool
    removals: Callable[[], tuple[HeldRemoval, ...]]


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
        PermanentError: The data directory is taken, a file cannot be used, the database is newer,
            or there is no renderer to work with.
        TemporaryError: The database does not answer.
    """
    start_logging(settings.log_format)
    if work:
        locate_program(_renderer_binary(settings))
    async with AsyncExitStack() as stack:
        start_sentry(settings.sentry.dsn.get_secret_value(), release=__version__)
        stack.callback(stop_sentry)
        held = lock_data_directory(settings.data_dir)
        stack.callback(held.release)
        url = database_url(settings)
        migrate(url)
        opened = open_store(url, encryption_key_file=settings.encryption_key_file)
        stack.push_async_callback(opened.close)
        clock = SystemClock()
        changes = Changes(clock)
        telemetry = PrometheusTelemetry()
        store = AnnouncingStore(MeasuringStore(TellingStore(opened), telemetry), changes)
        known = await store.read(lambda tx: tuple(tx.specs.currents()))
        files = ConfigurationFiles(settings.config_dir, known=known)
        _refuse_broken_receivers(files.load().errors)
        _log_problems(files.current.errors)
        doorbell = AnnouncingDoorbell(_doorbell(settings, clock), changes)
        stack.push_async_callback(doorbell.close)
        services = wrap(_services(settings, store, files, telemetry, clock, doorbell, stack))
        sole = url.startswith("sqlite")
        daemon = Daemon(services, _changes(files, services), sole=sole, work=work)
        yield Process(
            settings=settings,
            services=services,
            daemon=daemon,
            actions=Actions(services),
            changes=changes,
            problems=lambda: files.current.errors,
            telemetry=telemetry,
            sole=sole,
            removals=lambda: files.held,
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
    registry = HttpRegistry(lambda: configuration().registries, clock)
    stack.push_async_callback(registry.close)
    prober = GateProberByKind(
        configuration,
        clock,
        allow_loopback=settings.verify.allow_loopback,
        github_url=settings.github.base_url,
    )
    stack.push_async_callback(prober.close)
    verifier = VerifierByKind(
        clusters,
        clock,
        allow_loopback=settings.verify.allow_loopback,
        metrics=prober.metrics,
    )
    stack.push_async_callback(verifier.close)
    notifier = NotifierByType(
        clock, slack_url=settings.slack.base_url, github_url=settings.github.base_url
    )
    stack.push_async_callback(notifier.close)
    renderer = KustomizeRenderer(repositories, binary=_renderer_binary(settings))
    stack.push_async_callback(renderer.close)
    repositories.on_change = renderer.expect
    return Services(
        store=store,
        clusters=clusters,
        repositories=repositories,
        renderer=renderer,
        registry=registry,
        verifier=verifier,
        prober=prober,
        notifier=notifier,
        doorbell=doorbell,
        clock=clock,
        telemetry=telemetry,
        configuration=configuration,
        read_secret=load_secret,
        replica=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        pace=Pace(
            poll=settings.poll_interval,
            sweep=settings.sweep_interval,
            retention=settings.retention,
        ),
        public_url=settings.public_url,
    )


def _renderer_binary(settings: Settings) -> Path | None:
    return Path(settings.renderer) if settings.renderer else None


def _doorbell(settings: Settings, clock: Clock) -> Doorbell:
    url = settings.redis_url.get_secret_value()
    if not url:
        return InProcessDoorbell()
    from gitopsd.adapters.queue.arq_doorbell import ArqDoorbell  # noqa: PLC0415 - arq and redis cost memory that one process alone does not need

    return ArqDoorbell(url, clock)


async def _changes(
    files: ConfigurationFiles, services: Services
) -> AsyncIterator[ConfigurationChange]:
    async for result in files.watch(services.clock, confirmed=lambda: fetch_confirmed(services)):
        _log_problems(result.errors)
        if not result.errors:
            _LOG.info("the configuration changed, and all of it is in force")
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


async def render_overlay(
    repository: Path, revision: str, path: str, *, show_secrets: bool
) -> tuple[JsonObject, ...] | Rejection:
    """Render an overlay of a repository on this machine, as a stage would get it but for its pins.

    Raises:
        PermanentError: There is no such repository or commit, or no kustomize.
        TemporaryError: The renderer could not be started.
    """
    from gitopsd.adapters.git.local import (  # noqa: PLC0415 - only one verb needs it
        LocalTrees,
        find_git_directory,
        find_revision,
    )

    commit = find_revision(repository, revision)
    renderer = KustomizeRenderer(LocalTrees())
    try:
        request = RenderRequest(RepoURL(str(find_git_directory(repository))), commit, path)
        rendered = await renderer.run_render(request)
    finally:
        await renderer.close()
    if isinstance(rendered, Rejection):
        return rendered
    return rendered.objects if show_secrets else tuple(map(redact_object, rendered.objects))
