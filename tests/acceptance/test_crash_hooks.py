"""kill -9 around a migration runs it once.

The service runs as a child against a real control plane, with a PreSync Job and a Sync Job that
append a line to a file each, outside of the cluster. It is killed at every point that it passes on
its way through Prepare, and at those of Apply that are about its hook; the API server's audit log
and the files are the witnesses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.runs import Phase, RunKind
from tests.support.images import job_image, web_image
from tests.support.nursery import run_nursery
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
)
from tests.support.supervisor import Place, push_again, supervised

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

MIGRATION = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations: {{argocd.argoproj.io/hook: {phase}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: {image}
          env: [{{name: OUT, value: {out}}}]
"""
JOBS = {"migrate": "PreSync", "reshape": "Sync"}
FEWEST_POINTS = 12
SHARP = ("cluster.create ", "cluster.delete ", "HookWave", "StepContext.keep", "execution._report")
"""Points of Apply that are about its hook: what Apply does beside it is killed elsewhere."""
FEWEST_SHARP_POINTS = 6
POINTS_A_STORY = 4
PATIENCE = timedelta(minutes=2)


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
            good=cluster_registry.push(web_image("1"), "crash-hooks/api:1").pinned,
            bad=cluster_registry.push(
                job_image("moved", seconds=1.0, append_to="$(OUT)"), "crash-hooks/migrate:1"
            ).pinned,
        )


async def play(place: Place, site: ServiceSite) -> None:
    """Bring one release with two migrations through both stages; look at what those did."""
    jobs = [
        MIGRATION.format(name=name, phase=phase, image=place.bad, out=site.directory / name)
        for name, phase in JOBS.items()
    ]
    release = [DEPLOYMENT.format(image=place.good), SERVICE, *jobs]
    await push_again(site, "with migrations", release)
    for stage in (STAGING, PRODUCTION):
        await site.until_run(stage, RunKind.ROLLOUT, Phase.SUCCEEDED, within=PATIENCE)
        assert len(await site.runs(stage)) == 1
    for name in JOBS:
        assert (site.directory / name).read_text().splitlines() == ["moved", "moved"], name
    once = {(namespace, name): 1 for namespace in site.namespaces.values() for name in JOBS}
    assert _created(site) == once


def _created(site: ServiceSite) -> dict[tuple[str, str], int]:
    """Count the Jobs that the API server created for us, by namespace and name."""
    counts: Counter[tuple[str, str]] = Counter()
    for event in site.cluster.audit_events():
        target = event.get("objectRef", {})
        made = event["verb"] == "create" and event.get("responseStatus", {}).get("code") == 201
        ours = target.get("namespace") in site.namespaces.values()
        if made and ours and target.get("resource") == "jobs":
            counts[target["namespace"], target["name"]] += 1
    return dict(counts)


def choose_points(recorded: Sequence[str]) -> tuple[list[str], list[str]]:
    """Choose where to kill: everywhere in Prepare, and around the hook in Apply."""
    early = [point for point in recorded if point.startswith("Rollout Prepare")]
    late = [
        point
        for point in recorded
        if point.startswith("Rollout Apply") and any(word in point for word in SHARP)
    ]
    return early, late


@pytest.mark.timeout(900)
async def test_a_crash_around_a_migration_runs_it_once(place: Place) -> None:
    """One create in the audit log and one line in its file, wherever the service dies."""
    record = place.directory / "points"
    async with supervised(place, "clean", gates="", CRASH_RECORD=str(record)) as (site, supervisor):
        await play(place, site)
        assert supervisor.crashes == 0
    early, late = choose_points(record.read_text().splitlines())
    assert len(early) >= FEWEST_POINTS
    assert len(late) >= FEWEST_SHARP_POINTS
    for group in (early, late):
        assert sum("cluster.create" in point for point in group) == 2
    points = [*early, *late]
    reached: set[str] = set()
    limit = asyncio.Semaphore(2)

    async def story(name: str, group: Sequence[str]) -> None:
        armed = place.directory / f"{name}.armed"
        armed.write_text("\n".join(group))
        async with limit, supervised(place, name, gates="", CRASH_AT=str(armed)) as (site, _):
            await play(place, site)
        fired = armed.with_suffix(".fired")
        reached.update(fired.read_text().splitlines() if fired.exists() else [])

    async with asyncio.TaskGroup() as stories:
        stride = -(-len(points) // POINTS_A_STORY)
        for start in range(stride):
            stories.create_task(story(f"story-{start}", points[start::stride]))
    assert set(points) - reached == set()
