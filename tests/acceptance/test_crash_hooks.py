"""kill -9 around a migration runs it once.

The service runs as a child against a real control plane, with a PreSync Job that appends a line to
a file outside of the cluster. It is killed at every point that it passes on its way through
Prepare; the API server's audit log and the file are the witnesses.
"""

from __future__ import annotations

import asyncio
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
  name: migrate
  annotations: {{argocd.argoproj.io/hook: PreSync}}
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
FEWEST_POINTS = 12
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
    """Bring one release with a migration through both stages; look at what the migration did."""
    out = site.directory / "migrations"
    job = MIGRATION.format(image=place.bad, out=out)
    await push_again(site, "with a migration", [DEPLOYMENT.format(image=place.good), SERVICE, job])
    for stage in (STAGING, PRODUCTION):
        await site.until_run(stage, RunKind.ROLLOUT, Phase.SUCCEEDED, within=PATIENCE)
        assert len(await site.runs(stage)) == 1
    assert out.read_text().splitlines() == ["moved", "moved"]
    assert _created(site) == dict.fromkeys(site.namespaces.values(), 1)


def _created(site: ServiceSite) -> dict[str, int]:
    """Count the Jobs that the API server created for us, by namespace."""
    counts = dict.fromkeys(site.namespaces.values(), 0)
    for event in site.cluster.audit_events():
        target = event.get("objectRef", {})
        made = event["verb"] == "create" and event.get("responseStatus", {}).get("code") == 201
        if made and target.get("resource") == "jobs" and target.get("namespace") in counts:
            counts[target["namespace"]] += 1
    return counts


@pytest.mark.timeout(900)
async def test_a_crash_around_a_migration_runs_it_once(place: Place) -> None:
    """One create in the audit log and one line in the file, wherever the service dies."""
    record = place.directory / "points"
    async with supervised(place, "clean", gates="", CRASH_RECORD=str(record)) as (site, supervisor):
        await play(place, site)
        assert supervisor.crashes == 0
    points = [
        line for line in record.read_text().splitlines() if line.startswith("Rollout Prepare")
    ]
    assert len(points) >= FEWEST_POINTS
    assert any("cluster.create" in point for point in points)
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
