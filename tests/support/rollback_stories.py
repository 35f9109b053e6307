"""The rollback scenarios in virtual time: the whole engine, everything outside in memory.

A story brings a good release, lets another one turn out bad, and tells what came of it by the live
objects alone: they are as before, or they are not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.adapters.prometheus.measuring import MetricReader
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, RollbackPolicy, StageSpec
from gitopsd.domain.images import ImageSource, SemverPolicy
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.metrics import Comparison, Condition, MetricsServer
from gitopsd.domain.releases import StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.errors import TemporaryError
from gitopsd.testing.workloads import Workload
from tests.support.crash_world import Schedule, living
from tests.support.engine_world import (
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    job,
    make_world,
    shop_spec,
    started,
)
from tests.support.figures import FigureClient

GOOD, BAD, TOOL = "registry.example/api:1", "registry.example/api:2", "registry.example/tool:1"
CRASHING = Workload(None, "CrashLoopBackOff", "back-off restarting", restarts=4)
MINUTE = timedelta(minutes=1)
FEWEST_EFFECTS = 20
"""Effects of a restore, at least: transactions, writes to the cluster, messages."""
Live = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a story.

    Attributes:
        restored: Whether everything is as before.
        run: The Rollback; None when there was none.
        failed_at: When the verdict was given; None when there was none.
    """

    restored: bool
    run: Run | None
    failed_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """From the verdict to the end of the Rollback."""
        if not self.restored or self.run is None or self.failed_at is None:
            return None
        ended = self.run.ended_at
        return round((ended - self.failed_at).total_seconds(), 3) if ended is not None else None


def live_in(world: World, namespace: str = "shop-staging") -> Live:
    """Read what a namespace holds, and what is cluster-wide, without what servers write."""
    found = {}
    for name, obj in world.cluster.live().items():
        where = name.partition(" ")[2]
        if where.startswith(f"{namespace}/") or "/" not in where:
            found[name] = {key: obj[key] for key in obj if key not in ("status", "metadata")}
    return {name: found[name] for name in sorted(found) if "ConfigMap gitopsd" not in name}


def one_stage(**changes: object) -> ApplicationSpec:
    """Make the shop with staging alone, watched for an hour."""
    spec = shop_spec()
    stage = replace(spec.stages[0], watch=timedelta(hours=1), **changes)  # type: ignore[arg-type] # fields of a stage
    return replace(spec, stages=(stage,))


@asynccontextmanager
async def released(
    spec: ApplicationSpec | None = None, objects: Sequence[JsonObject] = ()
) -> AsyncIterator[tuple[World, Live]]:
    """Run the engine, bring a good release to staging, and tell what is live then."""
    world = make_world(spec or one_stage())
    async with started(world):
        await world.push("good", deployment(GOOD), config_map("kept", value="1"), *objects)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        yield world, live_in(world)


async def tell(world: World, before: Live, key: StageKey = STAGING) -> Told:
    """Wait until a Rollback succeeded, and compare."""
    back = await world.until_run(key, RunKind.ROLLBACK, Phase.SUCCEEDED)
    failed = [run for run in await world.runs(key) if run.phase is Phase.FAILED]
    return Told(live_in(world) == before, back, failed[-1].ended_at if failed else None)


async def hang(world: World, *beside: JsonObject) -> None:
    """Bring a release that shows nothing yet, until its health is waited for."""
    world.cluster.workloads[BAD] = Workload(None)
    await world.push("bad", deployment(BAD), *beside)
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)


async def bad_image() -> Told:
    """The image cannot be pulled."""
    async with released() as (world, before):
        world.cluster.workloads[BAD] = Workload(None, "ImagePullBackOff", "not found")
        await world.push("bad", deployment(BAD), config_map("added", value="2"))
        return await tell(world, before)


async def crash_after_ten_minutes() -> Told:
    """It was verified, and crashes in its watch window."""
    async with released() as (world, before):
        await world.push("bad", deployment(BAD), config_map("kept", value="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.clock.sleep(10 * MINUTE)
        world.cluster.workloads[BAD] = CRASHING
        crashed_at = world.clock.now()
        told = await tell(world, before)
        return replace(told, failed_at=crashed_at)


async def failing_metric() -> Told:
    """A figure is over its bound."""
    check = PrometheusCheck("errors", "errors", Condition(Comparison.LESS, 0.05), count=1)
    world = make_world(one_stage(verify=(check,)))
    clusters = {"one": ClusterSpec("one", metrics=MetricsServer("http://metrics.example"))}
    world.configuration[0] = replace(world.configuration[0], clusters=clusters)
    figures, metrics = [0.01], FigureClient()
    metrics.figures["errors"] = lambda _moment: figures[-1]
    reader = MetricReader(metrics, lambda: world.configuration[0])
    verifier = VerifierByKind(world.services.clusters, world.clock, metrics=reader)
    world.services = replace(world.services, verifier=verifier)
    async with started(world):
        await world.push("good", deployment(GOOD), config_map("kept", value="1"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = live_in(world)
        figures.append(0.2)
        await world.push("bad", deployment(BAD), config_map("kept", value="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        figures.append(0.01)
        return await tell(world, before)


async def failing_job() -> Told:
    """A PostSync Job exits 1."""
    async with released() as (world, before):
        world.cluster.workloads[TOOL] = Workload(exit_code=1)
        smoke = job(TOOL, "smoke", hook="PostSync", policy="HookFailed")
        await world.push("bad", deployment(BAD), config_map("kept", value="2"), smoke)
        return await tell(world, before)


async def deleted_object() -> Told:
    """What a verified release left out was deleted; it crashes in its watch window."""
    async with released() as (world, before):
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert "ConfigMap shop-staging/kept" not in live_in(world)
        world.cluster.workloads[BAD] = CRASHING
        crashed_at = world.clock.now()
        told = await tell(world, before)
        return replace(told, failed_at=crashed_at)


def widgets(version: str) -> JsonObject:
    """Make a definition whose versions differ in a field."""
    fields: dict[str, Json] = {f"field{version}": {"type": "string"}}
    schema: dict[str, Json] = {"type": "object", "properties": fields}
    names: dict[str, Json] = {"kind": "Widget", "plural": "widgets", "singular": "widget"}
    served: dict[str, Json] = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.shop.example"},
        "spec": {
            "group": "shop.example",
            "names": names,
            "scope": "Namespaced",
            "versions": [served],
        },
    }


async def crd_change() -> Told:
    """The bad release changed a definition; it is as before, and was never deleted."""
    spec = one_stage(cluster_scoped=("CustomResourceDefinition",))
    async with released(spec, [widgets("1")]) as (world, before):
        world.cluster.workloads[BAD] = CRASHING
        await world.push("bad", deployment(BAD), config_map("kept", value="1"), widgets("2"))
        return await tell(world, before)


async def declared_manual() -> Told:
    """The stage leaves it to a person."""
    async with released(one_stage(rollback_policy=RollbackPolicy.MANUAL)) as (world, before):
        world.cluster.workloads[BAD] = CRASHING
        await world.push("bad", deployment(BAD), config_map("kept", value="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.clock.sleep(10 * MINUTE)
        await _is_stalled(world, STAGING, StallReason.MANUAL)
        return Told(live_in(world) == before, await _rollback(world))


async def rollback_that_fails() -> Told:
    """What was good does not come up any more: once is enough, and a person is called."""
    async with released() as (world, before):
        await hang(world, config_map("added", value="2"))
        world.cluster.workloads.update({BAD: CRASHING, GOOD: CRASHING})
        back = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.FAILED)
        await world.clock.sleep(10 * MINUTE)
        await _is_stalled(world, STAGING, StallReason.ROLLBACK_FAILED)
        return Told(live_in(world) == before, back)


async def git_down() -> Told:
    """Nothing answers at the Git host from before the verdict until after the restore."""
    async with released() as (world, before):
        await hang(world, config_map("kept", value="2"))
        world.repositories.fail(REPO, TemporaryError("no answer"), times=10_000)
        world.cluster.workloads[BAD] = CRASHING
        return await tell(world, before)


async def registry_down() -> Told:
    """Nothing answers at the registry from before the verdict until after the restore."""
    async with released() as (world, before):
        await hang(world, config_map("kept", value="2"))
        world.registry.down.add("registry.example")
        world.cluster.workloads[BAD] = CRASHING
        return await tell(world, before)


async def newer_releases_during_an_approval() -> Told:
    """The newest of four is approved after 20 hours, is bad, and gives way to the first."""
    world = make_world(shop_spec())
    hours = replace(world.services.pace, sweep=MINUTE, poll=60 * MINUTE)
    world.services = replace(world.services, pace=hours)
    async with started(world):
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = live_in(world, "shop")
        for number in (5, 6, 7, 8):
            await world.push(f"release {number}", deployment(f"registry.example/api:{number}"))
            await world.clock.sleep(timedelta(hours=5))
        world.cluster.workloads["registry.example/api:8"] = CRASHING
        await world.approve()
        failed = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        back = await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        return Told(live_in(world, "shop") == before, back, failed.ended_at)


async def image_policy_after_a_quarantine() -> Told:
    """The bad image's digest is skipped, whatever the policy would choose; a better one is not."""
    image = "registry.example/api"
    follow = ImageSource(image, SemverPolicy(">=1"))
    world = make_world(replace(one_stage(), images=(follow,)))
    async with started(world):
        world.registry.push(image, "1.0.0")
        await world.push("first", deployment(image))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = live_in(world)
        bad = world.registry.push(image, "1.1.0")
        world.cluster.workloads[f"{image}:1.1.0@{bad}"] = CRASHING
        await world.notify(image, "1.1.0", bad)
        told = await tell(world, before)
        await world.clock.sleep(timedelta(hours=1))
        same = live_in(world) == before
        better = world.registry.push(image, "1.1.1")
        await world.notify(image, "1.1.1", better)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        return replace(told, restored=told.restored and same)


async def three_correlated_failures() -> Told:
    """Three verified stages of one cluster fail within minutes: the third stays as it is."""
    keys = [StageKey(SHOP, StageName(name)) for name in ("a", "b", "c")]
    stages = tuple(
        StageSpec(key.stage, "one", f"overlays/{key.stage}", f"shop-{key.stage}", watch=60 * MINUTE)
        for key in keys
    )
    world = make_world(replace(shop_spec(), stages=stages))
    async with started(world):
        for number in (1, 2):
            overlays = {
                stage.path: (deployment(f"registry.example/{stage.name}:{number}"),)
                for stage in stages
            }
            parent = world.head
            sha = world.repositories.commit(REPO, f"{number}", parent=parent, overlays=overlays)
            world.repositories.push(REPO, MAIN, sha)
            await world.ring(parent, sha)
            world.head = sha
            for key in keys:
                await world.until_run(key, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        applied = {key: live_in(world, f"shop-{key.stage}") for key in keys}
        for key in keys:
            world.cluster.workloads[f"registry.example/{key.stage}:2"] = CRASHING
        await world.clock.sleep(15 * MINUTE)
        held = [key for key in keys if (await world.stage(key)).stall is not None]
        assert len(held) == 1
        await _is_stalled(world, held[0], StallReason.CLUSTER_TROUBLE)
        kept = live_in(world, f"shop-{held[0].stage}") == applied[held[0]]
        return Told(not kept, await _rollback(world, held[0]))


async def daemon_killed_at_each_boundary() -> Told:
    """After every single effect from the verdict on, in lives of their own: nothing else comes."""
    total = len(await _effects_of_a_restore())
    assert total > FEWEST_EFFECTS
    outcomes = [await _restore_with_death(death) for death in range(1, total + 1)]
    return Told(all(one.restored for one in outcomes), outcomes[-1].run, outcomes[-1].failed_at)


async def _effects_of_a_restore() -> list[str]:
    world = make_world(one_stage())
    async with living(world, Schedule()) as process:
        await _until_bad(world)
        begun = len(process.lives[0].effects)
        world.cluster.workloads[BAD] = CRASHING
        await tell(world, {})
        return process.lives[0].effects[begun:]


async def _restore_with_death(death: int) -> Told:
    """Die right after one effect, counted from where the bad release waits for its health."""
    world = make_world(one_stage())
    async with living(world, Schedule()) as process:
        before = await _until_bad(world)
        process.lives[0].end_after(death)
        world.cluster.workloads[BAD] = CRASHING
        return await tell(world, before)


async def _until_bad(world: World) -> Live:
    await world.push("good", deployment(GOOD), config_map("kept", value="1"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    before = live_in(world)
    await hang(world, config_map("added", value="2"))
    return before


async def _is_stalled(world: World, key: StageKey, reason: StallReason) -> None:
    stall = (await world.stage(key)).stall
    assert stall is not None
    assert stall.reason is reason


async def _rollback(world: World, key: StageKey = STAGING) -> Run | None:
    return next((run for run in await world.runs(key) if run.kind is RunKind.ROLLBACK), None)


STORIES: Mapping[str, Callable[[], Awaitable[Told]]] = {
    "bad image": bad_image,
    "crash after ten minutes": crash_after_ten_minutes,
    "failing metric": failing_metric,
    "failing Job": failing_job,
    "deleted object": deleted_object,
    "CRD change": crd_change,
    "declared manual": declared_manual,
    "rollback that fails": rollback_that_fails,
    "Git down": git_down,
    "registry down": registry_down,
    "three newer releases during a 20-hour approval": newer_releases_during_an_approval,
    "image policy after a quarantine": image_policy_after_a_quarantine,
    "three correlated failures": three_correlated_failures,
    "daemon killed at each boundary": daemon_killed_at_each_boundary,
}
