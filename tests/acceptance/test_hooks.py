"""Hooks of a release: before Apply, within its waves, after it, and again when it is restored.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import Json, ObjectRef
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import EvidenceKind
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    STAGING,
    World,
    config_map,
    deployment,
    job,
    running_world,
)

pytestmark = pytest.mark.looptime

GOOD, BAD, FIX = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
TOOL = "registry.example/tool:1"
STUCK = "registry.example/tool:stuck"
BROKEN = "registry.example/tool:broken"
JOB = "Job shop-staging/migrate"


def writes_to(world: World, *names: str) -> list[tuple[str, str]]:
    """List the writes to some objects of staging, in order."""
    return [
        (method, what.split("/")[-1])
        for method, what in world.cluster.writes()
        if " shop-staging/" in what and what.split("/")[-1] in names
    ]


async def evidence_of(world: World, run: RunId) -> list[Mapping[str, Json]]:
    """Read what is kept of a run's hooks."""
    pieces = await world.store.read(lambda tx: tx.runs.evidence(run))
    return [
        piece.content
        for piece in pieces
        if piece.kind is EvidenceKind.HOOK and isinstance(piece.content, Mapping)
    ]


async def test_a_migration_ends_before_anything_is_applied() -> None:
    """A PreSync Job is created first, and the release is applied when it has ended well."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=90), log=("42 rows moved",))
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync"))
        waiting = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.PREPARE)
        await world.until(
            lambda: "Job shop-staging/migrate" in world.cluster.live(), "the Job is created"
        )
        assert "Deployment shop-staging/api" not in world.cluster.live()
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert run.id == waiting.id
        assert writes_to(world, "migrate", "api") == [("create", "migrate"), ("apply", "api")]
        (kept,) = await evidence_of(world, run.id)
        assert kept["state"] == "Succeeded"
        assert "42 rows moved" in str(kept["pods"])


async def test_a_migration_that_fails_stops_the_release_and_is_told_in_one_sentence() -> None:
    """Nothing is applied; the verdict names the Job and the cause; its last words are kept."""
    async with running_world() as world:
        world.cluster.workloads[BROKEN] = Workload(exit_code=3, log=("no such table: orders",))
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD), job(BROKEN, hook="PreSync"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.push("fix", deployment(FIX), job(TOOL, hook="PreSync"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert failed.failure is not None
        assert failed.failure.reason == "HookFailed"
        assert failed.failure.message == (
            "Job shop-staging/migrate (PreSync hook): BackoffLimitExceeded: Job has reached the "
            "specified backoff limit; container job exited with 3; "
            "its log ends: no such table: orders"
        )
        (kept,) = await evidence_of(world, failed.id)
        assert "no such table: orders" in str(kept["pods"])
        assert BAD not in str(world.cluster.live())
        assert writes_to(world, "migrate") == [
            ("create", "migrate"),
            ("delete", "migrate"),
            ("create", "migrate"),
        ]


async def test_a_hook_of_an_early_wave_that_fails_keeps_the_later_ones_from_beginning() -> None:
    """A backup that fails in wave -2 leaves the migration of wave -1, and the release, unmade."""
    async with running_world() as world:
        world.cluster.workloads[BROKEN] = Workload(exit_code=1)
        await world.push(
            "first",
            deployment(GOOD),
            job(BROKEN, "backup", hook="PreSync", wave="-2"),
            job(TOOL, "migrate", hook="PreSync", wave="-1"),
        )
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.clock.sleep(timedelta(minutes=30))

        assert failed.step is Step.PREPARE
        assert failed.failure is not None
        assert failed.failure.message.startswith("Job shop-staging/backup (PreSync hook): ")
        assert writes_to(world, "backup", "migrate", "api") == [("create", "backup")]
        assert len(await evidence_of(world, failed.id)) == 1


async def test_a_hook_whose_image_is_missing_fails_long_before_its_deadline() -> None:
    """A Job waits for such a pod for ever; its pod's words are the verdict, and it goes."""
    async with running_world() as world:
        world.cluster.workloads[STUCK] = Workload(
            None, "ImagePullBackOff", 'Back-off pulling image "tool": manifest unknown'
        )
        begun = world.clock.now()
        await world.push("first", deployment(GOOD), job(STUCK, hook="PreSync"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert "manifest unknown" in failed.failure.message
        assert world.clock.now() - begun < timedelta(minutes=2)
        assert JOB not in world.cluster.live()


async def test_a_hook_whose_pods_are_refused_fails_long_before_its_deadline() -> None:
    """Its Job stays without a pod, and only its events say why: their words are the verdict."""
    async with running_world() as world:
        refused = 'pods "migrate-x" is forbidden: exceeded quota: small, limited: pods=0'
        world.cluster.workloads[STUCK] = Workload(None, pods_refused=refused)
        begun = world.clock.now()
        await world.push("first", deployment(GOOD), job(STUCK, hook="PreSync"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert "exceeded quota: small" in failed.failure.message
        assert world.clock.now() - begun < timedelta(minutes=2)
        assert JOB not in world.cluster.live()


async def test_hooks_of_one_wave_run_side_by_side_and_waves_one_after_another() -> None:
    """The second wave begins when the whole first one has ended."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=30))
        await world.push(
            "first",
            deployment(GOOD),
            job(TOOL, "backup", hook="PreSync", wave="-1"),
            job(TOOL, "check", hook="PreSync", wave="-1"),
            job(TOOL, "migrate", hook="PreSync"),
        )
        await world.until(lambda: len(writes_to(world, "backup", "check")) == 2, "wave -1")
        begun = world.clock.now()
        await world.until(lambda: writes_to(world, "migrate"), "wave 0")

        assert timedelta(seconds=25) <= world.clock.now() - begun <= timedelta(seconds=40)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_sync_hook_runs_in_its_wave_between_healthy_objects() -> None:
    """What a wave holds is healthy, and its hooks have ended, before the next is applied."""
    async with running_world() as world:
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=40))
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=20))
        store = _in_wave(deployment(GOOD, "store"), "-1")
        await world.push(
            "first",
            store,
            job(TOOL, hook="Sync"),
            _in_wave(deployment(FIX, "api"), "1"),
            config_map("settings", mode="a"),
        )
        await world.until(lambda: writes_to(world, "store"), "the store is applied")
        begun = world.clock.now()
        await world.until(lambda: writes_to(world, "migrate"), "the hook begins")
        middle = world.clock.now()
        await world.until(lambda: writes_to(world, "api"), "the last wave is applied")

        assert middle - begun >= timedelta(seconds=38)
        assert world.clock.now() - middle >= timedelta(seconds=18)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        names = ["store", "settings", "migrate", "api"]
        assert [name for _, name in writes_to(world, *names)] == names


async def test_no_wave_and_no_hook_is_condemned_within_its_own_time() -> None:
    """Each wave takes most of ``health.timeout``, and a dump most of what it asked for."""
    async with running_world() as world:
        world.cluster.workloads[GOOD] = Workload(timedelta(minutes=4))
        world.cluster.workloads[TOOL] = Workload(timedelta(minutes=16))
        stores = [_in_wave(deployment(GOOD, f"store-{number}"), str(number)) for number in range(4)]
        await world.push("first", *stores, _lasting(job(TOOL, "dump", hook="Sync"), 1800))
        await world.clock.sleep(timedelta(minutes=23))
        assert not writes_to(world, "store-3")
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        phases = [one.phase for one in await world.runs(STAGING)]

        assert phases == [Phase.SUCCEEDED]
        assert dict(run.timeouts)[Step.APPLY] == timedelta(minutes=10 + 3 * 7 + 32)


async def test_hooks_before_and_after_are_waited_for_as_long_as_they_ask_for() -> None:
    """Longer than Prepare and Verify have for hooks that say nothing."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(minutes=32))
        world.cluster.workloads[GOOD] = Workload(timedelta(minutes=12))
        before = _lasting(job(TOOL, "backup", hook="PreSync"), 2400)
        after = _lasting(job(GOOD, "smoke", hook="PostSync"), 1200)
        await world.push("first", config_map("settings"), before, after)
        await world.clock.sleep(timedelta(minutes=42))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert len(await world.runs(STAGING)) == 1


async def test_a_wave_that_crashes_fails_the_release_before_the_next_is_applied() -> None:
    """The objects of later waves are never sent."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        await world.push(
            "first",
            _in_wave(deployment(BAD, "store"), "-1"),
            _in_wave(deployment(GOOD, "api"), "1"),
        )
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.step is Step.APPLY
        assert failed.failure is not None
        assert "Deployment shop-staging/store" in failed.failure.message
        assert not writes_to(world, "api")


async def test_a_smoke_test_job_runs_after_health_and_its_failure_rolls_back() -> None:
    """A PostSync Job is part of Verify."""
    async with running_world() as world:
        world.cluster.workloads[BROKEN] = Workload(exit_code=1)
        await world.push("good", deployment(GOOD), job(TOOL, "smoke", hook="PostSync"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD), job(BROKEN, "smoke", hook="PostSync"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.step is Step.VERIFY
        assert GOOD in str(world.cluster.live()["Deployment shop-staging/api"])
        assert [name for method, name in writes_to(world, "smoke") if method == "create"] == [
            "smoke",
            "smoke",
        ]


async def test_a_restored_release_runs_only_the_hooks_that_are_marked_for_it() -> None:
    """A migration is not run backwards; what is marked runs again."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        await world.push(
            "good",
            deployment(GOOD),
            job(TOOL, "migrate", hook="PreSync"),
            job(TOOL, "announce", hook="PreSync", on_rollback="true"),
        )
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        created = [name for method, name in writes_to(world, "migrate", "announce")]
        assert created.count("migrate") == 1
        assert created[-2:] == ["announce", "announce"]


async def test_the_hooks_for_failure_run_before_the_restore_and_never_hold_it_up() -> None:
    """A SyncFail Job of what failed is created first; one that hangs is left behind after 30 s."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        world.cluster.workloads[STUCK] = Workload(None)
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push(
            "bad",
            deployment(BAD),
            job(TOOL, "tell", hook="SyncFail"),
            job(STUCK, "hang", hook="SyncFail"),
        )
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.ended_at is not None
        assert back.ended_at is not None
        assert back.ended_at - failed.ended_at <= timedelta(seconds=35)
        (told,) = await evidence_of(world, back.id)
        assert told["phase"] == "SyncFail"
        assert writes_to(world, "tell", "hang", "api")[-3:] == [
            ("create", "hang"),
            ("create", "tell"),
            ("apply", "api"),
        ]


async def test_a_hook_is_created_once_although_its_answer_was_lost() -> None:
    """The server did it and the answer never came: the run's mark finds it again."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=5))
        lost: list[str] = []

        async def lose(method: str, _: ObjectRef | None) -> None:
            if method == "create" and not lost:
                lost.append(method)
                message = "the connection was closed"
                raise TemporaryError(message)

        world.cluster.after = lose
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert lost
        assert writes_to(world, "migrate") == [("create", "migrate")]


async def test_a_hook_that_is_gone_without_a_result_calls_a_person_and_is_not_run_again() -> None:
    """Nobody knows whether it did its work; only a person says that it may run again."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(None)
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync"))
        await world.until(lambda: JOB in world.cluster.live(), "the Job is created")
        await world.clock.sleep(timedelta(seconds=5))
        _take_away(world, JOB)
        errored = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)
        await world.clock.sleep(timedelta(hours=1))

        assert errored.failure is not None
        assert errored.failure.reason == "HookOutcomeUnknown"
        assert "gone without a result" in errored.failure.message
        stage = await world.stage(STAGING)
        assert stage.stall is not None
        assert stage.stall.reason is StallReason.UNREACHABLE
        assert stage.stall.message.endswith("; it is not tried again by itself")
        assert writes_to(world, "migrate") == [("create", "migrate")]

        world.cluster.workloads[TOOL] = Workload()
        await world.actions.retry(APPROVER, errored.id)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert writes_to(world, "migrate") == [("create", "migrate")] * 2


async def test_a_hook_that_may_run_twice_is_created_again_when_it_is_gone() -> None:
    """``gitopsd.io/hook-idempotent: "true"`` says so."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=30))
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync", idempotent="true"))
        await world.until(lambda: JOB in world.cluster.live(), "the Job is created")
        await world.clock.sleep(timedelta(seconds=5))
        _take_away(world, JOB)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert writes_to(world, "migrate") == [("create", "migrate")] * 2


async def test_a_migration_of_another_run_is_waited_for_and_never_deleted_halfway() -> None:
    """A newer release takes over while the Job works; its own Job begins when that has ended."""
    async with running_world() as world:
        world.cluster.workloads[STUCK] = Workload(timedelta(minutes=4))
        await world.push("slow", deployment(GOOD), job(STUCK, hook="PreSync"))
        await world.until(lambda: JOB in world.cluster.live(), "the first Job is created")
        begun = world.clock.now()
        await world.push("newer", deployment(FIX), job(TOOL, hook="PreSync"))
        await world.until(
            lambda: ("delete", "migrate") in writes_to(world, "migrate"), "the first one goes"
        )
        assert world.clock.now() - begun >= timedelta(minutes=3, seconds=50)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        runs = await world.runs(STAGING)
        assert [run.phase for run in runs] == [Phase.ABORTED, Phase.SUCCEEDED]


async def test_delete_policies_act_after_the_result_is_stored() -> None:
    """``HookSucceeded`` takes the Job away; what it said is kept."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(log=("done",))
        await world.push(
            "first", deployment(GOOD), job(TOOL, hook="PreSync", policy="HookSucceeded")
        )
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert JOB not in world.cluster.live()
        (kept,) = await evidence_of(world, run.id)
        assert "done" in str(kept["pods"])


async def test_an_api_server_that_is_away_while_a_hook_runs_is_no_verdict() -> None:
    """The hook ends meanwhile, and its outcome is found."""
    async with running_world() as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=30))
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync"))
        await world.until(lambda: JOB in world.cluster.live(), "the Job is created")
        away = world.clock.now() + timedelta(seconds=60)

        def fail(_: str, __: ObjectRef | None) -> GitopsdError | None:
            return TemporaryError("503") if world.clock.now() < away else None

        world.cluster.fault = fail
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert run.attempt_number == 1
        assert writes_to(world, "migrate") == [("create", "migrate")]


async def test_an_unchanged_release_runs_no_hook_again() -> None:
    """The same bytes ask for nothing; other bytes that only change a hook run it."""
    async with running_world() as world:
        await world.push("first", deployment(GOOD), job(TOOL, hook="PreSync"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("again", deployment(GOOD), job(TOOL, hook="PreSync"))
        await world.clock.sleep(timedelta(hours=1))
        assert writes_to(world, "migrate") == [("create", "migrate")]

        await world.push("other", deployment(GOOD), job(FIX, hook="PreSync"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert [method for method, _ in writes_to(world, "migrate")] == [
            "create",
            "delete",
            "create",
        ]


async def test_a_hook_of_a_kind_that_cannot_be_one_is_refused_in_validate() -> None:
    """It is said at once, with what to do."""
    async with running_world() as world:
        hook: dict[str, Json] = {"argocd.argoproj.io/hook": "PreSync"}
        marks: dict[str, Json] = {"annotations": hook, "name": "api"}
        await world.push("first", {**deployment(GOOD), "metadata": marks})
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.step is Step.VALIDATE
        assert failed.failure is not None
        assert failed.failure.reason == "UnsupportedHook"
        assert "Deployment" in failed.failure.message
        assert not world.cluster.writes() or "api" not in str(world.cluster.writes())


def _in_wave(obj: Mapping[str, Json], wave: str) -> dict[str, Json]:
    metadata = obj["metadata"]
    assert isinstance(metadata, Mapping)
    marks = {"argocd.argoproj.io/sync-wave": wave}
    return {**obj, "metadata": {**metadata, "annotations": marks}}


def _lasting(obj: Mapping[str, Json], seconds: int) -> dict[str, Json]:
    """Let a Job work for so long before the cluster ends it."""
    spec = obj["spec"]
    assert isinstance(spec, Mapping)
    return {**obj, "spec": {**spec, "activeDeadlineSeconds": seconds}}


def _take_away(world: World, name: str) -> None:
    for key, stored in world.cluster.objects:
        if str(key) == name:
            world.cluster.objects.remove(ObjectRef(key, "v1"))
            assert stored is not None
