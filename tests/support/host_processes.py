"""The sandbox's hosts as child processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tests.support.processes import ServerProcess, wait_until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def run_host_process(module: str, directory: Path, *arguments: str) -> Iterator[str]:
    """Run a host until the block ends, on a free port; gives its address.

    Args:
        module: ``git_host`` or ``image_registry``.
        directory: Where its files lie.
        arguments: Further ones.
    """
    info = directory / f"{module}.json"
    command = [sys.executable, "-m", f"gitopsd.sandbox.hosts.{module}", "--info", str(info)]
    child = ServerProcess.start(
        module,
        [*command, *arguments],
        directory / f"{module}.log",
        environment={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(
            info.exists, what="the host listens", within=timedelta(seconds=20), servers=[child]
        )
        yield str(json.loads(info.read_text())["url"])
    finally:
        child.stop()
