"""kill -9 at any moment changes no outcome.

The service runs as a child against a real control plane. A clean run records every distinct point
(run kind, step, port method or transaction, before or after); then the same story is played again
and again, with SIGKILL to the whole process group at each of those points, and at random moments.
What is compared: runs, verified sets, quarantines, approvals, and the live objects.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.store_ports import Transaction
from tests.support.images import crashing_image, web_image
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

SERVICE_MODULE = ("tests.support.crash_service",)
FEWEST_POINTS = 60
RANDOM_MOMENTS = 30
POINTS_A_STORY = 5
"""Points of one story are far apart, so that each is reached with the others' crashes behind it."""
STORIES_AT_ONCE = 2
SEED = "moments"


@dataclass(frozen=True)
class Outcome:
    """What a story left behind.

    Attributes:
        runs: Per stage: kind, phase and reason of each run, in order.
        verified: Per stage: how many verifications of which rendered set are in force.
        quarantined: Per stage: the release numbers whose bytes are quarantined.
        votes: Approvals that count, per stage.
        live: Live objects without what is this story's alone.
    """

    runs: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    verified: tuple[tuple[str, tuple[int, ...]], ...]
    quarantined: tuple[tuple[str, tuple[int, ...]], ...]
    votes: int
    live: str


class Supervisor:
    """Starts the service again whenever it was killed, as a machine's init would."""

    def __init__(self, site: ServiceSite, environment: dict[str, str]) -> None:
        self.site = site
        self.crashes = 0
        self._environment = environment
        self._task = asyncio.create_task(self._watch(), name="supervisor")

    async def _watch(self) -> None:
        while True:
            service = self.site.service
            if service is not None and service.popen.poll() is not None:
                self.crashes += 1
                self.site.service = None
                self.site.start(SERVICE_MODULE, **self._environment)
            await _pause()

    def kill(self) -> None:
        """Kill the whole group of the service now."""
        service = self.site.service
        if service is not None:
            with suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Stop starting it again."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def _pause() -> None:
    loop = asyncio.get_running_loop()
    later: asyncio.Future[None] = loop.create_future()
    loop.call_later(0.05, later.set_result, None)
    await later


@asynccontextmanager
async def supervised(
    cluster: ControlPlane, registry: RegistryServer, directory: Path, **environment: str
) -> AsyncIterator[tuple[ServiceSite, Supervisor]]:
    """Run a site whose service is started again after every crash."""
    async with run_site(cluster, registry, directory, start=False) as site:
        site.environment["GITOPSD_POLL_INTERVAL"] = "2s"
        site.start(SERVICE_MODULE, **environment)
        supervisor = Supervisor(site, environment)
        try:
            await site.ready()
            yield site, supervisor
        finally:
            await supervisor.close()


async def play(site: ServiceSite, images: dict[str, str]) -> Outcome:
    """Play the story: a good release into production, then a bad one that is rolled back."""
    good = [DEPLOYMENT.format(image=images["good"]), SERVICE, config_map("settings", mode="good")]
    bad = [DEPLOYMENT.format(image=images["bad"]), SERVICE, config_map("added", mode="bad")]
    await _push(site, "good", good)
    await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, within=timedelta(minutes=2))
    await _approve(site)
    await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, within=timedelta(minutes=2))
    await _push(site, "bad", bad)
    await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED, within=timedelta(minutes=2))
    return await outcome_of(site)


async def _push(site: ServiceSite, message: str, manifests: Sequence[str]) -> None:
    """Push; a webhook that finds nobody at home is not sent again, as with GitHub."""
    await site.refresh()
    await site.push(message, *manifests, ring=True)


async def _approve(site: ServiceSite) -> None:
    """Approve until the vote is stored, as a person would who gets no answer."""
    run = await site.until_run(
        PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE, within=timedelta(minutes=2)
    )

    async def voted() -> bool:
        votes = await site.read(lambda tx: tx.votes.of_run(run.id))
        if votes:
            return True
        with suppress(aiohttp.ClientError, AssertionError, OSError, TimeoutError):
            await site.refresh()
            await site.call("POST", f"/api/v1/runs/{run.id}/approve", {"plan": run.plan})
        return False

    await site.until(voted, "the approval is stored", timedelta(minutes=2))


async def outcome_of(site: ServiceSite) -> Outcome:
    """Read what the story left."""
    stored: dict[str, Any] = await site.read(lambda tx: _stored(tx, site))
    live = {stage: site.live(stage) for stage in (STAGING, PRODUCTION)}
    return Outcome(**stored, live=str(live).replace(site.suffix, "SITE"))


def _stored(tx: Transaction, site: ServiceSite) -> dict[str, Any]:
    from gitopsd.domain.work import Page  # noqa: PLC0415 - used once

    runs, verified, quarantined, votes = [], [], [], 0
    for stage in (STAGING, PRODUCTION):
        key = site.key(stage)
        found = list(reversed(tx.runs.page(Page(200), stage=key)))
        numbers = {run.release: index for index, run in reversed(list(enumerate(found)))}
        runs.append(
            (
                stage,
                tuple(
                    (
                        run.kind.value,
                        run.phase.value,
                        run.failure.reason if run.failure is not None else "",
                    )
                    for run in found
                ),
            )
        )
        kept = [item for item in tx.verifications.page(key) if item.revoked_at is None]
        verified.append((stage, tuple(sorted(numbers[item.release] for item in kept))))
        held = tx.quarantines.in_force(key)
        quarantined.append((stage, tuple(sorted(numbers[item.release] for item in held))))
        votes += sum(vote.void_at is None for run in found for vote in tx.votes.of_run(run.id))
    return {
        "runs": tuple(runs),
        "verified": tuple(verified),
        "quarantined": tuple(quarantined),
        "votes": votes,
    }


@pytest.fixture
def images(cluster_registry: RegistryServer) -> dict[str, str]:
    """The two images of the story."""
    return {
        "good": cluster_registry.push(web_image("1"), "crash/api:1").pinned,
        "bad": cluster_registry.push(crashing_image("2"), "crash/api:2").pinned,
    }


async def record(
    cluster: ControlPlane, registry: RegistryServer, directory: Path, images: dict[str, str]
) -> tuple[Outcome, list[str]]:
    """Play the story once without a crash; returns what it left and every point it passed."""
    points = directory / "points"
    async with supervised(cluster, registry, directory / "clean", CRASH_RECORD=str(points)) as (
        site,
        supervisor,
    ):
        clean = await play(site, images)
        assert supervisor.crashes == 0
    return clean, [line for line in points.read_text().splitlines() if _counts(line)]


def _counts(point: str) -> bool:
    """Leave out what is no part of the story: heartbeats and the like outside of any work."""
    return not point.startswith("- ")


async def crash_at(
    cluster: ControlPlane,
    registry: RegistryServer,
    directory: Path,
    images: dict[str, str],
    points: Sequence[str],
) -> tuple[Outcome, set[str]]:
    """Play the story with a crash at each of some points; returns those that were reached."""
    armed = _arm(directory, points)
    async with supervised(cluster, registry, directory / "site", CRASH_AT=str(armed)) as (
        site,
        supervisor,
    ):
        outcome = await play(site, images)
        fired = armed.with_suffix(".fired")
        reached = set(fired.read_text().splitlines()) if fired.exists() else set()
        assert supervisor.crashes == len(reached)
    return outcome, reached


def _arm(directory: Path, points: Sequence[str]) -> Path:
    directory.mkdir(parents=True)
    armed = directory / "armed.txt"
    armed.write_text("\n".join(points))
    return armed


@pytest.mark.timeout(2400)
async def test_a_crash_at_any_point_changes_no_outcome(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: dict[str, str],
    tmp_path: Path,
) -> None:
    """SIGKILL at each distinct point of a clean run: every story ends as the clean one did."""
    directory = tmp_path / node.name
    directory.mkdir()
    clean, points = await record(control_plane, cluster_registry, directory, images)
    assert len(points) >= FEWEST_POINTS
    stride = -(-len(points) // POINTS_A_STORY)
    groups = [points[start::stride] for start in range(stride)]
    limit = asyncio.Semaphore(STORIES_AT_ONCE)
    reached: set[str] = set()

    async def story(number: int, group: Sequence[str]) -> None:
        async with limit:
            place = directory / f"story-{number}"
            outcome, seen = await crash_at(control_plane, cluster_registry, place, images, group)
        assert outcome == clean, f"after crashes at {sorted(seen)}"
        reached.update(seen)

    async with asyncio.TaskGroup() as stories:
        for number, group in enumerate(groups):
            stories.create_task(story(number, group))
    missed = [point for point in points if point not in reached]
    for number, point in enumerate(missed):
        outcome, seen = await crash_at(
            control_plane, cluster_registry, directory / f"alone-{number}", images, [point]
        )
        assert outcome == clean, f"after a crash at {point}"
        reached.update(seen)
    assert len(reached) >= FEWEST_POINTS


@pytest.mark.timeout(1200)
async def test_crashes_at_random_moments_change_no_outcome(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: dict[str, str],
    tmp_path: Path,
) -> None:
    """Thirty kills at moments that nobody chose, several in each story, change nothing."""
    directory = tmp_path / node.name
    directory.mkdir()
    clean, _ = await record(control_plane, cluster_registry, directory, images)
    moments = _moments()
    killed = 0
    story = 0
    while killed < RANDOM_MOMENTS:
        story += 1
        async with supervised(control_plane, cluster_registry, directory / f"random-{story}") as (
            site,
            supervisor,
        ):
            killer = asyncio.create_task(_kill_now_and_then(supervisor, moments))
            try:
                outcome = await play(site, images)
            finally:
                killer.cancel()
                await asyncio.gather(killer, return_exceptions=True)
            killed += supervisor.crashes
        assert outcome == clean


def _moments() -> Iterator[float]:
    """Yield seconds between 0.7 and 3.5 without any pattern, the same in every run."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{SEED}{number}".encode()).digest()
        yield 0.7 + 2.8 * digest[0] / 255
        number += 1


async def _kill_now_and_then(supervisor: Supervisor, moments: Iterator[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        later: asyncio.Future[None] = loop.create_future()
        loop.call_later(next(moments), later.set_result, None)
        await later
        supervisor.kill()
