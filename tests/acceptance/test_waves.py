"""Waves of a release that never become healthy: each has its time, and no more.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    deployment,
    job,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

STORE, NEXT_STORE = "registry.example/store:1", "registry.example/store:2"
API, BAD = "registry.example/api:1", "registry.example/api:2"
TOOL = "registry.example/tool:1"
HEALTH, DEADLINE = timedelta(seconds=90), timedelta(seconds=180)
STUCK = Workload(None)
CRASHING = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)


def bounded() -> ApplicationSpec:
    """The usual application, whose staging has 90 s for health and 180 s for a restore."""
    spec = shop_spec()
    staging = replace(spec.stages[0], health_timeout=HEALTH, rollback_deadline=DEADLINE)
    return replace(spec, stages=(staging, *spec.stages[1:]))


def in_wave(obj: Mapping[str, Json], wave: str) -> dict[str, Json]:
    """Put an object into a wave."""
    metadata = obj["metadata"]
    assert isinstance(metadata, Mapping)
    marks = {"argocd.argoproj.io/sync-wave": wave}
    return {**obj, "metadata": {**metadata, "annotations": marks}}


def told(world: World, trigger: str) -> list[str]:
    """What was told under a trigger."""
    return [
        note.message
        for notes in world.notifier.received.values()
        for note in notes
        if note.trigger == trigger
    ]


def took(run: Run) -> timedelta:
    """How long a run lasted."""
    assert run.ended_at is not None
    assert run.started_at is not None
    return run.ended_at - run.started_at


@pytest.mark.parametrize("wave", ["-1", "1"])
async def test_a_restored_set_that_never_gets_healthy_ends_within_its_deadline(wave: str) -> None:
    """Failed, the stage stalled and people told, whether it hangs in an early wave or the last."""
    async with running_world(bounded()) as world:
        await world.push("good", in_wave(deployment(STORE, "store"), wave), deployment(API))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads.update({STORE: STUCK, BAD: CRASHING})
        await world.push("bad", in_wave(deployment(NEXT_STORE, "store"), wave), deployment(BAD))
        failed = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.FAILED)
        stage = await world.stage(STAGING)

        assert failed.step is (Step.APPLY if wave == "-1" else Step.WAIT_HEALTHY)
        assert failed.failure is not None
        assert failed.failure.reason == "DeadlineExceeded"
        assert "Deployment shop-staging/store" in failed.failure.message
        assert took(failed) <= DEADLINE + timedelta(seconds=5)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.ROLLBACK_FAILED
        assert len(told(world, "on-rollback-failed")) == 1
        assert len(await world.runs(STAGING)) == 3


async def test_each_wave_of_a_release_has_the_time_that_health_has() -> None:
    """A first wave that takes most of it leaves the second all of its own."""
    async with running_world(bounded()) as world:
        world.cluster.workloads.update(
            {
                STORE: Workload(HEALTH - timedelta(seconds=10)),
                API: Workload(HEALTH - timedelta(seconds=10)),
                NEXT_STORE: STUCK,
            }
        )
        await world.push(
            "good",
            in_wave(deployment(STORE, "store"), "-2"),
            in_wave(deployment(API), "-1"),
            deployment(TOOL, "last"),
        )
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push(
            "stuck",
            in_wave(deployment(NEXT_STORE, "store"), "-2"),
            in_wave(deployment(API), "-1"),
            deployment(TOOL, "last"),
        )
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.step is Step.APPLY
        assert failed.failure is not None
        assert failed.failure.reason == "DeadlineExceeded"
        assert failed.failure.message.startswith("wave -2 is not healthy after 90 s: ")
        assert HEALTH <= took(failed) <= HEALTH + timedelta(seconds=15)


async def test_a_waves_time_begins_when_the_hooks_beside_it_have_ended() -> None:
    """What waits for a migration of its own wave is not late because of it."""
    async with running_world(bounded()) as world:
        world.cluster.workloads.update(
            {
                TOOL: Workload(HEALTH * 2),
                STORE: Workload(HEALTH * 2 + timedelta(seconds=60)),
            }
        )
        await world.push(
            "good",
            in_wave(deployment(STORE, "store"), "-1"),
            _hook_in_wave("-1"),
            deployment(API),
        )
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert len(await world.runs(STAGING)) == 1


def _hook_in_wave(wave: str) -> dict[str, Json]:
    return dict(job(TOOL, hook="Sync", wave=wave))
