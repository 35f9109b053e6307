"""``gitopsd serve`` and its parts as child processes, with a repository on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.configuration import write_files
from tests.support.processes import ServerProcess, wait_until
from tests.support.repositories import BareRepository

SECRET = "a secret made for this test"
APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {{name: shop}}
spec:
  source: {{repoURL: {repository}, branch: main}}
  stages:
    - {{name: staging, cluster: one, path: overlays/staging, namespace: shop}}
"""
CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {name: one}
spec: {inCluster: true}
"""
RECEIVER = """\
apiVersion: gitopsd.io/v1
kind: Receiver
metadata: {{name: github}}
spec: {{type: github, secretFiles: [{secret}]}}
"""


@dataclass
class Site:
    """One installation: configuration, a repository, and the processes of it.

    Attributes:
        directory: Where everything lies.
        repository: What the application follows.
        running: Children that were started, by name of their data directory.
        prefix: What runs before each command line, such as a change of namespace.
    """

    directory: Path
    repository: BareRepository
    running: dict[str, ServerProcess] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @classmethod
    def make(cls, directory: Path) -> Site:
        """Make an installation whose cluster is not there."""
        repository = directory / "shop.git"
        secret = directory / "secret"
        secret.write_text(SECRET)
        write_files(
            directory / "config",
            {
                "applications/shop.yaml": APPLICATION.format(repository=repository),
                "clusters/one.yaml": CLUSTER,
                "receivers/github.yaml": RECEIVER.format(secret=secret),
            },
        )
        return cls(directory, BareRepository(repository))

    def environment(self, data: str = "data", **extra: str) -> dict[str, str]:
        """The whole environment of a child."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "GITOPSD_CONFIG_DIR": str(self.directory / "config"),
            "GITOPSD_DATA_DIR": str(self.directory / data),
            "GITOPSD_LISTEN": "127.0.0.1:0",
            "GITOPSD_METRICS_LISTEN": "127.0.0.1:0",
            "GITOPSD_GIT__ALLOW_LOCAL": "true",
            **extra,
        }

    def start(self, *arguments: str, data: str = "data", **extra: str) -> dict[str, Any]:
        """Start ``gitopsd ARGUMENTS`` and wait until it is ready; returns its ``--info``."""
        info = self.directory / f"{data}.info"
        info.unlink(missing_ok=True)
        child = ServerProcess.start(
            f"gitopsd {arguments[0]}",
            [sys.executable, "-m", "gitopsd", *arguments, "--info", str(info)],
            self.log(data),
            prefix=self.prefix,
            environment=self.environment(data, **extra),
        )
        self.running[data] = child
        wait_until(
            info.exists, what="the process is ready", within=timedelta(seconds=30), servers=[child]
        )
        found: dict[str, Any] = json.loads(info.read_text())
        return found

    def log(self, data: str = "data") -> Path:
        """Where a child writes its log and what it says to the person at the terminal."""
        return self.directory / f"{data}.log"

    def run(
        self, *arguments: str, data: str = "data", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end, as a child."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "gitopsd", *arguments],
            env=self.environment(data, **(environment or {})),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self, data: str = "data", grace: timedelta = timedelta(seconds=25)) -> int:
        """Ask a child to end; returns its exit code."""
        return self.running.pop(data).stop(grace)

    def kill(self, data: str = "data") -> None:
        """End a child without giving it a chance."""
        child = self.running.pop(data)
        child.popen.kill()
        child.stop()

    def stop_all(self) -> None:
        """End what is left."""
        for data in tuple(self.running):
            self.kill(data)
