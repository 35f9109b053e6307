"""One pod's life on the node: volumes, init containers, containers, status, and its deletion."""

from __future__ import annotations

import asyncio
import logging
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.sandbox.api_client import ApiRefusal
from gitopsd.sandbox.clock import jittered
from gitopsd.sandbox.container_loop import ContainerLoop
from gitopsd.sandbox.environment import ConfigMissing, PodAddress
from gitopsd.sandbox.fields import number_at, objects_at, text_at
from gitopsd.sandbox.pod_scene import PodScene
from gitopsd.sandbox.records import first_records
from gitopsd.sandbox.restarts import Role
from gitopsd.sandbox.status import TERMINAL_PHASES, PodFacts, compute_status, read_stamp
from gitopsd.sandbox.volumes import fetch_volume

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.node_context import NodeContext

LOG = logging.getLogger(__name__)
DEFAULT_GRACE_SECONDS = 30
VOLUME_RETRY = timedelta(seconds=1)
FIRST_RETRY = timedelta(milliseconds=100)
LONGEST_RETRY = timedelta(seconds=10)
LONGEST_LOOKUP_RETRY = timedelta(seconds=2)


class PodRuntime:
    """Runs one pod; `run` returns when the pod's object is gone.

    Attributes:
        loops: Its containers by name, in the order of the pod's spec, init containers first.
    """

    def __init__(self, pod: JsonObject, *, pod_ip: str, context: NodeContext) -> None:
        self._context = context
        self._uid = text_at(pod, "metadata", "uid")
        namespace, name = text_at(pod, "metadata", "namespace"), text_at(pod, "metadata", "name")
        self._path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._objects = f"/api/v1/namespaces/{namespace}"
        settings = context.settings
        self._scene = PodScene(
            object=pod,
            address=PodAddress(pod_ip=pod_ip, host_ip=settings.address),
            directory=settings.directory / "pods" / self._uid,
            lookup=self._lookup,
            changed=self._changed,
            grace=timedelta(
                seconds=number_at(
                    pod, "spec", "terminationGracePeriodSeconds", default=DEFAULT_GRACE_SECONDS
                )
            ),
        )
        self.loops = {
            record.name: ContainerLoop(spec, record, self._scene, context)
            for spec, record in first_records(pod, now=context.clock.now())
        }
        self._start_time = read_stamp(text_at(pod, "status", "startTime")) or context.clock.now()
        self._conditions = objects_at(pod, "status", "conditions")
        self._sent: JsonObject = {}
        self._dirty = asyncio.Event()
        self._deleting = asyncio.Event()
        self._gone = False
        self._stopped = False

    @property
    def pod(self) -> JsonObject:
        """The pod as it was last seen."""
        return self._scene.object

    def update(self, pod: JsonObject) -> None:
        """Take note of the pod as it is now."""
        self._scene.object = pod
        if text_at(pod, "metadata", "deletionTimestamp"):
            self._scene.grace = timedelta(
                seconds=number_at(pod, "metadata", "deletionGracePeriodSeconds")
            )
            self._deleting.set()

    def vanish(self) -> None:
        """The object is gone, or the node ends: stop everything at once and write nothing."""
        self._gone = True
        self._scene.grace = timedelta()
        self._deleting.set()
        for loop in self.loops.values():
            loop.hurry()

    async def run(self) -> None:
        """Run the pod until it is deleted, then delete its object for good."""
        if text_at(self.pod, "metadata", "deletionTimestamp"):
            self.update(self.pod)
        publishing = asyncio.create_task(self._publish_changes())
        working = asyncio.create_task(self._work())
        for task in (publishing, working):
            task.add_done_callback(self._report)
        try:
            await self._deleting.wait()
            working.cancel()
            await asyncio.wait([working])
            publishing.cancel()
            await asyncio.wait([publishing])
            if not self._gone:
                self._stopped = True
                await self._finish()
        finally:
            for task in (working, publishing):
                task.cancel()
            await asyncio.wait([working, publishing])
            await asyncio.to_thread(shutil.rmtree, self._scene.directory, ignore_errors=True)

    async def _work(self) -> None:
        """Run the containers in the pod's order."""
        if text_at(self.pod, "status", "phase") in TERMINAL_PHASES:
            return
        self._changed()
        await self._make_volumes()
        sidecars: list[asyncio.Task[None]] = []
        try:
            if await self._run_inits(sidecars):
                async with asyncio.TaskGroup() as group:
                    for loop in self.loops.values():
                        if loop.record.role is Role.App:
                            group.create_task(loop.run())
        finally:
            for task in sidecars:
                task.cancel()
            if sidecars:
                await asyncio.wait(sidecars)

    async def _run_inits(self, sidecars: list[asyncio.Task[None]]) -> bool:
        """Run init containers to their ends and start sidecars; False: the pod has failed."""
        for loop in self.loops.values():
            if loop.record.role is Role.Sidecar:
                sidecars.append(asyncio.create_task(loop.run()))
                await loop.has_started.wait()
            elif loop.record.role is Role.Init:
                await loop.run()
                if not loop.record.done:
                    return False
        return True

    async def _make_volumes(self) -> None:
        scene = self._scene
        for volume in objects_at(scene.object, "spec", "volumes"):
            name = text_at(volume, "name")
            while name not in scene.volumes:
                try:
                    scene.volumes[name] = await fetch_volume(
                        scene.object,
                        volume,
                        scene.address,
                        scene.lookup,
                        scene.directory / "volumes",
                    )
                except ConfigMissing as error:
                    said = f'MountVolume.SetUp failed for volume "{name}" : {error.message}'
                    self._context.events.warning(scene.object, "FailedMount", said)
                    await self._context.clock.sleep(VOLUME_RETRY)
                except (TemporaryError, ApiRefusal, OSError) as error:
                    self._log("a volume could not be made", error)
                    await self._context.clock.sleep(VOLUME_RETRY)

    async def _lookup(self, plural: str, name: str) -> JsonObject | None:
        """Fetch an object of the namespace, patiently.

        An API server that authorizes nodes learns a moment after the pod itself that the pod's
        node may read what the pod names: until then it says no.
        """
        retry = FIRST_RETRY
        while True:
            try:
                return await self._context.api.fetch_or_none(f"{self._objects}/{plural}/{name}")
            except (TemporaryError, ApiRefusal):
                if retry > LONGEST_LOOKUP_RETRY:
                    raise
            await self._context.clock.sleep(jittered(retry))
            retry *= 2

    def _changed(self) -> None:
        self._dirty.set()

    async def _publish_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._publish()

    async def _publish(self) -> None:
        """Write the status if it is not what was written last.

        Safe to repeat: the patch says what is, and names the pod's uid.
        """
        retry = FIRST_RETRY
        while not self._gone:
            status = self._status()
            if status == self._sent:
                return
            try:
                await self._context.api.send_patch(
                    f"{self._path}/status", {"metadata": {"uid": self._uid}, "status": status}
                )
            except ApiRefusal as error:
                # Not found, or the name belongs to another pod by now: the watch will say so.
                self._log("a pod's status was refused", error)
                return
            except TemporaryError as error:
                self._log("a pod's status was not written", error)
                await self._context.clock.sleep(jittered(retry))
                retry = min(retry * 2, LONGEST_RETRY)
            else:
                self._sent = status
                self._conditions = objects_at(status, "conditions")
                return

    def _status(self) -> JsonObject:
        facts = PodFacts(
            host_ip=self._scene.address.host_ip,
            pod_ip=self._scene.address.pod_ip,
            start_time=self._start_time,
            now=self._context.clock.now(),
            stopped=self._stopped,
            conditions=self._conditions,
        )
        return compute_status(self.pod, [loop.record for loop in self.loops.values()], facts)

    async def _finish(self) -> None:
        """Write the last status and let the object go.

        Safe to repeat: the deletion names the pod's uid.
        """
        await self._publish()
        retry = FIRST_RETRY
        while not self._gone:
            try:
                await self._context.api.send_delete(self._path, uid=self._uid, grace_seconds=0)
            except GitopsdError as error:
                self._log("a pod could not be deleted", error)
                await self._context.clock.sleep(jittered(retry))
                retry = min(retry * 2, LONGEST_RETRY)
            else:
                return

    def _report(self, task: asyncio.Task[None]) -> None:
        """A task that broke is a defect here; without this nobody would hear of it."""
        if not task.cancelled() and task.exception() is not None:
            LOG.error(
                "a pod's task broke",
                extra={"action": "run-pod", "pod": self._scene.title},
                exc_info=task.exception(),
            )

    def _log(self, message: str, error: Exception) -> None:
        LOG.info(
            message,
            extra={"action": "run-pod", "pod": self._scene.title, "problem": str(error)},
        )
