"""A stage in each situation in which people can do something, brought there by the real engine.

In memory: everything outside. Three releases were verified before; a fourth one, or a person,
brings the stage where it is to be. Then the engine stops, and the store stands still there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.asked_gates import ExternalGate, Finding, ProbeAnswer
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import (
    ApplicationSpec,
    GitSource,
    RollbackGit,
    RollbackPolicy,
    StageSpec,
)
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import Digest, Inventory, JsonObject
from gitopsd.domain.releases import ReleaseId, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import Page
from gitopsd.engine.actions import ActionDone, ActionResult, Actor
from gitopsd.engine.effects import mark_stalled
from gitopsd.engine.freezing import freeze
from gitopsd.engine.restored import find_restored
from gitopsd.engine.syncing import make_run_id
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.pipeline.verbs import Situation
from gitopsd.ports import Rejection
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    World,
    config_map,
    deployment,
    job,
    make_world,
    started,
)

KEY = PRODUCTION
ACTOR = Actor("alex", ("release-managers",))
URL = "https://decide.example"
GOOD, SLOW, BAD = (f"registry.example/api:{tag}" for tag in ("good", "slow", "bad"))
TOOL = "registry.example/tool:1"
REASON = "it is Tuesday"
HOOK = job(TOOL, hook="PreSync", on_rollback="true")
"""Runs before what it stands in is applied, and before it is restored."""


def only_production(*, manual: bool = False) -> ApplicationSpec:
    """Make an application of one stage that asks a person, and a service outside."""
    stage = StageSpec(
        name=StageName("production"),
        cluster="one",
        path="overlays/production",
        namespace="shop",
        health_timeout=timedelta(minutes=5),
        verify=(HttpCheck(name="api /health", service="api", port="http", path="/health"),),
        gates=(ApprovalGate(("group:release-managers",)), ExternalGate(URL, "/secret")),
        rollback_policy=RollbackPolicy.MANUAL if manual else RollbackPolicy.AUTOMATIC,
    )
    return ApplicationSpec(SHOP, {}, GitSource(REPO, MAIN), (stage,), digest="1")


@dataclass(frozen=True)
class Scene:
    """A stage that stands still.

    Attributes:
        world: Its world; the engine does not run.
        releases: All releases, oldest first.
    """

    world: World
    releases: tuple[ReleaseId, ...]


class Stopper:
    """Keeps the store as it is at the first moment at which something is the case."""

    def __init__(self, world: World, wanted: Callable[[Transaction], bool]) -> None:
        self.reached = False
        self._world = world
        self._wanted = wanted
        world.store.observe = self._look

    def _look(self, tx: Transaction) -> None:
        if not self.reached and self._wanted(tx):
            self.reached = True
            self._world.memory.back_up()


async def done(result: Awaitable[ActionResult]) -> ActionDone:
    """Do something that is let through."""
    found = await result
    assert isinstance(found, ActionDone), found
    return found


async def bring(world: World, mode: str, *more: JsonObject, image: str = GOOD) -> Run:
    """Push a release and wait until it stands at its Gate."""
    await world.push(mode, deployment(image), config_map("settings", mode=mode), *more)
    return await at_gate(world)


async def at_gate(world: World) -> Run:
    """Wait until a run stands at the Gate."""
    return await world.until_run(KEY, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)


async def let_in(world: World, run: Run) -> None:
    """Approve a run."""
    await done(world.actions.approve(ACTOR, run.id, "", ""))


async def succeed(world: World, count: int, *more: JsonObject) -> None:
    """Bring releases, with some more objects, until the stage has them all verified."""
    for number in range(count):
        await let_in(world, await bring(world, str(number), *more))
        await world.until_run(KEY, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number + 1)


def _stands(kind: RunKind, at: Phase | Step) -> Callable[[Transaction], bool]:
    """Make the question whether one of the last runs stands somewhere."""

    def fits(run: Run) -> bool:
        there = run.step is at and run.live if isinstance(at, Step) else run.phase is at
        return run.kind is kind and there

    return lambda tx: any(fits(run) for run in tx.runs.page(Page(2), stage=KEY))


async def _until_stopped(world: World, stopper: Stopper) -> None:
    async def reached() -> bool:
        return stopper.reached

    await world.until(reached, "the situation")


async def _in_rollout(world: World, at: Step) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLOUT, at))
    await world.push("3", deployment(GOOD), config_map("settings", mode="3"))
    if at not in (Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE):
        await let_in(world, await at_gate(world))
    await _until_stopped(world, stopper)
    if at is Step.GATE:
        await _settle_gates(world)


async def _settle_gates(world: World) -> None:
    """Let the gates have answered."""
    await world.clock.sleep(timedelta(minutes=1))
    world.memory.back_up()


async def _in_rollback(world: World, at: Phase | Step) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLBACK, at))
    if at is Phase.PENDING:
        world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
    middle = (await world.releases())[1].id
    await done(world.actions.rollback(ACTOR, KEY, middle))
    await _until_stopped(world, stopper)


async def _in_sync(world: World, at: Step) -> None:
    stopper = Stopper(world, _stands(RunKind.SYNC, at))
    await done(world.actions.sync(ACTOR, KEY))
    await _until_stopped(world, stopper)


async def _failed(world: World) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLOUT, Phase.FAILED))
    await _push_broken(world)
    await _until_stopped(world, stopper)


async def _push_broken(world: World) -> CommitSha:
    """Push a commit whose overlay is gone."""
    gone = Rejection("NoKustomization", "the commit has no kustomization here")
    overlays = {"overlays/production": gone}
    sha = world.repositories.commit(REPO, "broken", parent=world.head, overlays=overlays)
    world.repositories.push(REPO, MAIN, sha)
    await world.ring(world.head, sha)
    world.head = sha
    return sha


async def _errored(world: World) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLOUT, Phase.ERRORED))
    world.renderer.fail(PermanentError("the disk is full"))
    await world.push("3", deployment(GOOD), config_map("settings", mode="3"))
    await _until_stopped(world, stopper)


async def _aborted(world: World) -> None:
    run = await bring(world, "3")
    await done(world.actions.reject(ACTOR, run.id, "", "not today"))
    world.memory.back_up()


async def _rolled_back(world: World) -> None:
    await let_in(world, await bring(world, "3", image=BAD))
    await world.until_run(KEY, RunKind.ROLLBACK, Phase.SUCCEEDED)
    world.memory.back_up()


async def _disagrees(world: World) -> None:
    await let_in(world, await bring(world, "3", image=BAD))
    run = await world.until_run(KEY, RunKind.ROLLBACK, Phase.SUCCEEDED)
    state = AgreementState.LEFT_TO_PERSON

    def leave(tx: Transaction) -> None:
        tx.agreements.save(Agreement(run.id, KEY, RollbackGit.PIN, REPO, MAIN, tx.now, state))

    await world.store.transact(leave)
    world.memory.back_up()


async def _synced(world: World) -> None:
    await done(world.actions.sync(ACTOR, KEY))
    await world.until_run(KEY, RunKind.SYNC, Phase.SUCCEEDED)
    world.memory.back_up()


async def _held(world: World) -> None:
    await done(world.actions.rollback(ACTOR, KEY, (await world.releases())[1].id))
    await world.until_run(KEY, RunKind.ROLLBACK, Phase.SUCCEEDED)
    await bring(world, "3")
    await _settle_gates(world)


async def _frozen(world: World) -> None:
    await bring(world, "3")
    await done(freeze(world.services, ACTOR, f"stage:{KEY}", "storm", None))
    await _settle_gates(world)


async def _suspended(world: World) -> None:
    await bring(world, "3")
    await done(world.actions.suspend(ACTOR, KEY, "audit"))
    await _settle_gates(world)


async def _unverified(world: World) -> None:
    run = await bring(world, "3", image=SLOW)
    await let_in(world, run)
    await world.until_run(KEY, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
    await done(world.actions.abort(ACTOR, run.id, restore=False))
    await world.until_run(KEY, RunKind.ROLLOUT, Phase.ABORTED)
    world.memory.back_up()


async def _stalled(world: World) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLOUT, Phase.ERRORED))
    await let_in(world, await bring(world, "3", image=SLOW))
    await world.until_run(KEY, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
    world.cluster.fault = lambda *_: TemporaryError("the cluster is away")
    await _until_stopped(world, stopper)


async def _called(world: World, reason: StallReason) -> None:
    await bring(world, "3")
    configuration = world.configuration[0]

    def call(tx: Transaction) -> None:
        if reason is StallReason.RESTORED_DATABASE:
            found = Inventory(tx.installation, KEY.application, KEY.stage, fence=70)
            find_restored(tx, KEY, found, configuration)
        else:
            mark_stalled(tx, KEY, reason, "look at it", configuration)

    await world.store.transact(call)
    await _settle_gates(world)


async def _quarantined(world: World) -> None:
    stopper = Stopper(world, _stands(RunKind.ROLLOUT, Phase.FAILED))
    await let_in(world, await bring(world, "3", image=BAD))
    await _until_stopped(world, stopper)


async def _retired(world: World) -> None:
    configuration = world.configuration[0]
    spec = configuration.applications[SHOP]
    other = replace(spec.stages[0], name=StageName("elsewhere"), namespace="elsewhere")
    applications = {SHOP: replace(spec, stages=(other,), digest="2")}
    await world.configure(replace(configuration, applications=applications))

    async def gone() -> bool:
        return (await world.stage(KEY)).retired_at is not None

    await world.until(gone, "the stage is retired")
    world.memory.back_up()


async def _nothing(world: World) -> None:
    """A release is known, and nothing may come."""
    await done(world.actions.suspend(ACTOR, KEY, "not yet"))
    await world.push("0", deployment(GOOD), config_map("settings", mode="0"))

    async def known() -> bool:
        return bool(await world.releases())

    await world.until(known, "the release is known")
    world.memory.back_up()


async def _succeeded(world: World) -> None:
    world.memory.back_up()


def _put_pending(kind: RunKind) -> Callable[[World], Awaitable[None]]:
    """Put a run into its slot that was not admitted: in the engine that takes no time at all."""

    async def build(world: World) -> None:
        def work(tx: Transaction) -> None:
            stage = tx.stages.get(KEY)
            assert stage is not None
            assert stage.applied is not None
            has = stage.applied
            rendered: Digest | None = has.rendered if kind is RunKind.SYNC else None
            run = Run(
                make_run_id(KEY, "pending"), KEY, has.release, kind,
                created_at=tx.now, spec=stage.spec, rendered=rendered,
            )  # fmt: skip
            tx.runs.add(run)
            if kind is RunKind.ROLLOUT:
                tx.stages.save(replace(stage, next=run.id))
            else:
                tx.stages.save(replace(stage, front=run.id))

        world.store.observe = None
        await world.store.transact(work)
        world.memory.back_up()

    return build


def _builders() -> Mapping[Situation, Callable[[World], Awaitable[None]]]:
    found: dict[Situation, Callable[[World], Awaitable[None]]] = {
        Situation.NOTHING: _nothing,
        Situation.ROLLOUT_PENDING: _put_pending(RunKind.ROLLOUT),
        Situation.ROLLBACK_PENDING: lambda world: _in_rollback(world, Phase.PENDING),
        Situation.SYNC_PENDING: _put_pending(RunKind.SYNC),
        Situation.SYNC_APPLY: lambda world: _in_sync(world, Step.APPLY),
        Situation.SYNC_WAIT_HEALTHY: lambda world: _in_sync(world, Step.WAIT_HEALTHY),
        Situation.SUCCEEDED: _succeeded,
        Situation.FAILED: _failed,
        Situation.ERRORED: _errored,
        Situation.ABORTED: _aborted,
        Situation.ROLLBACK_ENDED: _rolled_back,
        Situation.DISAGREES: _disagrees,
        Situation.SYNC_ENDED: _synced,
        Situation.FROZEN: _frozen,
        Situation.SUSPENDED: _suspended,
        Situation.HELD: _held,
        Situation.UNVERIFIED: _unverified,
        Situation.STALLED: _stalled,
        Situation.CALLED: lambda world: _called(world, StallReason.ROLLBACK_LOOP),
        Situation.RESTORED: lambda world: _called(world, StallReason.RESTORED_DATABASE),
        Situation.FOREIGN: lambda world: _called(world, StallReason.INVENTORY),
        Situation.QUARANTINED: _quarantined,
        Situation.RETIRED: _retired,
    }
    for step in Step:
        rollout = Situation(f"Rollout{step.value}")
        found[rollout] = _at_step(_in_rollout, step)
        if f"Rollback{step.value}" in {one.value for one in Situation}:
            found[Situation(f"Rollback{step.value}")] = _at_step(_in_rollback, step)
    return found


def _at_step(
    build: Callable[[World, Step], Awaitable[None]], step: Step
) -> Callable[[World], Awaitable[None]]:
    return lambda world: build(world, step)


BUILDERS = _builders()
"""How a stage is brought into each situation."""


@asynccontextmanager
async def standing_still(situation: Situation) -> AsyncIterator[Scene]:
    """Bring a stage into a situation and stop its engine there.

    `MemoryStore.restore` brings the store back to that moment.
    """
    world = make_world(only_production(manual=situation is Situation.QUARANTINED))
    world.prober.answer(URL, ProbeAnswer(Finding.MET, "decide.example says open"))
    world.cluster.workloads[SLOW] = Workload(None, "", "")
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
    async with started(world):
        if situation is not Situation.NOTHING:
            # A Rollback that has no hook to run is never seen in Prepare.
            hooked = situation is Situation.ROLLBACK_PREPARE
            await succeed(world, 3, *([HOOK] if hooked else []))
        await BUILDERS[situation](world)
    world.store.observe = None
    world.memory.restore()
    yield Scene(world, tuple(release.id for release in await world.releases()))
