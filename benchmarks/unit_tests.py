"""*unit-tests*: the tests of the core are done within ten seconds."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from benchmarks.figures import Measured, compute_p50
from benchmarks.records import ROOT
from gitopsd.domain.manifests import Json
from tests.support.processes import inherited_environment

ROUNDS = 3
LIMIT_SECONDS = 10.0


class TestsFailedError(Exception):
    """The tests did not pass, so their time says nothing."""


def measure(rounds: int | None = None) -> Measured:
    """Run ``tests/unit`` some times; the time is that of the whole command."""
    wall, processor = zip(*(_run() for _ in range(rounds or ROUNDS)), strict=True)
    details: dict[str, Json] = {"processor_seconds_p50": round(compute_p50(processor), 2)}
    return Measured("s", wall, (LIMIT_SECONDS,), "the limit", details=details)


def _run() -> tuple[float, float]:
    """Run them once: seconds on the wall, and of the processor, which a busy machine leaves be."""
    begin, used = time.perf_counter(), _processor_seconds()
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
    return seconds, _processor_seconds() - used


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
