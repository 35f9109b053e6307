"""What comes of people's verbs when the engine goes on, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import JobCheck
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import AbortReason, Phase, RunId, RunKind, Step
from gitopsd.domain.stages import AppliedSet
from gitopsd.domain.work import AuditEntry, EvidenceKind, Page
from gitopsd.engine.actions import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.names import HOOK_ANNOTATION
from gitopsd.testing.verifier import MemoryAnswer
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    job,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

ANA = Actor("ana")
MINUTE = timedelta(minutes=1)
ONE, TWO, SLOW = (f"registry.example/api:{tag}" for tag in ("1", "2", "slow"))
DOWN = MemoryAnswer(status=503)


def staging(**changes: object) -> ApplicationSpec:
    """Make the shop with other settings of staging."""
    spec = shop_spec()
    changed = replace(spec.stages[0], **changes)  # type: ignore[arg-type] # fields by name
    return replace(spec, stages=(changed, *spec.stages[1:]))


@asynccontextmanager
async def live(count: int, spec: ApplicationSpec | None = None) -> AsyncIterator[World]:
    """Run a world whose staging has had releases 1 to ``count`` verified."""
    async with running_world(spec) as world:
        world.cluster.workloads[SLOW] = Workload(None, "", "")
        for number in range(1, count + 1):
            await bring(world, str(number))
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        yield world


async def bring(world: World, mode: str, image: str = ONE) -> None:
    """Push a release."""
    await world.push(mode, deployment(image), config_map("settings", mode=mode))


def mode_of(world: World) -> object:
    """Read which release staging has."""
    return world.cluster.live()["ConfigMap shop-staging/settings"]["data"]


def done(result: ActionResult) -> ActionDone:
    """What was done; fails when it was refused."""
    assert isinstance(result, ActionDone), result
    return result


def refused(result: ActionResult) -> str:
    """Why it was refused; fails when it was done."""
    assert isinstance(result, ActionRefused), result
    return result.message


async def until_audited(world: World, action: str) -> AuditEntry:
    """Wait for an entry of the audit log."""
    found: list[AuditEntry] = []

    async def there() -> bool:
        log = await world.store.read(lambda tx: tx.records.audit(Page(50)))
        found[:] = [entry for entry in log if entry.action == action]
        return bool(found)

    await world.until(there, f"{action} is audited")
    return found[0]


async def applied(world: World) -> AppliedSet:
    """Read what staging has."""
    has = (await world.stage(STAGING)).applied
    assert has is not None
    return has


async def checks_kept(world: World, run: str) -> list[JsonObject]:
    """Read what is kept of checks that were made again."""
    pieces = await world.store.read(lambda tx: tx.runs.evidence(RunId(run)))
    return [
        piece.content
        for piece in pieces
        if piece.kind is EvidenceKind.CHECK
        and isinstance(piece.content, dict)
        and "#again-" in piece.key
    ]


async def test_checks_are_made_again_without_a_write() -> None:
    """What they said is kept with the run that brought the release; the log says who and why."""
    async with live(1) as world:
        has = await applied(world)
        written, before = len(world.cluster.writes()), len(world.verifier.asked)
        told = done(await world.actions.reverify(ANA, STAGING, reason="the database moved"))
        assert told.message == (
            f"the checks of {has.release} in shop/staging are made again; what they say: "
            f"gitopsd get runs {has.run}"
        )
        again = refused(await world.actions.reverify(ANA, STAGING))
        assert again.startswith(f"the checks of {has.release} in shop/staging are being made again")
        entry = await until_audited(world, "reverified")
        assert (entry.subject, entry.target, entry.outcome) == ("ana", "shop/staging", "done")
        assert entry.details["reason"] == "the database moved"
        assert entry.details["before"] == entry.details["after"]
        assert entry.details["run"] == has.run
        assert len(world.verifier.asked) > before
        assert len(world.cluster.writes()) == written
        kept = await checks_kept(world, has.run)
        assert [piece["passed"] for piece in kept] == [True]
        await world.clock.sleep(10 * MINUTE)
        assert len(await world.runs(STAGING)) == 1


async def test_a_job_runs_anew_when_checks_are_made_again() -> None:
    """It is no attempt of the run that was verified, so its old answer does not count."""
    check = JobCheck(name="smoke", template="smoke")
    template = job("registry.example/smoke:1", "smoke")
    metadata: JsonObject = {"name": "smoke", "annotations": {HOOK_ANNOTATION: "Verify"}}
    async with running_world(staging(verify=(check,))) as world:
        await world.push("1", deployment(ONE), {**template, "metadata": metadata})
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = {target.attempt for _, target in world.verifier.asked}
        for _ in range(2):
            done(await world.actions.reverify(ANA, STAGING))
            await world.clock.sleep(MINUTE)
        made = {target.attempt for _, target in world.verifier.asked} - before
        assert len(made) == 2
        assert all(attempt.startswith("again-") for attempt in made)


@pytest.mark.parametrize("late", [False, True])
async def test_what_fails_when_it_is_checked_again_goes_back_within_the_watch(late: bool) -> None:
    """As for a monitor: later people are told, and nothing is restored behind their backs."""
    async with live(2, staging(watch=5 * MINUTE)) as world:
        if late:
            await world.clock.sleep(6 * MINUTE)
        world.verifier.serve("api", DOWN, path="/health")
        done(await world.actions.reverify(ANA, STAGING, reason="users complain"))
        if late:
            entry = await until_audited(world, "reverified")
            assert mode_of(world) == {"mode": "2"}
        else:
            await world.until_run(STAGING, RunKind.ROLLBACK, Phase.RUNNING)
            world.verifier.serve("api", MemoryAnswer(), path="/health")
            await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
            entry = await until_audited(world, "reverified")
            assert mode_of(world) == {"mode": "1"}
        assert entry.outcome.startswith(
            "failed: Service shop-staging/api: check api /health failed"
        )
        assert (entry.details["before"] == entry.details["after"]) is late

        def is_told() -> bool:
            return any("answered 503" in one.message for one in world.notifier.received["ops"])

        await world.until(is_told, "people are told")
        kept = await checks_kept(world, str(entry.details["run"]))
        assert any(piece.get("firstFailure") for piece in kept)


async def test_what_is_unhealthy_needs_no_check() -> None:
    """The look that comes first is enough, and says what it saw."""
    async with live(1, staging(watch=timedelta(0))) as world:
        world.cluster.workloads[ONE] = Workload(None, "CrashLoopBackOff", "x", restarts=5)
        done(await world.actions.reverify(ANA, STAGING))
        entry = await until_audited(world, "reverified")
        assert "CrashLoopBackOff" in entry.outcome


async def test_without_sight_there_is_no_verdict() -> None:
    """It is given up when Verify would be, and nothing is taken back; a run ends it at once."""
    async with live(2) as world:
        world.verifier.serve("api", MemoryAnswer(visible=False), path="/health")
        done(await world.actions.reverify(ANA, STAGING))
        entry = await until_audited(world, "reverified")
        assert entry.outcome.startswith("no verdict: its time is over: ")
        assert entry.details["before"] == entry.details["after"]

        done(await world.actions.reverify(ANA, STAGING))
        await world.clock.sleep(timedelta(seconds=20))
        told = done(await world.actions.rollback(ANA, STAGING, None))

        async def ended() -> bool:
            log = await world.store.read(lambda tx: tx.records.audit(Page(50)))
            return sum(one.action == "reverified" for one in log) == 2

        await world.until(ended, "it was given up")
        entry = await until_audited(world, "reverified")
        assert entry.outcome == f"no verdict: {told.run} began to write"


async def test_a_stage_is_taken_over_from_another_installation() -> None:
    """The run that waited goes on, under this installation's name and a higher fence."""
    async with live(1) as world:
        key = next(key for key, _ in world.cluster.objects if key.name.startswith("gitopsd-"))
        marks = "/metadata/annotations/gitopsd.io~1"
        patches: list[JsonObject] = [
            {"op": "replace", "path": f"{marks}installation", "value": "another"},
            {"op": "replace", "path": f"{marks}fence", "value": "40"},
        ]
        for patch in patches:
            await world.cluster.patch(ObjectRef(key, "v1"), [patch])
        assert "held by no other installation" in refused(await world.actions.adopt(ANA, STAGING))
        await bring(world, "2")

        async def is_stalled() -> bool:
            return (await world.stage(STAGING)).stall is not None

        await world.until(is_stalled, "the stage is stalled")
        stall = (await world.stage(STAGING)).stall
        assert stall is not None
        assert stall.message.endswith("(another). To take it over: gitopsd adopt shop staging")
        await world.clock.sleep(10 * MINUTE)
        assert mode_of(world) == {"mode": "1"}

        world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
        done(await world.actions.adopt(ANA, STAGING, reason="the old cluster is gone"))
        await world.clock.sleep(MINUTE)
        world.cluster.fault = None
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        stage = await world.stage(STAGING)
        assert (mode_of(world), stage.stall) == ({"mode": "2"}, None)
        assert stage.fence > 40
        entry = await until_audited(world, "adopted")
        assert (entry.subject, entry.outcome) == ("ana", "done")
        assert (entry.details["from"], entry.details["reason"]) == (
            "another",
            "the old cluster is gone",
        )
        assert "stalled (Inventory)" in str(entry.details["before"])
        assert "stalled" not in str(entry.details["after"])


@pytest.mark.parametrize("leave", [False, True])
async def test_an_abort_restores_unless_it_is_told_to_leave(leave: bool) -> None:
    """What was half brought goes back to what was verified, or stays as it is, and no stall."""
    async with live(1) as world:
        await bring(world, "2", SLOW)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        done(await world.actions.abort(ANA, run.id, restore=not leave, reason="wrong day"))
        ended = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert ended.failure is not None
        assert ended.failure.message == "aborted by ana: wrong day"
        if not leave:
            await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.clock.sleep(5 * MINUTE)
        assert mode_of(world) == {"mode": "2" if leave else "1"}
        stage = await world.stage(STAGING)
        assert (stage.stall, stage.verified is None) == (None, leave)
        assert len([one for one in await world.runs(STAGING) if one.live]) == 0


async def test_a_person_goes_back_to_any_release_while_one_is_being_brought() -> None:
    """The run ends with its work in flight; what was verified in between stays verified."""
    async with live(3) as world:
        first, second, third = [one.id for one in await world.releases()]
        await bring(world, "4", SLOW)
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        told = done(await world.actions.rollback(ANA, STAGING, first, reason="it is slow"))
        assert told.message == (
            f"{run.id} ends as soon as its work in flight reports, then {first} is restored; "
            "nothing newer follows until: gitopsd resume shop staging"
        )
        ended = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.REDIRECTED.value
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert (back.release, back.requested_by, mode_of(world)) == (first, "ana", {"mode": "1"})
        hold = (await world.stage(STAGING)).hold
        assert hold is not None
        assert hold.reason == "rolled back by hand: it is slow"

        same = refused(await world.actions.rollback(ANA, STAGING, first))
        assert same.endswith(f"runs {first} already; to apply it again: gitopsd sync shop staging")
        done(await world.actions.rollback(ANA, STAGING, third))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED, count=2)
        assert mode_of(world) == {"mode": "3"}
        verified = await world.store.read(lambda tx: tx.verifications.page(STAGING))
        standing = {one.release for one in verified if one.revoked_at is None}
        assert standing >= {second, third}


async def test_without_a_name_a_person_goes_back_to_what_the_run_replaces() -> None:
    """What is being brought is the one to leave, though the stage has the other one still."""
    async with live(2) as world:
        world.cluster.workloads["registry.example/migrate:1"] = Workload(timedelta(minutes=5))
        migrate = job("registry.example/migrate:1", "migrate", hook="PreSync")
        await world.push("3", deployment(TWO), config_map("settings", mode="3"), migrate)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.PREPARE)
        second = (await applied(world)).release
        done(await world.actions.rollback(ANA, STAGING, None))
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert (back.release, mode_of(world)) == (second, {"mode": "2"})
        verified = await world.store.read(lambda tx: tx.verifications.page(STAGING))
        assert all(one.revoked_at is None for one in verified)


async def test_a_retry_waits_for_no_pause() -> None:
    """A release whose run ended Errored, and a Rollback that would be tried again later."""
    async with live(2) as world:
        world.renderer.fail(PermanentError("the disk is full"), times=3)
        await bring(world, "3")
        for number in (1, 2):
            errored = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED, count=number)
            done(await world.actions.retry(ANA, errored.id))
        begun = world.clock.now()
        last = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED, count=3)
        assert world.clock.now() - begun < MINUTE
        assert last.attempt_number == 3
        done(await world.actions.retry(ANA, last.id))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert world.clock.now() - begun < MINUTE

        world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
        done(await world.actions.rollback(ANA, STAGING, None))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        waiting = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.PENDING)
        world.cluster.fault = None
        begun = world.clock.now()
        assert done(await world.actions.retry(ANA, waiting.id)).run == waiting.id
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert world.clock.now() - begun < timedelta(seconds=30)


async def test_what_failed_is_not_retried_before_its_quarantine_is_lifted() -> None:
    """The sentence names the quarantine; one that was lifted is not lifted twice."""
    bad = "registry.example/api:bad"
    async with live(1) as world:
        behaviour = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        world.cluster.workloads[bad] = behaviour
        await bring(world, "2", bad)
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        why = refused(await world.actions.retry(ANA, failed.id))
        quarantine = why.rpartition(" ")[2]
        assert why.startswith(f"{failed.release} is quarantined in shop/staging: ")
        same = refused(await world.actions.promote(ANA, STAGING, failed.release))
        assert same == why
        behaviour.waiting, behaviour.restarts, behaviour.ready_after = "", 0, timedelta(0)
        done(await world.actions.lift_quarantine(ANA, quarantine, reason="the node was bad"))
        twice = refused(await world.actions.lift_quarantine(ANA, quarantine))
        assert "was lifted by ana at " in twice
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert mode_of(world) == {"mode": "2"}
