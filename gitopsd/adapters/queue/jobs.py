"""What a ring looks like in Redis, and nothing else is taken from there.

arq pickles jobs by default, and whoever can write to Redis would run code here. Jobs are JSON of
exactly one shape; anything else is refused before arq sees it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

RING = "ring"
"""The only function there is."""

LARGEST_JOB_BYTES = 1024
"""A ring takes about a hundred bytes."""

_SENDER = re.compile(r"[0-9a-f]{16}")
_LATEST_MS = 10**14  # in the year 5138; later times overflow


def write_job(job: dict[str, Any]) -> bytes:
    """Write a job, or the result of one, as JSON; what JSON cannot say becomes its type's name."""
    return orjson.dumps(job, default=lambda value: type(value).__name__)


def parse_job(raw: bytes) -> dict[str, Any]:
    """Read a job.

    Raises:
        ValueError: It is not a ring.
    """
    if len(raw) > LARGEST_JOB_BYTES:
        raise ValueError("the job is too large for a ring")
    job = orjson.loads(raw)
    if not isinstance(job, dict) or not _is_ring(job):
        raise ValueError("the job is no ring")
    return job


def _is_ring(job: dict[str, Any]) -> bool:
    arguments, time_ms = job.get("a"), job.get("et")
    return (
        job.get("f") == RING
        and job.get("k") == {}
        and "t" in job
        and job["t"] is None
        and type(time_ms) is int
        and 0 <= time_ms < _LATEST_MS
        and isinstance(arguments, list)
        and len(arguments) == 1
        and isinstance(arguments[0], str)
        and _SENDER.fullmatch(arguments[0]) is not None
    )
