"""``gitopsd demo`` as a child of a test, in a temporary folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from tests.support.processes import ServerProcess, wait_until

ROOT = Path(__file__).resolve().parents[2]
READY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One demo.

    Attributes:
        folder: Its temporary folder; short, as sockets lie below it.
        process: The demo.
        began: When it was started, on the monotonic clock.
    """

    folder: Path
    process: ServerProcess
    began: float

    @property
    def info(self) -> dict[str, Any]:
        """Wait until it is up, and read where everything is."""
        file = self.folder / "info.json"
        wait_until(file.exists, what="the demo is up", within=READY, servers=[self.process])
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    @property
    def said(self) -> str:
        """What it printed."""
        return self.process.log.read_text()

    def wait(self, within: timedelta) -> tuple[int, dict[str, Any]]:
        """Wait for its end; returns exit code and the document of its last line."""
        code = self.process.popen.wait(within.total_seconds())
        return code, json.loads(self.said.splitlines()[-1])

    def leftovers(self) -> list[str]:
        """Whatever of it is left: processes that name its folder, and files."""
        found = [f"file {path.name}" for path in self.folder.glob("gitopsd-*")]
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder / "gitopsd-demo-") in words:
                found.append(f"process {entry.parent.name}: {words}")
        return found

    def await_nothing_left(self, within: timedelta = timedelta(seconds=20)) -> None:
        """Wait until no process of it is there any more."""
        wait_until(
            lambda: not [one for one in self.leftovers() if one.startswith("process")],
            what="the demo's processes to be gone",
            within=within,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send the demo a signal."""
        self.process.popen.send_signal(number)


@contextmanager
def run_demo(*arguments: str, prefix: Sequence[str] = (), **environment: str) -> Iterator[DemoRun]:
    """Start a demo; it is ended with the block, if it has not ended before.

    Args:
        arguments: Options of the demo.
        prefix: What runs before its command line, such as a change of namespace.
        environment: More of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="d-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        given = {
            "PATH": os.defpath,
            "HOME": name,
            "TMPDIR": name,
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        process = ServerProcess.start(
            "demo",
            [sys.executable, "-m", "gitopsd", "demo", *arguments, "--info", f"{name}/info.json"],
            folder / "demo.log",
            prefix=prefix,
            environment=given,
        )
        run = DemoRun(folder, process, monotonic())
        try:
            yield run
        finally:
            process.stop(timedelta(seconds=30))
            run.await_nothing_left()


def run_demo_to_its_end(
    *arguments: str, environment: dict[str, str], prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a demo that cannot begin, to its end."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "gitopsd", "demo", *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
