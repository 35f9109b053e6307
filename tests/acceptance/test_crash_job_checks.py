"""A process that dies after everything it does runs no Job of a check twice, in virtual time.

Real: everything of the engine, and the checks. In memory: everything outside. Every moment of a
release with Jobs in Verify and Certify is tried.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import JobCheck
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.daemon import Daemon
from gitopsd.testing.workloads import Workload
from tests.support.crash_world import Life, MortalPort, Process, Schedule
from tests.support.engine_world import STAGING, World, deployment, make_world, shop_spec

pytestmark = pytest.mark.looptime

IMAGE, SMOKE = "registry.example/api:1", "registry.example/smoke:1"
SECOND = timedelta(seconds=1)
TEMPLATE: JsonObject = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "smoke", "annotations": {"gitopsd.io/hook": "Verify"}},
    "spec": {"template": {"spec": {"containers": [{"name": "job", "image": SMOKE}]}}},
}
FEWEST_EFFECTS = 20


class CheckingProcess(Process):
    """A process whose checks die with it, too."""

    def _daemon(self, life: Life) -> Daemon:
        clusters = cast("Any", MortalPort(self.world.services.clusters, "clusters", life))
        verifier = VerifierByKind(clusters, self.world.clock)
        self.world.services = replace(self.world.services, verifier=verifier)
        return super()._daemon(life)


@asynccontextmanager
async def living(world: World, schedule: Schedule) -> AsyncIterator[CheckingProcess]:
    """Keep the process alive until the block ends."""
    process = CheckingProcess(world, schedule)
    task = asyncio.create_task(process.run(), name="lives")
    try:
        yield process
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def play(ends: tuple[int, ...]) -> tuple[list[str], list[str], Run, list[list[str]]]:
    """Release once; the Jobs that were made, the attempts that were kept, the run, the lives."""
    spec = shop_spec()
    check = JobCheck("smoke", "smoke", timeout=60 * SECOND)
    staging = replace(spec.stages[0], verify=(check,), certify=6 * SECOND)
    world = make_world(replace(spec, stages=(staging,)))
    world.cluster.workloads[SMOKE] = Workload(5 * SECOND)
    async with living(world, Schedule(ends)) as process:
        await world.push("one", deployment(IMAGE), TEMPLATE)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.until(process.is_idle, "the outbox is empty")
        pieces = await world.store.read(lambda tx: tx.runs.evidence(run.id))
        effects = [life.effects for life in process.lives]
    made = [what for method, what in world.cluster.writes() if method == "create" and "Job" in what]
    kept = [
        str(piece.content["name"])
        for piece in pieces
        if piece.kind is EvidenceKind.CHECK and isinstance(piece.content, dict)
    ]
    assert not [name for name in world.cluster.live() if name.startswith("Job")]
    return made, kept, run, effects


@pytest.mark.timeout(120)
async def test_no_job_runs_twice_wherever_the_process_dies() -> None:
    """Three attempts, three Jobs, each taken away in the end, whatever the moment.

    Before the first Job begins there is none to run twice: that part is `test_crash_schedules`'s.
    """
    made, kept, _, [effects] = await play(())
    assert kept == ["verify-1", "certify-1", "certify-2"]
    assert len(set(made)) == len(made) == 3
    first = effects.index("cluster.create")
    assert len(effects) - first >= FEWEST_EFFECTS

    for number in range(first, len(effects) + 1):
        again, attempts, run, lives = await play((number,))
        where = f"killed after effect {number}, {lives[0][-1]}"
        assert Counter(name.rpartition("-")[0] for name in again) == Counter(
            name.rpartition("-")[0] for name in made
        ), where
        assert len(set(again)) == len(again) == 3, where
        assert (attempts, run.phase) == (kept, Phase.SUCCEEDED), where
