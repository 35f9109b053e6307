"""An API server in trouble is never a verdict: in no step, and not in a Rollback.

Faults are given by the cluster in memory, at the moment a run enters a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.ports import CheckAttempt
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

GOOD, NEXT, BAD = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"

CLUSTER_STEPS = (Step.VALIDATE, Step.DIFF, Step.APPLY, Step.WAIT_HEALTHY)
TROUBLES: dict[str, TemporaryError] = {
    "no answer": TemporaryError("GET one:/api: no answer within 10 s"),
    "500": TemporaryError("PATCH one:/apis/apps/v1: internal error"),
    "429": TemporaryError("too many requests", retry_after=timedelta(seconds=7)),
}


def _staging_only(stage_change: timedelta = timedelta(0)) -> Callable[[World], None]:
    """Give staging a Certify of that length."""

    def change(world: World) -> None:
        spec = shop_spec()
        first, second = spec.stages
        stages = (replace(first, certify=stage_change), second)
        configuration = world.configuration[0]
        world.configuration[0] = replace(
            configuration, applications={spec.name: replace(spec, stages=stages, digest="2")}
        )

    return change


def _trouble_in(world: World, kind: RunKind, step: Step, error: GitopsdError) -> list[str]:
    """Fail every request while the newest run of a kind is in a step; tell which failed."""
    failed: list[str] = []
    current: list[Step | None] = [None]

    def fault(method: str, _: ObjectRef | None) -> GitopsdError | None:
        if current[0] is step:
            failed.append(method)
            return error
        return None

    def note(tx: Transaction) -> None:
        live = [run for run in tx.runs.live() if run.kind is kind and run.stage == STAGING]
        current[0] = live[-1].step if live else None

    world.store.observe = note
    world.cluster.fault = fault
    return failed


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", CLUSTER_STEPS)
async def test_trouble_in_a_step_ends_errored_and_is_tried_again(step: Step, trouble: str) -> None:
    """Every step retries with back-off until its deadline, then Errored; no verdict follows."""
    async with running_world() as world:
        leaving = config_map("leaving")  # Diff looks at what leaves
        await world.push("good", deployment(GOOD), config_map("kept"), leaving)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        if step is Step.WAIT_HEALTHY:
            world.cluster.workloads[NEXT] = Workload(timedelta(seconds=20))
        failed = _trouble_in(world, RunKind.ROLLOUT, step, TROUBLES[trouble])
        await world.push("next", deployment(NEXT), config_map("kept"))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)

        assert run.step is step
        assert len(failed) >= 5
        assert run.failure is not None
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
        assert not [found for found in await world.runs(STAGING) if found.kind is RunKind.ROLLBACK]


@pytest.mark.parametrize("step", [Step.APPLY, Step.WAIT_HEALTHY])
async def test_trouble_in_a_rollback_is_tried_again_until_it_restores(step: Step) -> None:
    """A Rollback that cannot be done now ends Errored, a person is called, and it goes on."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        _trouble_in(world, RunKind.ROLLBACK, step, TemporaryError("no answer"))
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        stalled = (await world.stage(STAGING)).stall
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert stalled is not None
        assert GOOD in str(world.cluster.live()["Deployment shop-staging/api"])
        assert len(await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))) == 1


@pytest.mark.parametrize("certify", [timedelta(0), timedelta(seconds=20)])
async def test_checks_that_see_nothing_are_no_verdict(certify: timedelta) -> None:
    """In Verify and Certify an API server that does not answer leads to Errored, not to Failed."""
    async with running_world() as world:
        _staging_only(certify)(world)
        await world.configure(world.configuration[0])
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        unseen = CheckAttempt(passed=None, message="the API server did not answer")
        seen = CheckAttempt(passed=True, message="200")
        world.verifier.answer("api /health", *([seen] if certify else []), unseen)
        await world.push("next", deployment(NEXT))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)
        world.verifier.answer("api /health", seen)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert run.step is (Step.CERTIFY if certify else Step.VERIFY)
        assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
        assert not [found for found in await world.runs(STAGING) if found.kind is RunKind.ROLLBACK]
