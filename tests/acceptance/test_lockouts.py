"""Who gives way, and whose time it is, while a cluster refuses our credential.

Faked: the clusters in memory, which refuse as `gitopsd.adapters.cluster` does. Real: the engine and
the checks. Time is virtual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.cluster_ports import HttpAnswer
from gitopsd.domain.channels import Subscription
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.actions import ActionDone, ActionRefused
from gitopsd.errors import GitopsdError
from gitopsd.store_ports import Transaction
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from gitopsd.testing.workloads import Workload
from tests.support.ailing import CREDENTIAL_REFUSED
from tests.support.engine_world import (
    APPROVER,
    SHOP,
    STAGING,
    World,
    deployment,
    job,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

GOOD, NEXT, BAD = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
TOOL, STORE = "registry.example/tool:1", "registry.example/store:1"
HEALTH = timedelta(seconds=90)
REFUSED_FOR = timedelta(minutes=20)
Concerns = Callable[[str, ObjectRef | None], bool]


class Site:
    """A world with two clusters, of which the first may refuse our credential.

    Attributes:
        world: The world.
        other: The second cluster.
        clusters: Both.
    """

    def __init__(self) -> None:
        self.world = make_world(shop_spec())
        self.other = MemoryCluster(self.world.clock)
        self.clusters = MemoryClusters({"one": self.world.cluster, "two": self.other})
        for cluster in (self.world.cluster, self.other):
            healthy = HttpAnswer(200, {}, b"{}", from_proxy=False)
            cluster.proxied["api", "/health"] = healthy
            cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        services = replace(
            self.world.services,
            clusters=self.clusters,
            verifier=VerifierByKind(self.clusters, self.world.clock),
        )
        self.world.services = services
        configuration = self.world.configuration[0]
        ops = configuration.channels["ops"]
        paging = replace(ops, subscriptions=(Subscription(("on-stalled",)),))
        specs = {**configuration.clusters, "two": ClusterSpec("two")}
        self.world.configuration[0] = replace(
            configuration, clusters=specs, channels={"ops": paging}
        )

    def refuse(self, concerns: Concerns) -> None:
        """Refuse what is concerned from now on."""

        def fault(method: str, ref: ObjectRef | None) -> GitopsdError | None:
            return CREDENTIAL_REFUSED.make_error() if concerns(method, ref) else None

        self.world.cluster.fault = fault

    def let_in(self) -> None:
        """Take the credential again; its file was replaced."""
        self.world.cluster.fault = None
        self.clusters.renewed.add("one")

    async def move(self) -> None:
        """Write staging to the second cluster from now on."""
        configuration = self.world.configuration[0]
        spec = configuration.applications[SHOP]
        staging, *others = spec.stages
        moved = replace(spec, stages=(replace(staging, cluster="two"), *others), digest="2")
        await self.world.configure(replace(configuration, applications={SHOP: moved}))

    def calls(self) -> list[str]:
        """What the person on call was told, who subscribed to ``on-stalled`` alone."""
        return [note.message for notes in self.world.notifier.received.values() for note in notes]

    async def until_locked_out(self, kind: RunKind, step: Step) -> Run:
        """Wait until a run is locked out in a step."""
        found: list[Run] = []

        async def there() -> bool:
            runs = await self.world.runs(STAGING)
            found[:] = [run for run in runs if (run.kind, run.step) == (kind, step) and run.live]
            return bool(found) and found[-1].lockouts > 1

        await self.world.until(there, f"a {kind.value} locked out in {step.value}")
        return found[-1]


def everything(_method: str, _ref: ObjectRef | None) -> bool:
    """Concern every request."""
    return True


async def good(world: World) -> None:
    """Bring a good release to staging."""
    await world.push("good", deployment(GOOD))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_person_hears_of_a_release_that_waits_before_it_has_written() -> None:
    """Once, with what to do; no stage is stalled, and it goes on as if nothing had been."""
    site = Site()
    world = site.world
    async with started(world):
        await good(world)
        site.refuse(everything)
        await world.push("next", deployment(NEXT))
        run = await site.until_locked_out(RunKind.ROLLOUT, Step.VALIDATE)
        await world.clock.sleep(REFUSED_FOR)

        assert (await world.stage(STAGING)).stall is None
        [call] = site.calls()
        assert f"{run.release} waits in Validate: one: the cluster refuses our credential" in call
        assert "replace the cluster's credential file, or its CA" in call
        site.let_in()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert len(site.calls()) == 1


@pytest.mark.parametrize("how", ["the stage moves", "a person aborts it"])
async def test_a_rollback_that_is_locked_out_for_good_does_not_keep_its_stage(how: str) -> None:
    """Its cluster was retired: a newer release takes over elsewhere, or a person ends it."""
    site = Site()
    world = site.world
    async with started(world):
        await good(world)
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=30))
        await world.push("bad", deployment(BAD))
        back = await world.until_run(
            STAGING, RunKind.ROLLBACK, Phase.RUNNING, step=Step.WAIT_HEALTHY
        )
        refused = await world.actions.abort(APPROVER, back.id, restore=True)
        assert isinstance(refused, ActionRefused)
        site.refuse(everything)
        await site.until_locked_out(RunKind.ROLLBACK, Step.WAIT_HEALTHY)
        stalled = (await world.stage(STAGING)).stall
        assert stalled is not None
        assert stalled.reason is StallReason.UNREACHABLE
        if how == "the stage moves":
            await site.move()
            ended = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ABORTED)
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
            reason = AbortReason.SUPERSEDED
            assert GOOD in str(site.other.live()["Deployment shop-staging/api"])
        else:
            done = await world.actions.abort(APPROVER, back.id, restore=True)
            assert isinstance(done, ActionDone)
            ended = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ABORTED)
            reason = AbortReason.REQUESTED

        assert ended.failure is not None
        assert ended.failure.reason == reason.value
        assert len([run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]) == 1


async def test_a_nearly_finished_release_that_is_locked_out_gives_way_to_a_newer_one() -> None:
    """Its checks are refused, the newer one's questions are not: it ends with its next attempt."""
    site = Site()
    world = site.world
    async with started(world):
        await good(world)
        site.refuse(lambda method, _: method == "send")
        await world.push("next", deployment(NEXT))
        old = await site.until_locked_out(RunKind.ROLLOUT, Step.VERIFY)
        await world.push("newest", deployment(TOOL))
        ended = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        site.let_in()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert ended.id == old.id
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.SUPERSEDED.value
        assert TOOL in str(world.cluster.live()["Deployment shop-staging/api"])
        assert (await world.stage(STAGING)).stall is None


async def test_what_was_called_for_in_one_step_is_called_for_again_in_the_next() -> None:
    """The call ends with the step that waited, and the stage with it is stalled no more."""
    site = Site()
    world = site.world
    async with started(world):
        await good(world)
        world.cluster.workloads[NEXT] = Workload(timedelta(seconds=30))
        await world.push("next", deployment(NEXT))
        for step in (Step.WAIT_HEALTHY, Step.VERIFY):
            await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=step)
            site.refuse(everything)
            await site.until_locked_out(RunKind.ROLLOUT, step)
            stalled = (await world.stage(STAGING)).stall
            assert stalled is not None
            assert f"waits in {step.value}" in stalled.message
            site.let_in()
            world.cluster.proxied["api", "/health"] = HttpAnswer(503, {}, b"", from_proxy=False)
        verifying = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        assert verifying.live
        world.cluster.proxied["api", "/health"] = HttpAnswer(200, {}, b"{}", from_proxy=False)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert (await world.stage(STAGING)).stall is None
        assert len(site.calls()) == 2


async def test_a_waves_time_stands_still_while_it_is_refused() -> None:
    """It becomes healthy within its time, of which a lockout took none."""
    site = Site()
    world = site.world
    configuration = world.configuration[0]
    spec = configuration.applications[SHOP]
    staging, *others = spec.stages
    bounded = replace(spec, stages=(replace(staging, health_timeout=HEALTH), *others))
    world.configuration[0] = replace(configuration, applications={SHOP: bounded})
    pace = replace(world.services.pace, slice=timedelta(seconds=10))
    world.services = replace(world.services, pace=pace)
    store = deployment(STORE, "store")
    store = {**store, "metadata": {"name": "store", "annotations": {_WAVE: "-1"}}}
    async with started(world):
        begun = world.clock.now()
        # 60 s of its 90 pass before it is refused or after it is let in.
        world.cluster.workloads[STORE] = Workload(REFUSED_FOR + timedelta(seconds=60))
        await world.push("good", store, deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.APPLY)
        await world.clock.sleep(timedelta(seconds=35))
        site.refuse(everything)
        await world.clock.sleep(REFUSED_FOR)
        site.let_in()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert len(await world.runs(STAGING)) == 1
        assert world.clock.now() - begun > REFUSED_FOR + timedelta(seconds=60)


_WAVE = "argocd.argoproj.io/sync-wave"


async def test_the_hooks_of_what_failed_have_their_time_after_a_lockout() -> None:
    """A dump that takes 20 s is waited for, though the restore was refused for minutes before."""
    site = Site()
    world = site.world
    async with started(world):
        await good(world)
        world.cluster.workloads[TOOL] = Workload(timedelta(seconds=20))
        restoring: list[bool] = []

        def note(tx: Transaction) -> None:
            restoring[:] = [any(run.kind is RunKind.ROLLBACK for run in tx.runs.live())]

        world.store.observe = note
        site.refuse(lambda _method, _ref: restoring == [True])
        await world.push("bad", deployment(BAD), job(TOOL, "dump", hook="SyncFail"))
        await site.until_locked_out(RunKind.ROLLBACK, Step.PREPARE)
        await world.clock.sleep(REFUSED_FOR)
        site.let_in()
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        pieces = await world.store.read(lambda tx: tx.runs.evidence(back.id))
        notes = [piece.content for piece in pieces if piece.kind is EvidenceKind.NOTES]
        assert not [said for said in notes if "the restore went on" in str(said)]
        [dump] = [piece.content for piece in pieces if piece.kind is EvidenceKind.HOOK]
        assert "SyncFail" in str(dump)
