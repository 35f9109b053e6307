"""Releases on their way through two stages, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.config import RollbackPolicy
from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import AbortReason, Phase, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.errors import TemporaryError
from gitopsd.testing.verifier import MemoryAnswer
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

GOOD, BAD, FIX = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"


async def test_a_good_push_reaches_production_through_an_approval() -> None:
    """A signed push goes to staging, is verified, waits for a person, and goes to production."""
    async with running_world() as world:
        await world.push("first", deployment(GOOD), config_map("settings", mode="a"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.approve()
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        stage = await world.stage(PRODUCTION)
        assert stage.verified == f"v-{run.id}"
        assert stage.front is None
        assert set(world.cluster.live()) == {
            "Deployment shop/api",
            "Deployment shop-staging/api",
            "ConfigMap shop/settings",
            "ConfigMap shop-staging/settings",
        }


async def test_a_binding_comes_with_its_role() -> None:
    """The server finds no such role in the dry-run; it is asked again when the role is there."""
    group = "rbac.authorization.k8s.io"
    role: JsonObject = {"kind": "Role", "metadata": {"name": "reader"}}
    names: JsonObject = {"apiGroup": group, "kind": "Role", "name": "reader"}
    binding: JsonObject = {"kind": "RoleBinding", "metadata": {"name": "reader"}, "roleRef": names}
    async with running_world() as world:

        def refuse(method: str, ref: ObjectRef, _: JsonObject) -> ApiRefusal | None:
            known = f"Role {ref.key.namespace}/reader" in world.cluster.live()
            if method != "apply" or ref.key.kind != "RoleBinding" or known:
                return None
            return ApiRefusal(404, "NotFound", 'roles.rbac.authorization.k8s.io "reader" not found')

        world.cluster.refuse = refuse
        manifests: list[JsonObject] = [
            {"apiVersion": f"{group}/v1", **item} for item in (binding, role)
        ]
        await world.push("first", deployment(GOOD), *manifests)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert "RoleBinding shop-staging/reader" in world.cluster.live()


async def test_nothing_reaches_production_without_the_approval() -> None:
    """A release that waits at its Gate writes nothing to production."""
    async with running_world() as world:
        await world.push("first", deployment(GOOD))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(timedelta(hours=1))

        assert not [name for name in world.cluster.live() if " shop/" in name]


async def test_a_crashing_release_is_rolled_back_and_its_fix_flows() -> None:
    """A definite failure in staging restores what was verified; the next push goes through."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(
            None, "CrashLoopBackOff", "back-off restarting", restarts=3, log=("fatal: no database",)
        )
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD), config_map("added", mode="b"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.failure is not None
        assert failed.failure.reason == "CrashLoopBackOff"
        assert "Deployment shop-staging/api" in failed.failure.message
        live = world.cluster.live()
        assert "ConfigMap shop-staging/settings" in live
        assert "ConfigMap shop-staging/added" not in live
        assert GOOD in str(live["Deployment shop-staging/api"])

        await world.push("fix", deployment(FIX))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_the_same_bad_bytes_are_not_admitted_again() -> None:
    """A second push of quarantined bytes ends before it writes anything."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        written = len(world.cluster.writes())
        await world.push("elsewhere", deployment(GOOD), config_map("other", a="b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        written = len(world.cluster.writes())
        await world.push("bad again", deployment(BAD))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)

        assert run.failure is not None
        assert run.failure.reason == AbortReason.QUARANTINED.value
        assert len(world.cluster.writes()) == written


async def test_a_failed_smoke_test_in_production_rolls_back() -> None:
    """A check that fails in production restores production and leaves staging alone."""
    async with running_world() as world:
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        await world.approve()
        failed = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        world.verifier.serve("api", MemoryAnswer(), path="/health")
        await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.step is Step.VERIFY
        assert GOOD in str(world.cluster.live()["Deployment shop/api"])
        assert BAD in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_release_that_never_becomes_ready_fails_at_its_deadline() -> None:
    """The health timeout ends it Failed (DeadlineExceeded), and it is rolled back."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert failed.failure.reason == "DeadlineExceeded"
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_deadline_says_what_was_seen_last() -> None:
    """What hung at first and came up meanwhile is not blamed for what never does."""
    spec = shop_spec()
    quick = replace(spec.stages[0], health_timeout=timedelta(seconds=20))
    async with running_world(replace(spec, stages=(quick, *spec.stages[1:]))) as world:
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=12))
        world.cluster.workloads[BAD] = Workload(None)
        await world.push("good and bad", deployment(GOOD), deployment(BAD, "web"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert failed.failure.reason == "DeadlineExceeded"
        assert "not healthy: Deployment shop-staging/web: " in failed.failure.message


async def test_a_stuck_release_is_overtaken_by_its_fix() -> None:
    """A newer release with open gates takes over from one that waits; nothing is rolled back."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("stuck", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await world.push("fix", deployment(FIX))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        aborted = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert aborted.failure is not None
        assert aborted.failure.reason == AbortReason.SUPERSEDED.value
        assert not [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]


@pytest.mark.parametrize(
    "third, ends",
    [
        (Workload(None), "DeadlineExceeded"),
        (Workload(None, "ImagePullBackOff", "connection refused"), AbortReason.SUPERSEDED.value),
    ],
    ids=["quiet", "failing"],
)
async def test_the_third_in_a_row_is_overtaken_only_when_something_fails(
    third: Workload, ends: str
) -> None:
    """Two overtaken while they wait: the third may finish unless it shows a failing signal."""
    async with running_world() as world:
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        for number, workload in enumerate((Workload(None), Workload(None), third)):
            image = f"registry.example/api:stuck-{number}"
            world.cluster.workloads[image] = workload
            await world.push(f"stuck {number}", deployment(image))
            if number:
                await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED, count=number)
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await world.push("fix", deployment(FIX))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        rollouts = [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLOUT]
        reasons = [run.failure.reason for run in rollouts if run.failure is not None]
        assert reasons == [AbortReason.SUPERSEDED.value] * 2 + [ends]


async def test_a_first_release_that_fails_calls_a_person_and_its_fix_flows() -> None:
    """Without anything to restore the stage is stalled (NoTarget); a fix still goes through."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        stage = await world.stage(STAGING)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.NO_TARGET

        await world.push("fix", deployment(FIX))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert (await world.stage(STAGING)).stall is None


async def test_a_manual_policy_calls_a_person_instead_of_rolling_back() -> None:
    """With rollback policy manual a failure stalls the stage and touches nothing."""
    spec = shop_spec(lambda stage: replace(stage, rollback_policy=RollbackPolicy.MANUAL))
    async with running_world(spec) as world:
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)

        stage = await world.stage(PRODUCTION)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.MANUAL
        assert not [run for run in await world.runs(PRODUCTION) if run.kind is RunKind.ROLLBACK]


async def test_an_unreachable_cluster_is_never_a_verdict() -> None:
    """A server that answers nothing ends the run Errored; nothing is quarantined, it is retried."""
    async with running_world() as world:
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[FIX] = Workload(timedelta(seconds=30))
        await world.push("next", deployment(FIX))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        world.cluster.fault = lambda _method, _ref: TemporaryError("no answer")
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        found = await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
        assert not found
        assert not [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]


async def test_a_push_without_a_webhook_is_seen_by_the_poll() -> None:
    """With no webhook at all a push is live within one poll interval."""
    async with running_world() as world:
        began = world.clock.now()
        await world.push("good", deployment(GOOD), hint=False)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert world.clock.now() - began < timedelta(seconds=75)


async def test_while_an_approval_is_pending_newer_releases_replace_the_waiting_one() -> None:
    """Three newer releases arrive at the Gate: only the newest waits, and only it is applied."""
    async with running_world() as world:
        for number in range(4):
            await world.push(f"release {number}", deployment(f"registry.example/api:{number}"))
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number + 1)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(timedelta(seconds=30))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert "registry.example/api:3" in str(world.cluster.live()["Deployment shop/api"])
        aborted = [run for run in await world.runs(PRODUCTION) if run.phase is Phase.ABORTED]
        assert len(aborted) == 3


async def test_a_rejected_release_is_not_offered_again() -> None:
    """A rejection ends the run; the next push is offered."""
    async with running_world() as world:
        await world.push("first", deployment(GOOD))
        waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.reject(APPROVER, waiting.id, "", "not today")
        ended = await world.run(waiting.id)
        assert ended.phase is Phase.ABORTED
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.REJECTED.value
        await world.clock.sleep(timedelta(minutes=30))
        assert len(await world.runs(PRODUCTION)) == 1

        await world.push("second", deployment(FIX))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_what_runs_come_to_is_counted() -> None:
    """Ended runs, rollbacks with their reason, and the time from push to live are measured."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        await world.clock.sleep(timedelta(seconds=2))
        place = (("application", "shop"), ("stage", "staging"))
        counts = world.telemetry.counts
        for kind, phase in (
            ("Rollout", "Succeeded"),
            ("Rollout", "Failed"),
            ("Rollback", "Succeeded"),
        ):
            labels = (place[0], ("kind", kind), ("phase", phase), place[1])
            assert counts["gitopsd_run_total", labels] == 1
        reason = (place[0], ("reason", "CrashLoopBackOff"), place[1])
        assert counts["gitopsd_rollbacks_total", reason] == 1
        assert len(world.telemetry.observations["gitopsd_push_to_live_seconds", place]) == 1
        assert world.telemetry.observations["gitopsd_step_duration_seconds", (("step", "Apply"),)]
        assert world.telemetry.observations["gitopsd_queue_wait_seconds", ()]
        assert world.telemetry.observations["gitopsd_git_request_duration_seconds", ()]
        assert world.telemetry.observations["gitopsd_event_loop_lag_seconds", ()]
