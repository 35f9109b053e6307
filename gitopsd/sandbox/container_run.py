"""One instance of a container from its start to its end: settling, probes, stopping."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from gitopsd.sandbox.fields import field_at, number_at, object_at, objects_at, text_at
from gitopsd.sandbox.probes import ProbeTarget, parse_schedule, run_handler, run_probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.container import CommandResult, Container, Outcome
    from gitopsd.sandbox.node_context import NodeContext
    from gitopsd.sandbox.pod_scene import ContainerNotes, PodScene


class RunObserver(Protocol):
    """Who is told what becomes of an instance."""

    def running(self) -> None:
        """It runs."""
        ...

    def started(self) -> None:
        """Its startup probe passed, or it has none."""
        ...

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - the value is the news
        """Its readiness changed."""
        ...


class ContainerRun:
    """Watches over one instance.

    Attributes:
        outcome: How it ended; None while it runs.
    """

    def __init__(
        self,
        container: Container,
        spec: JsonObject,
        scene: PodScene,
        context: NodeContext,
        notes: ContainerNotes,
        observer: RunObserver,
    ) -> None:
        self.outcome: Outcome | None = None
        self._container = container
        self._spec = spec
        self._scene = scene
        self._context = context
        self._notes = notes
        self._observer = observer
        self._failed_probe = ""
        self._dead = asyncio.Event()

    async def run(self) -> None:
        """Return after the instance has ended; cancelled, stop it gracefully first.

        Raises:
            StartFailed: It could not be started.
            PullFailed: A layer of its image could not be had.
        """
        try:
            await self._container.start()
            self._notes.normal("Started", f"Started container {self._notes.container}")
            try:
                await self._follow()
            except asyncio.CancelledError:
                self._notes.normal("Killing", f"Stopping container {self._notes.container}")
                await self._stop(self._scene.grace)
                raise
        finally:
            await self._container.close()

    def hurry(self) -> None:
        """End it now, whatever grace it was given."""
        self._container.kill()

    async def run_command(self, words: Sequence[str], *, limit: timedelta) -> CommandResult:
        """Run a command inside it.

        Raises:
            TimeoutError: It did not end in time.
        """
        return await self._container.run_command(words, limit=limit)

    async def _follow(self) -> None:
        await self._container.settle()
        exited = asyncio.create_task(self._await_end())
        probing: asyncio.Task[None] | None = None
        died = asyncio.create_task(self._await_death())
        try:
            # One turn of the loop: what has ended already is never told to run.
            await asyncio.wait([exited], timeout=0)
            if not exited.done():
                self._observer.running()
                probing = asyncio.create_task(self._run_probes())
                await asyncio.wait([exited, died], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await self._stop_unhealthy()
            await exited
        finally:
            await _cancelled(exited, died, probing)

    async def _await_end(self) -> None:
        self.outcome = await self._container.wait()

    async def _await_death(self) -> None:
        await self._dead.wait()

    async def _stop_unhealthy(self) -> None:
        name = self._notes.container
        self._notes.normal(
            "Killing", f"Container {name} failed {self._failed_probe} probe, will be restarted"
        )
        probe = object_at(self._spec, f"{self._failed_probe}Probe")
        own = number_at(probe, "terminationGracePeriodSeconds", default=-1)
        await self._stop(self._scene.grace if own < 0 else timedelta(seconds=own))

    async def _stop(self, grace: timedelta) -> None:
        """Ask, wait, kill."""
        limit = grace.total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                hook = object_at(self._spec, "lifecycle", "preStop")
                if hook:
                    await self._run_hook(hook, grace)
                self._container.terminate()
                self.outcome = await self._container.wait()
                return
        self._container.kill()
        self.outcome = await self._container.wait()

    async def _run_hook(self, hook: JsonObject, grace: timedelta) -> None:
        if "sleep" in hook:
            seconds = number_at(hook, "sleep", "seconds")
            await self._context.clock.sleep(timedelta(seconds=seconds))
            return
        complaint = await run_handler(hook, self._target(), grace)
        if complaint:
            self._notes.warning("FailedPreStopHook", f"PreStopHook failed: {complaint}")

    async def _run_probes(self) -> None:
        startup = object_at(self._spec, "startupProbe")
        if startup:
            await self._ask("startup", startup)
            if self._dead.is_set():
                return
        self._observer.started()
        readiness = object_at(self._spec, "readinessProbe")
        if not readiness:
            self._observer.set_ready(True)
        async with asyncio.TaskGroup() as group:
            for kind in ("readiness", "liveness"):
                probe = object_at(self._spec, f"{kind}Probe")
                if probe:
                    group.create_task(self._ask(kind, probe))

    async def _ask(self, kind: str, probe: JsonObject) -> None:
        """Ask one probe until nothing more depends on it."""

        def judge(complaint: str) -> bool:
            if kind == "readiness":
                self._observer.set_ready(not complaint)
                return True
            if complaint:
                self._failed_probe = kind
                self._dead.set()
                return False
            return kind == "liveness"

        def unhealthy(complaint: str) -> None:
            self._notes.warning("Unhealthy", f"{kind.capitalize()} probe failed: {complaint}")

        schedule = parse_schedule(probe, scale=self._context.settings.probe_scale)
        await run_probe(probe, self._target(), schedule, self._context.clock, judge, unhealthy)

    def _target(self) -> ProbeTarget:
        ports: dict[str, Json] = {
            text_at(port, "name"): field_at(port, "containerPort")
            for port in objects_at(self._spec, "ports")
        }
        return ProbeTarget(
            self._container, self._scene.address.pod_ip, ports, self._context.session
        )


async def _cancelled(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait until they are gone."""
    live = [task for task in tasks if task is not None and not task.done()]
    for task in live:
        task.cancel()
    if live:
        await asyncio.wait(live)
