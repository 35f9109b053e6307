"""kill -9 at any moment changes no outcome.

The service runs as a child against a real control plane. A clean run records every distinct point
(run kind, step, port method or transaction, before or after); then the same story is played again
and again, with SIGKILL to the whole process group at each of those points, and at random moments.
What is compared: runs, verified sets, quarantines, approvals, inventories, and the live objects.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.work import Page
from gitopsd.kube.inventory import decode_inventory, inventory_name
from gitopsd.store_ports import Transaction
from tests.support.images import crashing_image, web_image
from tests.support.nursery import run_nursery
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
)
from tests.support.supervisor import Place, Supervisor, pass_time, push_again, supervised

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

FEWEST_POINTS = 60
RANDOM_MOMENTS = 30
KILLS_A_STORY = 6
POINTS_A_STORY = 12
"""Points of one story are far apart, so that each is reached with the others' crashes behind it."""
STORIES_AT_ONCE = 2
SEED = "moments"
PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class Outcome:
    """What a story left behind.

    Attributes:
        runs: Per stage: kind, phase and reason of each run, in order.
        verified: Per stage: which release each verification in force is of.
        quarantined: Per stage: the releases whose bytes are quarantined.
        votes: Approvals that count.
        inventories: Per stage: the objects that gitopsd says it applied.
        live: Live objects without what is this story's alone.
    """

    runs: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    verified: tuple[tuple[str, tuple[int, ...]], ...]
    quarantined: tuple[tuple[str, tuple[int, ...]], ...]
    votes: int
    inventories: str
    live: str


@pytest.fixture
def place(
    control_plane: ControlPlane, cluster_registry: RegistryServer, node: Node, tmp_path: Path
) -> Iterator[Place]:
    """A control plane with a node, and a nursery for the service."""
    directory = tmp_path / node.name
    directory.mkdir()
    with run_nursery() as nursery:
        yield Place(
            control_plane,
            cluster_registry,
            nursery,
            directory,
            good=cluster_registry.push(web_image("1"), "crash/api:1").pinned,
            bad=cluster_registry.push(crashing_image("2"), "crash/api:2").pinned,
        )


async def play(place: Place, site: ServiceSite) -> Outcome:
    """Play the story: a good release into production, then a bad one that is rolled back."""
    good = [DEPLOYMENT.format(image=place.good), SERVICE, config_map("settings", mode="good")]
    bad = [DEPLOYMENT.format(image=place.bad), SERVICE, config_map("added", mode="bad")]
    await push_again(site, "good", good)
    await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, within=PATIENCE)
    await _approve(site)
    await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, within=PATIENCE)
    await push_again(site, "bad", bad)
    await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED, within=PATIENCE)
    return await outcome_of(site)


async def _approve(site: ServiceSite) -> None:
    """Approve until the vote is stored, as a person would who gets no answer."""
    run = await site.until_run(
        PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE, within=PATIENCE
    )

    async def voted() -> bool:
        if await site.read(lambda tx: tx.votes.of_run(run.id)):
            return True
        with suppress(aiohttp.ClientError, AssertionError, OSError):
            await site.refresh()
            await site.call("POST", f"/api/v1/runs/{run.id}/approve", {"plan": run.plan})
        return False

    await site.until(voted, "the approval is stored", PATIENCE)


async def outcome_of(site: ServiceSite) -> Outcome:
    """Read what the story left."""
    stored: dict[str, Any] = await site.read(lambda tx: _stored(tx, site))
    stages = (STAGING, PRODUCTION)
    live = str({stage: site.live(stage) for stage in stages})
    inventories = str({stage: _inventory(site, stage) for stage in stages})
    return Outcome(
        **stored,
        inventories=inventories.replace(site.suffix, "SITE"),
        live=live.replace(site.suffix, "SITE"),
    )


def _inventory(site: ServiceSite, stage: str) -> list[str]:
    name = inventory_name(site.application, site.key(stage).stage)
    found = site.cluster.client.get(f"/api/v1/namespaces/gitopsd/configmaps/{name}")
    return sorted(str(entry.ref.key) for entry in decode_inventory(found).entries)


def _stored(tx: Transaction, site: ServiceSite) -> dict[str, Any]:
    runs, verified, quarantined, votes = [], [], [], 0
    for stage in (STAGING, PRODUCTION):
        key = site.key(stage)
        found = list(reversed(tx.runs.page(Page(200), stage=key)))
        numbers = {run.release: index for index, run in reversed(list(enumerate(found)))}
        endings = tuple(
            (run.kind.value, run.phase.value, run.failure.reason if run.failure else "")
            for run in found
        )
        runs.append((stage, endings))
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


async def record(place: Place) -> tuple[Outcome, list[str]]:
    """Play the story once without a crash; returns what it left and every point it passed."""
    points = place.directory / "points"
    async with supervised(place, "clean", CRASH_RECORD=str(points)) as (site, supervisor):
        clean = await play(place, site)
        assert supervisor.crashes == 0
    return clean, points.read_text().splitlines()


async def crash_at(
    place: Place, name: str, points: Sequence[str], clean: Outcome
) -> tuple[str, ...]:
    """Play the story with a crash at each of some points; returns those that were reached.

    Raises:
        AssertionError: It did not end as the clean one did; names the points.
    """
    armed = place.directory / f"{name}.armed"
    armed.write_text("\n".join(points))
    fired = armed.with_suffix(".fired")

    def reached() -> tuple[str, ...]:
        return tuple(fired.read_text().splitlines()) if fired.exists() else ()

    async with supervised(place, name, CRASH_AT=str(armed)) as (site, _):
        try:
            outcome = await play(place, site)
        except AssertionError as error:
            message = f"after crashes at {reached()}: {error}"
            raise AssertionError(message) from error
    assert outcome == clean, f"after crashes at {reached()}"
    return reached()


@pytest.mark.timeout(1500)
async def test_a_crash_at_any_point_changes_no_outcome(place: Place) -> None:
    """SIGKILL at each distinct point of a clean run: every story ends as the clean one did."""
    clean, points = await record(place)
    assert len(points) >= FEWEST_POINTS
    stride = -(-len(points) // POINTS_A_STORY)
    limit = asyncio.Semaphore(STORIES_AT_ONCE)
    reached: set[str] = set()

    async def story(name: str, group: Sequence[str]) -> None:
        async with limit:
            reached.update(await crash_at(place, name, group, clean))

    async with asyncio.TaskGroup() as stories:
        for start in range(stride):
            stories.create_task(story(f"story-{start}", points[start::stride]))
    missed = [point for point in points if point not in reached]
    async with asyncio.TaskGroup() as stories:
        for number, point in enumerate(missed):
            stories.create_task(story(f"alone-{number}", [point]))
    unreached = [point for point in points if point not in reached]
    assert len(unreached) <= len(points) // 20, unreached
    assert len(reached) >= FEWEST_POINTS


@pytest.mark.timeout(900)
async def test_crashes_at_random_moments_change_no_outcome(place: Place) -> None:
    """Thirty kills at moments that nobody chose, several in each story, change nothing."""
    clean, _ = await record(place)
    moments = _moments()
    limit = asyncio.Semaphore(STORIES_AT_ONCE)
    killed = 0

    async def story(name: str) -> None:
        nonlocal killed
        async with limit, supervised(place, name) as (site, supervisor):
            killer = asyncio.create_task(_kill_now_and_then(supervisor, moments))
            try:
                outcome = await play(place, site)
            finally:
                killer.cancel()
                await asyncio.gather(killer, return_exceptions=True)
            killed += supervisor.crashes
        assert outcome == clean

    number = 0
    while killed < RANDOM_MOMENTS:
        async with asyncio.TaskGroup() as stories:
            for _ in range(-(-(RANDOM_MOMENTS - killed) // KILLS_A_STORY)):
                number += 1
                stories.create_task(story(f"random-{number}"))


def _moments() -> Iterator[float]:
    """Yield seconds between 0.7 and 3.5 without any pattern, the same in every run."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{SEED}{number}".encode()).digest()
        yield 0.7 + 2.8 * digest[0] / 255
        number += 1


async def _kill_now_and_then(supervisor: Supervisor, moments: Iterator[float]) -> None:
    for _ in range(KILLS_A_STORY):
        await pass_time(next(moments))
        supervisor.kill()
