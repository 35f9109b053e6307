"""Releases that are verified by Jobs and by commands in their pods, in virtual time.

Real: the engine and the checks. In memory: the cluster, Git, the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.cluster_ports import CommandOutput
from gitopsd.domain.checks import Check, CommandCheck, JobCheck
from gitopsd.domain.manifests import Json, JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import EvidenceKind
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.testing.cluster import MemoryClusters
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.workloads import Workload
from tests.support.ailing import CREDENTIAL_REFUSED
from tests.support.engine_world import STAGING, World, deployment, make_world, shop_spec, started

pytestmark = pytest.mark.looptime

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"
SMOKE, BROKEN = "registry.example/smoke:1", "registry.example/smoke:broken"
SECOND = timedelta(seconds=1)
JOB = JobCheck("smoke", "smoke", timeout=120 * SECOND)
COMMAND = CommandCheck("migrated", ("./manage", "check"), workload="Deployment/api")


def smoke(image: str = SMOKE, hook: str = "Verify") -> JsonObject:
    """The template of a Job, with as many retries as a careless author gives it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "smoke", "annotations": {"gitopsd.io/hook": hook}},
        "spec": {
            "backoffLimit": 6,
            "template": {
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{"name": "job", "image": image}],
                }
            },
        },
    }


def world_of(*checks: Check, certify: timedelta = timedelta(0)) -> World:
    """A world whose staging makes these checks for real against its cluster in memory."""
    spec = shop_spec()
    staging = replace(spec.stages[0], verify=checks, certify=certify, service_account="deployer")
    world = make_world(replace(spec, stages=(staging,)))
    clusters = MemoryClusters({"one": world.cluster})
    world.services = replace(world.services, verifier=VerifierByKind(clusters, world.clock))
    return world


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Run its engine."""
    async with started(world):
        yield world


async def checks_of(world: World, run: Run) -> list[Mapping[str, Json]]:
    """Read what was kept of the checks of a run."""
    pieces = await world.store.read(lambda tx: tx.runs.evidence(run.id))
    return [
        piece.content
        for piece in pieces
        if piece.kind is EvidenceKind.CHECK and isinstance(piece.content, Mapping)
    ]


def jobs_made(world: World) -> list[str]:
    """List the Jobs that were created, in order."""
    return [what for method, what in world.cluster.writes() if method == "create" and "Job" in what]


async def test_a_release_is_verified_by_a_job_of_its_own() -> None:
    """It runs after the rollout, is never applied, passes, leaves its log and is taken away."""
    async with running(world_of(JOB)) as world:
        world.cluster.workloads[SMOKE] = Workload(
            40 * SECOND, log=("42 pages", "token=s3cr3tvalue")
        )
        await world.push("one", deployment(GOOD), smoke())
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        [kept] = await checks_of(world, run)
        [made] = jobs_made(world)

        assert made.startswith("Job shop-staging/smoke-")
        assert "Job shop-staging/smoke" not in world.cluster.live()
        assert not [name for name in world.cluster.live() if name.startswith("Job")]
        assert kept["passed"] is True
        assert "42 pages" in str(kept["evidence"])
        assert "s3cr3tvalue" not in str(kept["evidence"])


async def test_a_log_can_be_read_while_the_job_runs() -> None:
    """What it has said so far is stored with the run."""
    async with running(world_of(JOB)) as world:
        world.cluster.workloads[SMOKE] = Workload(60 * SECOND, log=("page 1 is well",))
        await world.push("one", deployment(GOOD), smoke())
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        await world.clock.sleep(20 * SECOND)
        [kept] = await checks_of(world, run)
        assert kept["underway"] is True
        assert "page 1 is well" in str(kept["evidence"])
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_job_that_fails_takes_the_release_back() -> None:
    """One Job, one pod, whatever its template says; its last words are in the sentence."""
    async with running(world_of(JOB)) as world:
        await world.push("good", deployment(GOOD), smoke())
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.workloads[BROKEN] = Workload(
            10 * SECOND, exit_code=1, log=("checking", "page 7 is empty")
        )
        await world.push("bad", deployment(BAD), smoke(BROKEN))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        restored = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        kept = await checks_of(world, run)
        [first] = [one for one in kept if one.get("firstFailure")]

        assert run.step is Step.VERIFY
        assert run.failure is not None
        assert run.failure.reason == "VerificationFailed"
        assert run.failure.message.startswith("Job shop-staging/smoke: check smoke failed after 1 ")
        assert "page 7 is empty" in run.failure.message
        assert [(one["attempt"], one["passed"]) for one in kept] == [(1, False)] * 2
        assert str(first["message"]) in run.failure.message
        assert [one["passed"] for one in await checks_of(world, restored)] == [True]
        assert len(jobs_made(world)) == 3
        assert GOOD in str(world.cluster.live()["Deployment shop-staging/api"])


async def test_a_job_is_tried_again_only_when_asked() -> None:
    """Each try is a Job of its own, and the first failure stays with the run."""
    async with running(world_of(replace(JOB, within=60 * SECOND))) as world:
        world.cluster.workloads[BROKEN] = Workload(5 * SECOND, exit_code=1)
        await world.push("one", deployment(GOOD), smoke(BROKEN))
        await world.until(lambda: len(jobs_made(world)) > 2, "a third Job")
        world.cluster.workloads[BROKEN] = Workload(5 * SECOND)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        kept = await checks_of(world, run)

    assert len(set(jobs_made(world))) == len(jobs_made(world)) > 2
    assert [one["attempt"] for one in kept if one.get("firstFailure")] == [1]


async def test_a_pod_that_cannot_begin_fails_the_job_early() -> None:
    """A missing image is not waited for until the time of the Job is over."""
    async with running(world_of(replace(JOB, timeout=timedelta(minutes=30)))) as world:
        world.cluster.workloads[BROKEN] = Workload(
            None, waiting="ImagePullBackOff", message="manifest unknown: not found"
        )
        began = world.clock.now()
        await world.push("one", deployment(GOOD), smoke(BROKEN))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

    assert run.failure is not None
    assert "check smoke failed" in run.failure.message
    assert world.clock.now() - began < timedelta(minutes=5)


async def test_certify_repeats_a_job_twice() -> None:
    """However long it lasts: a Job each five seconds would be a load of its own."""
    async with running(world_of(JOB, certify=120 * SECOND)) as world:
        world.cluster.workloads[SMOKE] = Workload(10 * SECOND)
        await world.push("one", deployment(GOOD), smoke())
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        kept = [str(one["name"]) for one in await checks_of(world, run)]

    assert kept == ["verify-1", "certify-1", "certify-2"]
    assert len(jobs_made(world)) == 3


async def test_a_job_that_fails_when_repeated_fails_certify() -> None:
    """The second repeat is made after the time is over."""
    async with running(world_of(JOB, certify=60 * SECOND)) as world:
        world.cluster.workloads[SMOKE] = Workload(5 * SECOND)
        await world.push("one", deployment(GOOD), smoke())
        await world.until(lambda: len(jobs_made(world)) == 2, "the first repeat")
        await world.clock.sleep(10 * SECOND)
        world.cluster.workloads[SMOKE] = Workload(5 * SECOND, exit_code=3)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

    assert run.step is Step.CERTIFY
    assert run.failure is not None
    assert "check smoke failed when repeated" in run.failure.message


@pytest.mark.parametrize("seconds", [1, 20, 39, 41])
async def test_a_crash_runs_no_job_twice(seconds: int) -> None:
    """The one that runs is found again by its name; its outcome is not asked for twice."""
    world = world_of(JOB)
    world.cluster.workloads[SMOKE] = Workload(40 * SECOND)
    async with running(world):
        await world.push("one", deployment(GOOD), smoke())
        await world.until(lambda: jobs_made(world), "the Job")
        await world.clock.sleep(seconds * SECOND)
    async with running(world):
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert len(jobs_made(world)) == 1


async def test_an_answer_that_was_stored_is_not_asked_for_again() -> None:
    """A crash after a Job was taken away, before the step reported: the stored answer counts."""
    world = world_of(replace(JOB, successes=2))
    world.cluster.workloads[SMOKE] = Workload(20 * SECOND)
    async with running(world):
        await world.push("one", deployment(GOOD), smoke())
        await world.until(lambda: len(jobs_made(world)) == 2, "the second Job")
    async with running(world):
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert len(jobs_made(world)) == 2


async def test_without_a_template_nothing_is_applied() -> None:
    """Validate names what is missing; an ordinary Job, or another hook, is no template."""
    for number, objects in enumerate([[], [smoke(hook="PreSync")]]):
        async with running(world_of(JOB)) as world:
            await world.push(f"no {number}", deployment(GOOD), *objects)
            run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
            assert run.step is Step.VALIDATE
            assert run.failure is not None
            assert run.failure.reason == "MissingTemplate"
            assert "annotated `gitopsd.io/hook: Verify`" in run.failure.message
            assert jobs_made(world) == []


async def test_missing_rights_and_outages_are_no_verdict() -> None:
    """The Job may not be created, or the API server is away: it goes on when that is over."""
    world = world_of(JOB)
    world.cluster.workloads[SMOKE] = Workload(20 * SECOND)
    world.cluster.refuse = lambda method, ref, _: (
        forbidden(ref, method, "deployer")
        if method == "create" and "smoke" in ref.key.name
        else None
    )
    async with running(world):
        await world.push("one", deployment(GOOD), smoke())
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        await world.clock.sleep(60 * SECOND)
        assert (await world.run(run.id)).live
        world.cluster.refuse = None
        refused = len(jobs_made(world))
        await world.until(
            lambda: [name for name in world.cluster.live() if name.startswith("Job")], "the Job"
        )

        def away(method: str, ref: ObjectRef | None) -> GitopsdError | None:
            named = ref is not None and ref.key.kind in ("Job", "Pod")
            return TemporaryError("the API server is away") if named and method != "x" else None

        world.cluster.fault = away
        await world.clock.sleep(60 * SECOND)
        world.cluster.fault = None
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert [one["passed"] for one in await checks_of(world, run)] == [True]
        assert len(jobs_made(world)) == refused + 1


@pytest.mark.parametrize(
    "output, said",
    [
        (
            CommandOutput(1, b"all is well\n", b"migration 7 is missing, password=s3cr3tvalue\n"),
            "exited with 1",
        ),
        (CommandOutput(0, b"2 migrations to go\n"), "does not hold 'all is well'"),
        (CommandOutput(None, message='exec: "./manage": executable file not found'), "not found"),
        (CommandOutput(None, timed_out=True), "it did not end within 10 s"),
    ],
    ids=["prints success and exits 1", "exits 0 and says another thing", "no program", "late"],
)
async def test_a_command_that_only_looks_right_takes_the_release_back(
    output: CommandOutput, said: str
) -> None:
    """Its exit code counts first, then what it printed."""
    check = replace(COMMAND, stdout_contains="all is well", within=5 * SECOND)
    async with running(world_of(check)) as world:
        words = COMMAND.command
        world.cluster.commands[words] = CommandOutput(0, b"all is well\n")
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.cluster.commands[words] = output
        await world.push("bad", deployment(BAD))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        world.cluster.commands[words] = CommandOutput(0, b"all is well\n")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        executed = [what for method, what, _ in world.cluster.requests if method == "exec"]
        kept = await checks_of(world, run)

    assert kept
    assert "s3cr3tvalue" not in str([kept, run.failure])
    assert run.failure is not None
    assert run.failure.message.startswith("Deployment shop-staging/api: check migrated failed ")
    assert said in run.failure.message
    assert all(what.startswith("Pod shop-staging/api-") for what in executed)


async def test_a_command_that_nobody_saw_end_is_no_verdict() -> None:
    """The connection broke: it is run again."""
    async with running(world_of(COMMAND)) as world:
        broken = CommandOutput(None, message="the connection ended before the command did")
        world.cluster.commands[COMMAND.command] = broken
        await world.push("one", deployment(GOOD))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        await world.clock.sleep(120 * SECOND)
        assert (await world.run(run.id)).live
        world.cluster.commands[COMMAND.command] = CommandOutput(0)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


@pytest.mark.parametrize("check", [JOB, COMMAND], ids=["job", "command"])
async def test_no_time_passes_while_the_credential_is_refused(
    check: JobCheck | CommandCheck,
) -> None:
    """After hours the step goes on where it was: with the same Job, and with the command."""
    world = world_of(check)
    world.cluster.workloads[SMOKE] = Workload(90 * SECOND)
    # One that fails keeps Verify waiting until the credential is refused.
    world.cluster.commands[COMMAND.command] = CommandOutput(1)
    async with running(world):
        await world.push("one", deployment(GOOD), smoke())
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        world.cluster.fault = lambda _method, _ref: CREDENTIAL_REFUSED.make_error()
        await world.clock.sleep(timedelta(hours=3))
        waiting = await world.run(run.id)
        world.cluster.commands[COMMAND.command] = CommandOutput(0)
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

    assert (waiting.step, waiting.lockouts > 100) == (Step.VERIFY, True)
    assert len(jobs_made(world)) == (1 if check is JOB else 0)
