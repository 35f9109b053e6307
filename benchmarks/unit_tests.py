"""*unit-tests*: the tests of the core are done within ten seconds."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.figures import Measured
from benchmarks.records import ROOT
from tests.support.processes import inherited_environment

ROUNDS = 3
LIMIT_SECONDS = 10.0


class TestsFailedError(Exception):
    """The tests did not pass, so their time says nothing."""


def measure(rounds: int | None = None) -> Measured:
    """Run ``tests/unit`` some times; the time is that of the whole command."""
    values = [_run() for _ in range(rounds or ROUNDS)]
    return Measured("s", values, (LIMIT_SECONDS,), "the limit")


def _run() -> float:
    begin = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/unit", "-q"],
        cwd=ROOT,
        env=inherited_environment("HOME", "PATH"),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if result.returncode != 0:
        raise TestsFailedError(result.stdout[-2000:])
    return seconds
