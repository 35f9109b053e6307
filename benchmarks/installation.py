"""One installation of gitopsd, as a person would set it up, for benchmarks."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.records import ROOT
from gitopsd.adapters.clock import SystemClock
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run
from gitopsd.domain.work import Page
from gitopsd.store.sql_store import SqlStore, open_store
from gitopsd.store_ports import Transaction
from tests.support.git_http import GitHost, PushHook
from tests.support.processes import ServerProcess

T = TypeVar("T")

READY_WITHIN = timedelta(seconds=60)
_LOOK = timedelta(milliseconds=100)


class DidNotHappenError(Exception):
    """What a benchmark waits for did not come; the message holds the end of the log."""


@dataclass
class Installation:
    """A configuration folder and the running service.

    Attributes:
        directory: Configuration, data and log.
        service: The child; None while it is down.
        info: What the service says about itself.
        hook: Its receiver; None while it was never started.
    """

    directory: Path
    service: ServerProcess | None = None
    info: Mapping[str, Any] | None = None
    hook: PushHook | None = None
    _store: SqlStore | None = None

    @property
    def config(self) -> Path:
        """The configuration folder."""
        return self.directory / "config"

    def write(self, path: str, text: str) -> None:
        """Write one configuration file."""
        target = self.config / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def write_surroundings(self, kubeconfig: Path) -> None:
        """Write cluster, receiver and the receiver's secret."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "github.secret").write_text(secrets.token_hex(16))
        head = "apiVersion: gitopsd.io/v1\n"
        self.write(
            "clusters/one.yaml",
            f"{head}kind: Cluster\nmetadata: {{name: one}}\nspec: {{kubeconfig: {kubeconfig}}}\n",
        )
        self.write(
            "receivers/github.yaml",
            f"{head}kind: Receiver\nmetadata: {{name: github}}\n"
            f"spec: {{type: github, secretFiles: [{self.directory / 'github.secret'}]}}\n",
        )

    async def start(
        self,
        host: GitHost | None = None,
        *,
        wrapper: tuple[str, ...] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Start the service, wait until it is ready, and send it the host's webhooks.

        Args:
            host: The Git host; None for one that is told in another way.
            wrapper: A command that runs the rest of its arguments, a profiler say.
            settings: Further settings of the process.
        """
        info = self.directory / "info.json"
        info.unlink(missing_ok=True)
        data = self.directory / "data"
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "PYTHONPATH": str(ROOT),
            "GITOPSD_CONFIG_DIR": str(self.config),
            "GITOPSD_DATA_DIR": str(data),
            "GITOPSD_LISTEN": "127.0.0.1:0",
            "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
            **(settings or {}),
        }
        command = [*wrapper, sys.executable, "-m", "gitopsd", "serve", "--info", str(info)]
        log = self.directory / "gitopsd.log"
        self.service = ServerProcess.start("gitopsd", command, log, environment=environment)
        await self.until(info.exists, "the service to be ready", READY_WITHIN)
        self.info = json.loads(info.read_text())
        secret = (self.directory / "github.secret").read_text()
        self.hook = PushHook(f"{self.info['api']}/hooks/github", secret)
        if host is not None:
            host.push_hook = self.hook
        self._store = open_store(f"sqlite:///{data / 'gitopsd.db'}")

    async def stop(self) -> None:
        """End the service."""
        if self._store is not None:
            await self._store.close()
        if self.service is not None:
            self.service.stop()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Read from the service's database.

        Raises:
            DidNotHappenError: The service was not started.
        """
        if self._store is None:
            raise DidNotHappenError("the service was not started")
        return await self._store.read(work)

    async def run_of(self, key: StageKey, sha: str) -> Run | None:
        """Read the newest run that brings a commit to a stage."""

        def find(tx: Transaction) -> Run | None:
            for run in tx.runs.page(Page(20), stage=key):
                release = tx.releases.get(run.release)
                if release is not None and release.commit.sha == sha:
                    return run
            return None

        return await self.read(find)

    async def steps_of(self, run: Run) -> dict[str, datetime]:
        """Tell when a run began and when it left each step."""
        events = await self.read(lambda tx: tx.runs.events(run.id))
        found = {}
        for event in events:
            if event.name == "RunAdmitted":
                found["Admitted"] = event.at
            elif event.name == "StepSucceeded" and event.step is not None:
                found[event.step.value] = event.at
        return found

    async def until_succeeded(self, key: StageKey, sha: str, within: timedelta) -> Run:
        """Wait until a commit's run in a stage has succeeded.

        Raises:
            DidNotHappenError: It ended otherwise, or not in time.
        """
        run = await self.until_run(
            lambda: self.run_of(key, sha),
            lambda run: run.phase.terminal,
            f"{sha[:12]} to reach {key}",
            within,
        )
        if run.phase is not Phase.SUCCEEDED:
            why = run.failure.message if run.failure is not None else ""
            raise DidNotHappenError(f"{run.id} ended {run.phase.value}: {why}\n{self.tail()}")
        return run

    async def until_run(
        self,
        find: Callable[[], Awaitable[Run | None]],
        wanted: Callable[[Run], bool],
        what: str,
        within: timedelta,
    ) -> Run:
        """Wait until there is a run, and it is as wanted.

        Raises:
            DidNotHappenError: It was not in time.
        """
        found: list[Run] = []

        async def look() -> bool:
            run = await find()
            found[:] = [run] if run is not None else []
            return run is not None and wanted(run)

        await self.until(look, what, within)
        return found[0]

    async def until(self, condition: Callable[[], Any], what: str, within: timedelta) -> None:
        """Look at a condition again and again until it holds.

        Raises:
            DidNotHappenError: It did not within the time.
        """
        clock = SystemClock()
        end = clock.monotonic() + within.total_seconds()
        while True:
            found = condition()
            if hasattr(found, "__await__"):
                found = await found
            if found:
                return
            if self.service is not None:
                self.service.check()
            if clock.monotonic() > end:
                raise DidNotHappenError(f"waited {within} for {what}\n{self.tail()}")
            await clock.sleep(_LOOK)

    def tail(self) -> str:
        """Return the end of the service's log."""
        return self.service.tail() if self.service is not None else ""
