"""Runs one simulated cluster in the foreground until it is told to end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitopsd.errors import PermanentError
from gitopsd.sandbox.api.assembly import Listen
from gitopsd.sandbox.api.kubeconfigs import save_private
from gitopsd.sandbox.cluster import ClusterSettings, SandboxCluster
from gitopsd.sandbox.restarts import BackOffPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from gitopsd.domain.manifests import JsonObject

KUBECONFIG = "kubeconfig"
EVERY_HOST = "*"
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for.

    Attributes:
        listen: Where the API listens.
        info: File that says where, once it does; None: none.
        registries: Base URL of each host's images; ``*`` for every other one.
        back_off: The node's waits between restarts and between pulls.
        probe_scale: Factor on the waits of probes.
    """

    listen: Listen = field(default_factory=Listen)
    info: Path | None = None
    registries: Mapping[str, str] = field(default_factory=dict)
    back_off: BackOffPolicy = field(default_factory=BackOffPolicy)
    probe_scale: float = 1.0


def parse_listen(text: str) -> Listen:
    """Read ``host:port``.

    Raises:
        PermanentError: It is none.
    """
    host, found, port = text.rpartition(":")
    if not found or not host or not port.isdigit() or int(port) > HIGHEST_PORT:
        raise PermanentError(f"--listen {text}: write HOST:PORT, for instance 127.0.0.1:0")
    return Listen(host, int(port))


def parse_registries(texts: Sequence[str]) -> dict[str, str]:
    """Read registries: ``HOST:PORT`` or a URL for every image, ``NAME=...`` for images of a host.

    Loopback is asked by plain HTTP unless a URL says otherwise.

    Raises:
        PermanentError: Two are for the same images.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, named, place = text.rpartition("=")
        key = name if named else EVERY_HOST
        if key in found:
            message = f"--registry {text}: {found[key]} serves these images already; name one"
            raise PermanentError(message)
        found[key] = _base_url(place)
    return found


async def run_sandbox(options: Options, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; then nothing is left.

    Raises:
        PermanentError: It cannot listen where it shall.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    directory = Path(tempfile.mkdtemp(prefix="gitopsd-sandbox-"))
    try:
        async with _running(options, directory) as cluster:
            kubeconfig = directory / KUBECONFIG
            save_private(kubeconfig, cluster.api.make_kubeconfig())
            if options.info is not None:
                save_private(options.info, describe(cluster, kubeconfig))
            say(f"A simulated cluster is ready. Try: kubectl --kubeconfig {kubeconfig} get pods -A")
            await _run_until(cluster, stop)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def describe(cluster: SandboxCluster, kubeconfig: Path) -> JsonObject:
    """Where the cluster is, for programs."""
    return {
        "pid": os.getpid(),
        "kubeconfig": str(kubeconfig),
        "api": cluster.api.url,
        "control": cluster.api.control,
    }


def run(options: Options, say: Callable[[str], None]) -> None:
    """Run one in an event loop of its own; see `run_sandbox`."""
    if sys.version_info < (3, 12):
        # Later versions do this by themselves: without it each child costs a thread.
        watcher = asyncio.PidfdChildWatcher()
        asyncio.set_child_watcher(watcher)  # type: ignore[deprecated]  # for 3.11 alone, see above
    asyncio.run(run_sandbox(options, say))


def _base_url(place: str) -> str:
    if "://" in place:
        return place.rstrip("/")
    plain = place.startswith(("127.", "localhost", "[::1]"))
    return f"http://{place}" if plain else f"https://{place}"


@asynccontextmanager
async def _running(options: Options, directory: Path) -> AsyncIterator[SandboxCluster]:
    settings = ClusterSettings(
        directory=directory,
        listen=options.listen,
        registries=options.registries,
        back_off=options.back_off,
        probe_scale=options.probe_scale,
    )
    async with AsyncExitStack() as stack:
        try:
            cluster = await stack.enter_async_context(SandboxCluster(settings))
        except OSError as error:
            where = f"{options.listen.host}:{options.listen.port}"
            raise PermanentError(
                f"the sandbox cannot listen on {where}: {error.strerror}. "
                "Choose another --listen; port 0 takes a free one"
            ) from error
        yield cluster


async def _run_until(cluster: SandboxCluster, stop: asyncio.Event) -> None:
    running = asyncio.create_task(cluster.run())
    stopping = asyncio.create_task(_wait_for(stop))
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    broken = running.done()
    for task in (running, stopping):
        task.cancel()
    await asyncio.wait({running, stopping})
    if broken:
        running.result()


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
