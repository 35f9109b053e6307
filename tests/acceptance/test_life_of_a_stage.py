"""What changes around a run while it is under way, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import Configuration, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import Json, JsonObject, ObjectRef
from gitopsd.domain.releases import Line, OfferKind
from gitopsd.domain.runs import AbortReason, Phase, RunKind, Step
from gitopsd.domain.sources import DeliveryState
from gitopsd.domain.stages import Freeze, RestoredChoice
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import Page
from gitopsd.engine.actions import ActionDone
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE, TWO, THREE = (f"registry.example/api:{number}" for number in (1, 2, 3))


def with_staging(world: World, digest: str, **changes: object) -> Configuration:
    """Change staging in the configuration."""
    spec = world.configuration[0].applications[SHOP]
    first: StageSpec = replace(spec.stages[0], **changes)  # type: ignore[arg-type] # test's words
    changed = replace(spec, stages=(first, *spec.stages[1:]), digest=digest)
    return replace(world.configuration[0], applications={SHOP: changed})


async def test_a_removed_stage_finishes_its_front_run_and_is_retired() -> None:
    """The run that writes goes on to its end, nothing is deleted, nothing new is admitted."""
    async with running_world() as world:
        world.cluster.workloads[ONE] = Workload(timedelta(seconds=20))
        await world.push("one", deployment(ONE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        spec = world.configuration[0].applications[SHOP]
        alone = replace(spec, stages=(replace(spec.stages[1], after=()),), digest="2")
        await world.configure(replace(world.configuration[0], applications={SHOP: alone}))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.clock.sleep(timedelta(minutes=2))

        assert (await world.stage(STAGING)).retired_at is not None
        assert [found.id for found in await world.runs(STAGING)] == [run.id]
        assert "Deployment shop-staging/api" in world.cluster.live()


async def test_a_removed_file_ends_what_waits_and_touches_nothing() -> None:
    """The run at its Gate is aborted (StageRemoved); live objects stay as they are."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        before = world.cluster.live()
        await world.configure(replace(world.configuration[0], applications={}))
        ended = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)

        assert ended.id == waiting.id
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.STAGE_REMOVED.value
        assert world.cluster.live() == before
        assert (await world.stage(PRODUCTION)).retired_at is not None


async def test_a_restore_is_judged_by_the_file_it_was_verified_under() -> None:
    """A rollback to a set of an older file is verified by that file's checks."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.configure(with_staging(world, "2", health_timeout=timedelta(minutes=2)))
        await world.clock.sleep(timedelta(seconds=5))
        world.cluster.workloads[TWO] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("two", deployment(TWO))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        restored = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.spec == 2
        assert restored.spec == 1


async def test_a_changed_destination_is_no_restore_target() -> None:
    """A new destination begins a new inventory; what was verified elsewhere is not restored."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[TWO] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.configure(with_staging(world, "2", namespace="elsewhere"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        live = world.cluster.live()
        assert ONE in str(live["Deployment elsewhere/api"])
        assert ONE in str(live["Deployment shop-staging/api"])
        left = [key.name for key, _ in world.cluster._objects if "-left-" in key.name]
        assert len(left) == 1


async def test_a_force_push_to_an_older_commit_is_held_until_a_person_lets_it_through() -> None:
    """The older commit is offered as Rewound, waits at its Gate, and goes on after resume."""
    async with running_world() as world:
        first = await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        second = await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.repositories.push(REPO, MAIN, first)
        await world.ring(second, first)
        waiting = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        head = await world.store.read(lambda tx: tx.releases.head(Line(SHOP, MAIN)))
        assert head is not None
        assert head.kind is OfferKind.REWOUND
        await world.clock.sleep(timedelta(minutes=30))
        assert TWO in str(world.cluster.live()["Deployment shop-staging/api"])

        await world.actions.resume(APPROVER, STAGING)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert (await world.run(waiting.id)).phase is Phase.SUCCEEDED
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_restored_database_writes_nothing_until_a_person_looks() -> None:
    """A cluster fence above the database's stalls the stage (RestoredDatabase)."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

    restored = make_world(shop_spec())
    restored.cluster._objects = world.cluster._objects
    restored.repositories = world.repositories
    restored.services = replace(
        restored.services, repositories=world.repositories, renderer=world.renderer
    )
    restored.actions = type(restored.actions)(restored.services)
    written = len(restored.cluster.writes())
    async with started(restored):
        await restored.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await restored.clock.sleep(timedelta(minutes=1))
        stage = await restored.stage(STAGING)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.RESTORED_DATABASE
        assert len(restored.cluster.writes()) == written

        await restored.actions.resume(APPROVER, STAGING, RestoredChoice.REDEPLOY)
        await restored.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert (await restored.stage(STAGING)).fence > 2


async def test_anothers_inventory_stops_the_stage() -> None:
    """A stage whose inventory names another installation is stalled (Inventory)."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        key = next(key for key, _ in world.cluster.objects if key.name.startswith("gitopsd-"))
        path = "/metadata/annotations/gitopsd.io~1installation"
        taken: JsonObject = {"op": "replace", "path": path, "value": "another"}
        await world.cluster.patch(ObjectRef(key, "v1"), [taken])
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await world.clock.sleep(timedelta(seconds=30))

        stall = (await world.stage(STAGING)).stall
        assert stall is not None
        assert stall.reason is StallReason.INVENTORY
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_head_that_is_not_served_yet_is_looked_for_again() -> None:
    """The remote lags behind its webhook: looks after 1, 2, 5 s find the commit without a poll."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        began = world.clock.now()
        world.repositories.lag(REPO, MAIN, looks=3)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert timedelta(seconds=8) <= world.clock.now() - began < timedelta(seconds=12)


async def test_a_deleted_branch_keeps_what_runs() -> None:
    """The deletion is handled and visible; nothing is pruned or redeployed."""
    async with running_world() as world:
        sha = await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = world.cluster.live()
        world.repositories.delete(REPO, MAIN)
        assert await world.ring(sha, None) == 202
        await world.clock.sleep(timedelta(minutes=5))

        state = await world.store.read(lambda tx: tx.refs.get(REPO, MAIN))
        assert state is not None
        assert "the remote has no refs/heads/main" in state.problem
        assert world.cluster.live() == before
        deliveries = await world.store.read(lambda tx: tx.deliveries.page(Page(5)))
        assert deliveries[0].state is DeliveryState.DONE
        assert "deleted" in deliveries[0].reason


async def test_a_git_host_that_is_down_delays_and_loses_nothing() -> None:
    """Failed looks are tried again; the push arrives once the host is back."""
    async with running_world() as world:
        world.repositories.fail(REPO, TemporaryError("connection refused"), times=5)
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_commit_that_changes_no_input_starts_no_renderer() -> None:
    """A push outside the input set is recorded as no change, and its commit is live at once."""
    async with running_world() as world:
        first = await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        rendered = len(world.renderer.rendered)
        sha = await world.push("only words", deployment(ONE))
        await world.clock.sleep(timedelta(seconds=10))

        assert sha != first
        assert len(world.renderer.rendered) == rendered
        assert len(await world.runs(STAGING)) == 1
        seen = await world.store.read(lambda tx: tx.releases.seen(sha))
        assert [item.concerned for item in seen] == [False]
        statuses = await fetch_commit_statuses(world.services, sha, stage="staging")
        assert [status.state for status in statuses] == [CommitState.LIVE]


async def test_an_approval_names_the_plan_and_is_one_persons() -> None:
    """A vote for another plan is refused; who votes twice is one of the two that are needed."""
    gate = ApprovalGate(("group:release-managers",), count=2)
    spec = shop_spec(lambda stage: replace(stage, gates=(gate,)))
    async with running_world(spec) as world:
        await world.push("one", deployment(ONE))
        waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        assert waiting.plan is not None
        stale = await world.actions.approve(APPROVER, waiting.id, "sha256:something-else", "")
        assert not isinstance(stale, ActionDone)
        assert "the plan changed" in stale.message
        await world.actions.approve(APPROVER, waiting.id, waiting.plan, "")
        await world.actions.approve(APPROVER, waiting.id, waiting.plan, "")
        await world.clock.sleep(timedelta(minutes=1))
        assert (await world.run(waiting.id)).step is Step.GATE

        other = replace(APPROVER, subject="sam")
        await world.actions.approve(other, waiting.id, waiting.plan, "")
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_one_restart_in_the_last_second_fails_certify() -> None:
    """Certify ends with a look after its time is over: a late restart is seen and rolled back."""
    async with running_world() as world:
        world.configuration[0] = with_staging(world, "2", certify=timedelta(seconds=30))
        await world.configure(world.configuration[0])
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        behaviour = world.cluster.workloads[TWO] = Workload()
        await world.push("two", deployment(TWO))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.CERTIFY)
        assert run.step_deadline is not None
        await world.clock.sleep(timedelta(seconds=29, milliseconds=500))
        behaviour.restarts = 1
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert failed.failure.reason == "RestartedInCertify"
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_failure_in_the_watch_window_rolls_back_what_was_live() -> None:
    """A definite failure after Succeeded revokes the verification and restores the one before."""
    async with running_world() as world:
        world.configuration[0] = with_staging(world, "2", watch=timedelta(minutes=30))
        await world.configure(world.configuration[0])
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        behaviour = world.cluster.workloads[TWO] = Workload()
        await world.push("two", deployment(TWO))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(timedelta(minutes=5))
        behaviour.waiting, behaviour.restarts, behaviour.ready_after = "CrashLoopBackOff", 4, None
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])
        verification = await world.store.read(
            lambda tx: next(v for v in tx.verifications.page(STAGING) if v.id == f"v-{run.id}")
        )
        assert verification.revoked_at is not None


async def test_a_person_rolls_back_and_nothing_newer_follows_until_resume() -> None:
    """A rollback by hand restores the set before, sets a hold, and resume lets the head flow."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO), config_map("added", a="b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        done = await world.actions.rollback(APPROVER, STAGING, None)
        assert isinstance(done, ActionDone), done
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])
        assert "ConfigMap shop-staging/added" not in world.cluster.live()

        await world.push("three", deployment(THREE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(timedelta(minutes=10))
        assert ONE in str(world.cluster.live()["Deployment shop-staging/api"])
        await world.actions.resume(APPROVER, STAGING)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert THREE in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_suspended_stage_admits_nothing() -> None:
    """Suspend keeps new releases out; resume lets the newest in."""
    async with running_world() as world:
        await world.clock.sleep(timedelta(seconds=1))
        await world.actions.suspend(APPROVER, STAGING, "a migration by hand")
        await world.push("one", deployment(ONE))
        await world.push("two", deployment(TWO))
        await world.clock.sleep(timedelta(minutes=5))
        assert not world.cluster.live()
        await world.actions.resume(APPROVER, STAGING)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert TWO in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_sync_applies_the_applied_set_again() -> None:
    """Sync puts back what was changed or deleted by hand, without a new release."""
    async with running_world() as world:
        await world.push("one", deployment(ONE), config_map("settings", a="b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        gone = next(key for key, _ in world.cluster._objects if key.name == "settings")
        world.cluster._objects.remove(ObjectRef(gone, "v1"))
        await world.actions.sync(APPROVER, STAGING)
        await world.until_run(STAGING, RunKind.SYNC, Phase.SUCCEEDED)

        assert str(gone) in world.cluster.live()


async def test_work_goes_on_within_seconds_of_a_restart() -> None:
    """What a dead process held, claims and leases, is given back at the next start."""
    world = make_world(shop_spec())
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

    def die_holding(tx: Transaction) -> None:
        tx.stages.claim(STAGING, "a dead process", timedelta(minutes=5), cluster_fence=0)

    await world.store.transact(die_holding)
    async with started(world):
        began = world.clock.now()
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert world.clock.now() - began < timedelta(seconds=5)


async def test_after_a_long_absence_a_step_looks_once_before_its_deadline_counts() -> None:
    """A deadline that passed while no process ran is judged by a fresh look, not by an old one."""
    world = make_world(shop_spec())
    world.cluster.workloads[TWO] = Workload(timedelta(minutes=10))
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await world.clock.sleep(timedelta(seconds=10))
    await world.clock.sleep(timedelta(minutes=8))
    world.cluster.workloads[TWO] = Workload()
    async with started(world):
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert not [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]


async def test_an_errored_rollback_that_is_tried_again_is_no_loop() -> None:
    """Attempts of one rollback during an outage do not count as rollbacks of their own."""
    async with running_world() as world:
        world.cluster.workloads[TWO] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[ONE] = Workload(timedelta(seconds=30))
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        world.cluster.fault = lambda _method, _ref: TemporaryError("no answer")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        stall = (await world.stage(STAGING)).stall
        assert stall is None or not stall.reason.closes_gates


async def test_other_bytes_that_change_nothing_end_unchanged_once() -> None:
    """A release whose dry-run changes nothing is verified as what runs; no further run begins."""
    async with running_world() as world:
        await world.push("one", deployment(ONE), config_map("settings", a="b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        metadata: dict[str, Json] = {"name": "settings", "annotations": {}}
        spelled: dict[str, Json] = {**config_map("settings", a="b"), "metadata": metadata}
        await world.push("two", deployment(ONE), spelled)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(timedelta(minutes=5))

        assert len(await world.runs(STAGING)) == 2


async def test_a_rollback_by_hand_that_errors_is_tried_again() -> None:
    """Another attempt has a name of its own, whatever the first one was called."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("two", deployment(TWO))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.cluster.workloads[ONE] = Workload(timedelta(seconds=30))
        await world.actions.rollback(APPROVER, STAGING, None)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        world.cluster.fault = lambda _method, _ref: TemporaryError("no answer")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_frozen_stage_is_not_synced() -> None:
    """A Sync writes, so the stop button stops it."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        freeze = Freeze("f-1", "*", "alex", "an incident", world.clock.now())
        await world.store.transact(lambda tx: tx.records.add_freeze(freeze))
        done = await world.actions.sync(APPROVER, STAGING)

        assert not isinstance(done, ActionDone)
        assert "an incident" in done.message
