"""*webhook*: signed deliveries a second through the whole service, against a bare handler.

A round is 2,000 push deliveries of 20,480 bytes, each with another body, another id and its own
``X-Hub-Signature-256``, sent over 32 kept connections; each connection sends its next delivery
when the last one is answered. They speak of 50 repositories, of which an application follows one.
Ours is an ordinary ``gitopsd serve`` with a database on disk: it answers 202 once a delivery is
committed with ``synchronous=FULL``, and works on what it took meanwhile. The reference is a process
with one aiohttp handler that reads the body, verifies the HMAC and keeps nothing. A value is the
time of a round divided by its deliveries; so the ratio is our deliveries a second divided by the
reference's. Rounds are interleaved and take turns in who goes first; before the next one begins,
the service has worked on all that it stored, so that it takes nothing from the reference.

Each connection comes from a loopback address of its own, as a flood from many senders would:
one address alone is slowed down to 100 requests a second, after a burst of 1,000.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.figures import Measured, compute_p50, compute_p95
from benchmarks.flood import BODY_BYTES, Flood, make_body, make_request, send_flood
from benchmarks.installation import DidNotHappenError, Installation
from benchmarks.memory import read_tree
from benchmarks.records import ROOT
from gitopsd.domain.manifests import Json
from gitopsd.domain.work import WorkKind
from tests.support.git_http import GitHost, run_git_http
from tests.support.processes import ServerProcess, inherited_environment, wait_until

ROUNDS = 10
WARM_UP_ROUNDS = 2
DELIVERIES = 2000
CONNECTIONS = 32
REPOSITORIES = 50
REQUIRED = 0.05
"""A floor that shows a loss; the aim is 0.4."""
SOURCES = tuple(f"127.0.1.{number + 1}" for number in range(CONNECTIONS))
WITHIN = timedelta(seconds=120)
_MEGABYTE = 1000 / 1.024  # kB of the kernel are 1,024 bytes, MB of people 10**6
_HEAD = "apiVersion: gitopsd.io/v1\n"


@dataclass(frozen=True, slots=True)
class Round:
    """One flood.

    Attributes:
        sent: What came of it.
        worked_after: Seconds from the last answer until all of it was worked on.
        megabytes: What the service's process tree held right after the last answer.
    """

    sent: Flood
    worked_after: float = 0.0
    megabytes: float = 0.0

    @property
    def milliseconds_each(self) -> float:
        """Milliseconds per delivery."""
        return 1000 * self.sent.seconds / DELIVERIES


@dataclass(frozen=True, slots=True)
class Sides:
    """Who is sent to.

    Attributes:
        host: The Git host that the deliveries come from, so to say.
        head: What the followed branch points to.
        service: Ours.
        bare_url: The reference.
    """

    host: GitHost
    head: str
    service: Installation
    bare_url: str

    @property
    def secret(self) -> bytes:
        """What both sides verify with."""
        return (self.service.directory / "github.secret").read_bytes()


def measure(rounds: int | None = None) -> Measured:
    """Measure both sides."""
    return asyncio.run(_measure(rounds or ROUNDS))


async def _measure(rounds: int) -> Measured:
    async with _run_sides() as sides:
        at_rest = _megabytes(sides.service)
        ours: list[Round] = []
        theirs: list[Round] = []
        for number in range(-WARM_UP_ROUNDS, rounds):
            bodies = _write_bodies(sides, number)
            for is_ours in (True, False) if number % 2 else (False, True):
                done = await (_flood_ours if is_ours else _flood_theirs)(sides, bodies)
                if number >= 0:
                    (ours if is_ours else theirs).append(done)
    return Measured(
        "ms",
        [one.milliseconds_each for one in ours],
        [one.milliseconds_each for one in theirs],
        "aiohttp handler that reads the body, verifies the HMAC and keeps nothing",
        required=REQUIRED,
        details=_describe(ours, theirs) | {"megabytes_at_rest": round(at_rest, 1)},
    )


@asynccontextmanager
async def _run_sides() -> AsyncIterator[Sides]:
    with tempfile.TemporaryDirectory(prefix="gitopsd-bench-webhook-") as folder:
        directory = Path(folder)
        async with run_git_http(directory / "git") as host:
            repository = host.create(_repository(0))
            head = repository.commit({"overlay/kustomization.yaml": "resources: [missing]\n"})
            service = Installation(directory / "gitopsd")
            _write_configuration(service, host.address(_repository(0)))
            bare = None
            try:
                await service.start()
                bare, bare_url = _start_bare(directory, service.directory / "github.secret")
                yield Sides(host, str(head), service, bare_url)
            finally:
                if bare is not None:
                    bare.stop()
                await service.stop()


def _repository(number: int) -> str:
    return f"repository-{number}.git"


def _write_configuration(service: Installation, address: str) -> None:
    """Write an application whose release does not render: nothing but deliveries makes work."""
    service.write_surroundings(service.directory / "kubeconfig")
    service.write(
        "clusters/one.yaml",
        f"{_HEAD}kind: Cluster\nmetadata: {{name: one}}\nspec: {{inCluster: true}}\n",
    )
    service.write(
        "applications/followed.yaml",
        f"{_HEAD}kind: Application\nmetadata: {{name: followed}}\nspec:\n"
        f"  source: {{repoURL: {address}, branch: main}}\n"
        "  stages: [{name: production, cluster: one, path: overlay, namespace: shop}]\n",
    )


def _start_bare(directory: Path, secret: Path) -> tuple[ServerProcess, str]:
    info = directory / "bare.json"
    command = [sys.executable, "-m", "benchmarks.bare_receiver", str(secret), str(info)]
    environment = inherited_environment("HOME", "PATH") | {"PYTHONPATH": str(ROOT)}
    log = directory / "bare.log"
    process = ServerProcess.start("the reference", command, log, environment=environment)
    within = timedelta(seconds=30)
    wait_until(info.exists, what="the reference to be ready", within=within, servers=[process])
    return process, str(json.loads(info.read_text())["url"])


def _write_bodies(sides: Sides, number: int) -> list[bytes]:
    bodies = []
    for index in range(DELIVERIES):
        repository = index % REPOSITORIES
        made = hashlib.sha1(f"{number} {index}".encode(), usedforsecurity=False).hexdigest()
        after = made if repository else sides.head
        bodies.append(make_body(sides.host.url, _repository(repository), after, seed=made))
    return bodies


async def _flood_theirs(sides: Sides, bodies: Sequence[bytes]) -> Round:
    return Round(await _flood(sides, sides.bare_url, bodies))


async def _flood_ours(sides: Sides, bodies: Sequence[bytes]) -> Round:
    if sides.service.hook is None:
        raise DidNotHappenError("the service was not started")
    sent = await _flood(sides, sides.service.hook.url, bodies)
    megabytes, answered_at = _megabytes(sides.service), time.perf_counter()
    await sides.service.until(
        lambda: _is_worked_on(sides.service), "the deliveries to be worked on", WITHIN
    )
    return Round(sent, time.perf_counter() - answered_at, megabytes)


async def _flood(sides: Sides, url: str, bodies: Sequence[bytes]) -> Flood:
    requests = [make_request(url, body, sides.secret) for body in bodies]
    sent = await send_flood(url, requests, SOURCES)
    if set(sent.statuses) != {202}:
        raise DidNotHappenError(f"answered {dict(sent.statuses)}\n{sides.service.tail()}")
    return sent


async def _is_worked_on(service: Installation) -> bool:
    backlog = await service.read(lambda tx: tx.work.backlog())
    return not backlog.get(WorkKind.PROCESS_DELIVERY)


def _megabytes(service: Installation) -> float:
    pid = service.service.pid if service.service is not None else 0
    return sum(one.kilobytes for one in read_tree(pid)) / _MEGABYTE


def _describe(ours: Sequence[Round], theirs: Sequence[Round]) -> dict[str, Json]:
    worked = [DELIVERIES / (one.sent.seconds + one.worked_after) for one in ours]
    return {
        "body_bytes": BODY_BYTES,
        "deliveries": DELIVERIES,
        "connections": CONNECTIONS,
        "per_second_p50": round(compute_p50([1000 / one.milliseconds_each for one in ours])),
        "reference_per_second_p50": round(
            compute_p50([1000 / one.milliseconds_each for one in theirs])
        ),
        "worked_on_per_second_p50": round(compute_p50(worked)),
        "answer_milliseconds": _tell_answers(ours),
        "reference_answer_milliseconds": _tell_answers(theirs),
        "megabytes_in_flood": round(max(one.megabytes for one in ours), 1),
    }


def _tell_answers(rounds: Sequence[Round]) -> dict[str, Json]:
    found = sorted(1000 * one for each in rounds for one in each.sent.answer_seconds)
    return {
        "p50": round(compute_p50(found), 2),
        "p95": round(compute_p95(found), 2),
        "p99": round(found[len(found) * 99 // 100], 2),
    }
