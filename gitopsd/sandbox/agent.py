"""The node agent: a small virtual kubelet that runs pods as local servers and child processes.

It knows the API server, a registry and what a kubelet does, and no scenario: whatever goes wrong
with a pod comes from its image, the registry, or the API server's own controllers.

Run it with ``python -m gitopsd.sandbox.agent --kubeconfig FILE --pod-cidr 10.1.2.0/24``, or use
`NodeAgent` as an async context manager.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp
import orjson

from gitopsd.errors import TemporaryError
from gitopsd.sandbox.addresses import AddressPool
from gitopsd.sandbox.api_client import ApiClient
from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.events import EventRecorder
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.images import ImageStore
from gitopsd.sandbox.kubeconfig import load_kubeconfig
from gitopsd.sandbox.logs_server import LogsServer
from gitopsd.sandbox.node import NodeObjects
from gitopsd.sandbox.node_context import NodeContext, NodeSettings
from gitopsd.sandbox.pod_runtime import PodRuntime
from gitopsd.sandbox.reflector import Reflector, Seen
from gitopsd.sandbox.restarts import DEFAULT_BASE, DEFAULT_CAP, BackOffPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from types import TracebackType

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.container_loop import ContainerLoop
    from gitopsd.sandbox.kubeconfig import Connection

LOG = logging.getLogger(__name__)
USER_AGENT = "gitopsd-sandbox-node"


class NodeAgent:
    """One node; entering it registers the node, leaving it stops every pod at once.

    Args:
        connection: The API server.
        settings: How the node works.
        clock: Time.
    """

    def __init__(
        self, connection: Connection, settings: NodeSettings, *, clock: Clock | None = None
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._clock = clock or Clock()
        self._stack = AsyncExitStack()
        self._pool = AddressPool(settings.pods)
        self._pods: dict[str, PodRuntime] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._services: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start; return once the node is registered and Ready."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every container at once; the pods' objects stay, as when a machine goes down."""
        await self._stop()

    async def run(self) -> None:
        """Wait for ever; ends with an exception when a service of the agent broke."""
        done, _ = await asyncio.wait(self._services, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def find_loop(self, namespace: str, pod: str, container: str) -> ContainerLoop | None:
        """A container that runs here, by its names."""
        for runtime in self._pods.values():
            meta = (
                text_at(runtime.pod, "metadata", "namespace"),
                text_at(runtime.pod, "metadata", "name"),
            )
            if meta == (namespace, pod):
                return runtime.loops.get(container)
        return None

    async def _start(self) -> None:
        settings, clock = self._settings, self._clock
        api = await self._stack.enter_async_context(
            ApiClient(self._connection, user_agent=USER_AGENT)
        )
        # The kubelet's probes keep no connections either: each one shows a server that accepts.
        session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        )
        logs = await self._stack.enter_async_context(
            LogsServer(
                name=settings.name, address=settings.address, find=self.find_loop, clock=clock
            )
        )
        context = NodeContext(
            settings=settings,
            api=api,
            images=ImageStore(
                registry=settings.registry,
                session=session,
                directory=settings.directory / "layers",
                mirrors=settings.mirrors,
            ),
            events=EventRecorder(api, node_name=settings.name, clock=clock),
            session=session,
            clock=clock,
        )
        node = NodeObjects(context, logs_port=logs.port)
        await node.register()
        self._serve(node.run())
        self._serve(context.events.run())
        self._serve(self._follow_pods(context))

    async def _stop(self) -> None:
        for task in self._services:
            task.cancel()
        if self._services:
            await asyncio.wait(self._services)
        for runtime in self._pods.values():
            runtime.vanish()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._stack.aclose()

    def _serve(self, service: Coroutine[None, None, None]) -> None:
        self._services.append(asyncio.create_task(service))

    async def _follow_pods(self, context: NodeContext) -> None:
        reflector = Reflector(
            context.api,
            "/api/v1/pods",
            selectors={"fieldSelector": f"spec.nodeName={self._settings.name}"},
            clock=self._clock,
        )
        async for change in reflector.fetch_changes():
            uid = text_at(change.object, "metadata", "uid")
            runtime = self._pods.get(uid)
            if isinstance(change, Seen):
                if runtime is None:
                    self._take(change.object, context)
                else:
                    runtime.update(change.object)
            elif runtime is not None:
                runtime.vanish()

    def _take(self, pod: JsonObject, context: NodeContext) -> None:
        uid = text_at(pod, "metadata", "uid")
        try:
            address = self._pool.take(text_at(pod, "status", "podIP"))
        except TemporaryError as error:
            context.events.warning(pod, "FailedCreatePodSandBox", error.message)
            return
        runtime = self._pods[uid] = PodRuntime(pod, pod_ip=address, context=context)
        task = asyncio.create_task(runtime.run())
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._pods.pop(uid, None)
            self._pool.give_back(address)
            if not done.cancelled() and done.exception() is not None:
                LOG.error("a pod broke", extra={"action": "run-pod"}, exc_info=done.exception())

        task.add_done_callback(forget)


async def run_agent(options: argparse.Namespace) -> None:
    """Run one node until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    directory = Path(tempfile.mkdtemp(prefix="gitopsd-node-"))
    try:
        settings = parse_settings(options, directory)
        connection = load_kubeconfig(Path(options.kubeconfig))
        async with NodeAgent(connection, settings) as agent:
            if options.info:
                facts = {"pid": os.getpid(), "node": settings.name, "address": settings.address}
                _write_atomically(Path(options.info), orjson.dumps(facts))
            running = asyncio.create_task(agent.run())
            stopping = asyncio.create_task(_wait_for(stop))
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if running.done():
                running.result()
            running.cancel()
            await asyncio.wait([running, stopping])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def parse_settings(options: argparse.Namespace, directory: Path) -> NodeSettings:
    """What the command line says."""
    pods = IPv4Network(options.pod_cidr)
    return NodeSettings(
        name=options.node_name,
        address=options.node_ip or str(pods[1]),
        pods=pods,
        registry=options.registry,
        directory=directory,
        back_off=BackOffPolicy(
            base=timedelta(seconds=options.back_off_base),
            cap=timedelta(seconds=options.back_off_cap),
        ),
        probe_scale=options.probe_scale,
    )


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gitopsd.sandbox.agent",
        description="A node for a test cluster: runs pods as local servers and child processes.",
    )
    parser.add_argument("--kubeconfig", required=True, help="who the node is at which API server")
    parser.add_argument("--node-name", default="sandbox", help="name of the node")
    parser.add_argument("--node-ip", default="", help="the node's address; default: the first one")
    parser.add_argument("--pod-cidr", required=True, help="addresses for pods, bindable here")
    parser.add_argument("--registry", default="", help="URL every image is pulled from")
    parser.add_argument("--info", default="", help="file that is written when the node is ready")
    parser.add_argument(
        "--back-off-base", type=float, default=DEFAULT_BASE.total_seconds(), help="seconds"
    )
    parser.add_argument(
        "--back-off-cap", type=float, default=DEFAULT_CAP.total_seconds(), help="seconds"
    )
    parser.add_argument(
        "--probe-scale", type=float, default=1.0, help="factor on the waits of probes"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Run the agent in the foreground."""
    options = parse_options(sys.argv[1:])
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if sys.version_info < (3, 12):
        # Later versions do this by themselves: without it each child costs a thread.
        watcher = asyncio.PidfdChildWatcher()
        asyncio.set_child_watcher(watcher)  # type: ignore[deprecated]  # for 3.11 alone, see above
    asyncio.run(run_agent(options))


class _LineFormatter(logging.Formatter):
    """One line a record, with the facts that the sandbox attaches."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            name: value
            for name in ("action", "pod", "path", "reason", "problem")
            if (value := getattr(record, name, None)) is not None
        }
        said = f"{record.levelname} {record.getMessage()} {facts or ''}".rstrip()
        return f"{said}\n{self.formatException(record.exc_info)}" if record.exc_info else said


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


if __name__ == "__main__":
    main()
