"""Runs an image as a child process, with its layers in a private directory.

This is no isolation: images that tests and the demo made themselves run here, as the user who runs
the agent. Absolute paths in the command are looked for in the unpacked layers first; the child
finds them below ``CONTAINER_ROOT`` and listens on ``BIND_ADDRESS``, from where the agent serves
them at the pod's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gitopsd.sandbox.container import (
    CommandResult,
    Launch,
    LogLine,
    Outcome,
    StartFailed,
)
from gitopsd.sandbox.front import Front, private_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.images import ImageStore, RunnableImage

INTERPRETERS = frozenset({"python", "python3"})
SETTLE_WITH_PORTS = timedelta(seconds=1)
SETTLE_WITHOUT_PORTS = timedelta(milliseconds=200)
LINE_LIMIT_BYTES = 256 * 1024
SIGNAL_BASE = 128


class ProcessContainer:
    """A child process with its own session; see `gitopsd.sandbox.container.Container`.

    Args:
        image: What to run.
        images: Where its layers come from.
        launch: What it is started with.
        root: Private directory, made here and removed by `close`.
        clock: For waits and the time of lines.
    """

    def __init__(
        self, image: RunnableImage, images: ImageStore, launch: Launch, root: Path, clock: Clock
    ) -> None:
        self._image = image
        self._images = images
        self._launch = launch
        self._root = root
        self._clock = clock
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._follower: asyncio.Task[None] | None = None
        self._fronts: list[Front] = []
        self._front_tasks: list[asyncio.Task[None]] = []

    @property
    def probe_host(self) -> str:
        """Where the child itself listens: probes must not meet the front."""
        return private_address(self._launch.address)

    async def start(self) -> None:
        """Unpack the layers, link the mounts, start the child.

        Raises:
            StartFailed: The program is not in the image nor on the node.
            PullFailed: A layer cannot be had.
        """
        await asyncio.to_thread(self._root.mkdir, parents=True)
        await self._images.fetch_root(self._image, self._root)
        await asyncio.to_thread(_link_mounts, self._root, self._launch.mounts)
        self._process = await self._spawn(self._launch.words, asyncio.subprocess.PIPE)
        self._follower = asyncio.create_task(self._follow(self._process))
        for port in self._launch.ports:
            front = Front(
                address=self._launch.address,
                port=port,
                backend=self.probe_host,
                served_by=self._launch.served_by,
                clock=self._clock,
            )
            self._fronts.append(front)
            self._front_tasks.append(asyncio.create_task(self._run_front(front)))

    async def settle(self) -> None:
        """Return when it listens, has ended, or a moment has passed.

        A kubelet looks at containers once a second: a program that crashes at its start is never
        seen running. This keeps it so.
        """
        limit = SETTLE_WITH_PORTS if self._fronts else SETTLE_WITHOUT_PORTS
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self.wait())]
        if self._fronts:
            waits.append(asyncio.ensure_future(self._all_opened()))
        try:
            await asyncio.wait(
                waits, timeout=limit.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()

    async def wait(self) -> Outcome:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Send SIGTERM to the program, as a container runtime does."""
        if self._process is not None and not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to it and to everything it started."""
        if self._process is not None and not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Close the ports and remove its files."""
        self.kill()
        for task in self._front_tasks:
            task.cancel()
        tasks = [*self._front_tasks, *([self._follower] if self._follower else [])]
        if tasks:
            await asyncio.wait(tasks)
        self._launch.log.close()
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def run_command(self, words: Sequence[str], *, limit: timedelta) -> CommandResult:
        """Run another program beside it, with the same environment and files.

        Raises:
            TimeoutError: It did not end in time.
        """
        try:
            process = await self._spawn(
                words, asyncio.subprocess.PIPE, errors=asyncio.subprocess.PIPE
            )
        except StartFailed as error:
            return CommandResult(SIGNAL_BASE - 1, problem=error.message)
        try:
            async with asyncio.timeout(limit.total_seconds()):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        code = process.returncode or 0
        return CommandResult(
            code if code >= 0 else SIGNAL_BASE - code,
            output.decode(errors="replace"),
            errors.decode(errors="replace"),
        )

    async def _spawn(
        self, words: Sequence[str], output: int, *, errors: int = asyncio.subprocess.STDOUT
    ) -> asyncio.subprocess.Process:
        if not words:
            raise StartFailed("no command specified")
        program = self._program(words[0])
        directory = self._inside(self._image.working_directory) or self._root
        try:
            return await asyncio.create_subprocess_exec(
                *_dies_with_agent(),
                program,
                *(str(self._inside(word) or word) for word in words[1:]),
                cwd=directory,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                limit=LINE_LIMIT_BYTES,
            )
        except OSError as error:
            raise StartFailed(f'exec: "{words[0]}": {error.strerror}') from error

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Collect lines until the output closes, then tell how the program ended."""
        exited = asyncio.ensure_future(process.wait())
        reader = asyncio.ensure_future(self._read_lines(process))
        await asyncio.wait([exited])
        # A grandchild may hold the pipe open for ever: it goes with the program.
        self.kill()
        await asyncio.wait([reader])
        code = exited.result()
        self._ended.set_result(Outcome(code if code >= 0 else SIGNAL_BASE - code))

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                line = b"(a line that is too long was left out)\n"
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            self._launch.log.write(LogLine(self._clock.now(), text))

    async def _run_front(self, front: Front) -> None:
        try:
            await front.run()
        except OSError as error:
            self._launch.log.write(LogLine(self._clock.now(), f"fatal: {error.strerror}"))
            self.kill()

    async def _all_opened(self) -> None:
        for front in self._fronts:
            await front.opened.wait()

    def _program(self, word: str) -> str:
        inside = self._inside(word)
        if inside is not None:
            return str(inside)
        if word in INTERPRETERS:
            return sys.executable
        found = shutil.which(word, path=os.defpath)
        if found is None:
            raise StartFailed(f'exec: "{word}": executable file not found in $PATH')
        return found

    def _inside(self, word: str) -> Path | None:
        """The path in the unpacked layers (or a mount) that an absolute path means."""
        if not word.startswith("/") or word == "/":
            return None
        path = self._root / word.lstrip("/")
        return path if path.exists() else None

    def _environment(self) -> dict[str, str]:
        launch = self._launch
        return {
            "PATH": os.defpath,
            "HOSTNAME": launch.pod_name,
            **launch.env,
            "POD_IP": launch.address,
            "BIND_ADDRESS": self.probe_host,
            "CONTAINER_ROOT": str(self._root),
            "X_SERVED_BY": launch.served_by,
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _dies_with_agent() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _link_mounts(root: Path, mounts: Mapping[str, Path]) -> None:
    for mount, directory in mounts.items():
        link = root / mount.strip("/")
        if ".." in Path(mount).parts or link.exists():
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(directory)
