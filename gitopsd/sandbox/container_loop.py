"""One container's life: image, environment, run, end, back-off, and again."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from gitopsd.domain.quantities import parse_quantity
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.sandbox.container import ContainerLog, Launch, Outcome
from gitopsd.sandbox.container_run import ContainerRun
from gitopsd.sandbox.environment import ConfigMissing, command_line, fetch_environment
from gitopsd.sandbox.fields import number_at, objects_at, text_at
from gitopsd.sandbox.image_reference import parse_reference
from gitopsd.sandbox.images import PullFailed
from gitopsd.sandbox.pod_scene import ContainerNotes
from gitopsd.sandbox.process import ProcessContainer
from gitopsd.sandbox.restarts import BackOff, say_duration, should_restart
from gitopsd.sandbox.served import ServedContainer
from gitopsd.sandbox.status import ContainerRecord, Running, Terminated, Waiting, ended
from gitopsd.sandbox.volumes import mounts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.container import CommandResult, Container
    from gitopsd.sandbox.image_reference import ImageReference
    from gitopsd.sandbox.images import Obtained, RunnableImage
    from gitopsd.sandbox.node_context import NodeContext
    from gitopsd.sandbox.pod_scene import PodScene

START_ERROR = Outcome(128)
CONFIG_RETRY = timedelta(seconds=1)
LONGEST_PULL_NOTICE = timedelta(seconds=2)
# The kubelet's own limit for a message taken from a log.
LAST_WORDS_LIMIT = 2048


class ContainerLoop:
    """Runs one container of one pod as often as its pod's policy says.

    Attributes:
        record: What is known of it; read by whoever writes the pod's status.
        log: Lines of the current (or last) instance; None before the first.
        previous_log: Lines of the instance before; None when there was none.
        has_started: Set once its first instance has started.
    """

    def __init__(
        self, spec: JsonObject, record: ContainerRecord, scene: PodScene, context: NodeContext
    ) -> None:
        self.record = record
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.has_started = asyncio.Event()
        self._spec = spec
        self._scene = scene
        self._context = context
        self._notes = ContainerNotes(context.events, scene, record.name)
        self._run: ContainerRun | None = None
        self._restarts = BackOff(context.settings.back_off)
        self._pulls = BackOff(context.settings.back_off)

    async def run(self) -> None:
        """Run until the container has ended for good; cancelled, it stops the container first."""
        restart_policy = text_at(self._scene.object, "spec", "restartPolicy", default="Always")
        state = self.record.state
        if isinstance(state, Terminated) and not should_restart(
            restart_policy, self.record.role, state.exit_code
        ):
            return
        while True:
            await self._back_off()
            image = await self._obtain_image()
            launch = await self._obtain_launch(image)
            outcome = await self._run_once(image, launch)
            if not should_restart(restart_policy, self.record.role, outcome.exit_code):
                return

    def hurry(self) -> None:
        """End the current instance now, whatever grace it was given."""
        if self._run is not None:
            self._run.hurry()

    async def run_command(self, words: Sequence[str], *, limit: timedelta) -> CommandResult | None:
        """Run a command inside the current instance; None when none runs.

        Raises:
            TimeoutError: It did not end in time.
        """
        if self._run is None or not isinstance(self.record.state, Running):
            return None
        return await self._run.run_command(words, limit=limit)

    def running(self) -> None:
        """The instance runs."""
        self._record(replace(self.record, state=Running(self._context.clock.now())))

    def started(self) -> None:
        """The instance has started."""
        self._record(replace(self.record, started=True))
        self.has_started.set()

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - the value is the news
        """The instance may, or may no longer, get traffic."""
        if isinstance(self.record.state, Running):
            self._record(replace(self.record, ready=ready))

    async def _back_off(self) -> None:
        """Wait as long as the last exit demands, then count the coming start as an attempt."""
        state = self.record.state
        if not isinstance(state, Terminated):
            return
        clock = self._context.clock
        wait = self._restarts.remaining(failed_at=state.finished_at, now=clock.now())
        if wait:
            delay = say_duration(self._restarts.delay)
            title = self._scene.title
            message = f"back-off {delay} restarting failed container={self.record.name} pod={title}"
            self._tell_waiting("CrashLoopBackOff", message)
            self._notes.warning(
                "BackOff",
                f"Back-off restarting failed container {self.record.name} in pod {title}",
            )
            await clock.sleep(wait)
        self._restarts = self._restarts.attempted(clock.now())

    async def _obtain_image(self) -> RunnableImage:
        try:
            reference = parse_reference(self.record.image)
        except PermanentError as error:
            self._notes.warning("InspectFailed", error.message)
            await self._stay_waiting(error)
        default = "Always" if reference.tag == "latest" else "IfNotPresent"
        policy = text_at(self._spec, "imagePullPolicy", default=default)
        began = self._context.clock.now()
        obtained = await self._pull(reference, policy)
        said = f'Container image "{reference.text}" already present on machine'
        if obtained.pulled:
            took = say_duration(self._context.clock.now() - began)
            said = (
                f'Successfully pulled image "{reference.text}" in {took} ({took} including '
                f"waiting). Image size: {obtained.image.size_bytes} bytes."
            )
        self._notes.normal("Pulled", said)
        return obtained.image

    async def _pull(self, reference: ImageReference, policy: str) -> Obtained:
        while True:
            try:
                return await self._context.images.fetch_image(reference, pull_policy=policy)
            except PullFailed as error:
                await self._wait_for_pull(reference, error)
            except PermanentError as error:
                await self._stay_waiting(error)

    async def _wait_for_pull(self, reference: ImageReference, error: PullFailed) -> None:
        clock, notes = self._context.clock, self._notes
        self._pulls = self._pulls.attempted(clock.now())
        self._tell_waiting("ErrImagePull", error.message)
        notes.warning("Failed", f'Failed to pull image "{reference.text}": {error.message}')
        notes.warning("Failed", "Error: ErrImagePull")
        notice = min(self._pulls.delay / 2, LONGEST_PULL_NOTICE)
        await clock.sleep(notice)
        said = f'Back-off pulling image "{reference.text}"'
        self._tell_waiting("ImagePullBackOff", f"{said}: ErrImagePull: {error.message}")
        notes.normal("BackOff", said)
        notes.warning("Failed", "Error: ImagePullBackOff")
        await clock.sleep(self._pulls.delay - notice)

    async def _stay_waiting(self, error: PermanentError) -> NoReturn:
        """Nothing but another pod can help: stay as it is until this one is deleted."""
        reason = "CreateContainerError" if error.reason == "BadImage" else error.reason
        self._tell_waiting(reason, error.message)
        self._notes.warning("Failed", f"Error: {reason}")
        while True:
            await asyncio.Event().wait()

    async def _obtain_environment(self) -> dict[str, str]:
        scene = self._scene
        while True:
            try:
                return await fetch_environment(
                    scene.object, self._spec, scene.address, scene.lookup
                )
            except ConfigMissing as error:
                self._tell_waiting(error.reason, error.message)
                self._notes.warning("Failed", f"Error: {error.message}")
            except GitopsdError as error:
                self._tell_waiting(ConfigMissing.reason, error.message)
            await self._context.clock.sleep(CONFIG_RETRY)

    async def _obtain_launch(self, image: RunnableImage) -> Launch:
        scene = self._scene
        own = await self._obtain_environment()
        env = {"HOSTNAME": scene.name, **image.env, **own}
        declared = (
            int(number_at(port, "containerPort")) for port in objects_at(self._spec, "ports")
        )
        memory = text_at(self._spec, "resources", "limits", "memory")
        return Launch(
            pod_name=scene.name,
            address=scene.address.pod_ip,
            ports=tuple(dict.fromkeys((*declared, *image.ports))),
            words=tuple(command_line(self._spec, image.entrypoint, image.command, env)),
            env=env,
            mounts=mounts_of(self._spec, scene.volumes),
            memory_limit_mebibytes=float(parse_quantity(memory) or 0) / 2**20,
            served_by=f"{scene.name} {image.digest}",
            log=ContainerLog(),
        )

    async def _run_once(self, image: RunnableImage, launch: Launch) -> Outcome:
        began = self._context.clock.now()
        container_id = secrets.token_hex(32)
        self._begin(image, launch, container_id)
        container = self._make(image, launch, container_id)
        run = self._run = ContainerRun(
            container, self._spec, self._scene, self._context, self._notes, self
        )
        failure: GitopsdError | None = None
        try:
            await run.run()
        except (PermanentError, PullFailed) as error:
            failure = error
            self._notes.warning("Failed", f"Error: {error.message}")
        finally:
            self._run = None
            self._end(began, run.outcome or START_ERROR, failure)
        return run.outcome or START_ERROR

    def _make(self, image: RunnableImage, launch: Launch, container_id: str) -> Container:
        clock = self._context.clock
        if image.behaviour is not None:
            return ServedContainer(image.behaviour, launch, clock)
        root = self._scene.directory / "containers" / container_id
        return ProcessContainer(image, self._context.images, launch, root, clock)

    def _begin(self, image: RunnableImage, launch: Launch, container_id: str) -> None:
        """Note a new instance; it is not told before it has settled."""
        before = self.record
        ran = before.last if isinstance(before.state, Waiting) else before.state
        last = ran if isinstance(ran, Terminated) else None
        self.previous_log, self.log = self.log, launch.log
        self.record = replace(
            before,
            last=last,
            restart_count=before.restart_count + (1 if last is not None else 0),
            image_id=image.image_id,
            container_id=f"gitopsd://{container_id}",
        )
        self._notes.normal("Created", f"Created container: {self.record.name}")

    def _end(self, began: datetime, outcome: Outcome, failure: GitopsdError | None) -> None:
        state = Terminated(
            exit_code=outcome.exit_code,
            reason=outcome.reason if failure is None else "StartError",
            started_at=began,
            finished_at=self._context.clock.now(),
            container_id=self.record.container_id,
            message=self._last_words(outcome) if failure is None else failure.message,
        )
        self._record(ended(self.record, state))

    def _last_words(self, outcome: Outcome) -> str:
        """The end of the log, where the pod asks for it: ``FallbackToLogsOnError``."""
        policy = text_at(self._spec, "terminationMessagePolicy")
        if policy != "FallbackToLogsOnError" or outcome.exit_code == 0 or self.log is None:
            return ""
        return "\n".join(line.text for line in self.log.lines)[-LAST_WORDS_LIMIT:]

    def _tell_waiting(self, reason: str, message: str) -> None:
        state = self.record.state
        last = state if isinstance(state, Terminated) else self.record.last
        self._record(replace(self.record, state=Waiting(reason, message), last=last))

    def _record(self, record: ContainerRecord) -> None:
        self.record = record
        self._scene.changed()
