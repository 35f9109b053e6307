"""What the cluster denies ends a run before it writes, whenever it began to deny it.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.manifests import Json, JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.store_ports import Transaction
from gitopsd.testing.refusals import forbidden
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    PRODUCTION,
    STAGING,
    World,
    config_map,
    job,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

TOOL = "registry.example/tool:1"
PLAIN = replace(shop_spec(), stages=tuple(replace(one, verify=()) for one in shop_spec().stages))
"""The usual application without checks: these tests release no workloads."""


def deny(world: World, *names: str) -> None:
    """Let admission deny objects of these names from now on."""

    def refuse(method: str, ref: ObjectRef, _: JsonObject) -> ApiRefusal | None:
        if method not in ("apply", "create") or ref.key.name not in names:
            return None
        return ApiRefusal(403, "Forbidden", f'admission webhook "p" denied the request: {ref.key}')

    world.cluster.refuse = refuse


async def limit(world: World, namespace: str, **hard: str) -> None:
    """Make a quota, counted, that has been used up to one below its limits."""
    limits: dict[str, Json] = {key.replace("__", "/"): value for key, value in hard.items()}
    used: dict[str, Json] = {key: str(int(str(value)) - 1) for key, value in limits.items()}
    await world.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few", "namespace": namespace},
            "spec": {"hard": limits},
            "status": {"hard": limits, "used": used},
        }
    )


async def failed(world: World, kind: RunKind = RunKind.ROLLOUT) -> Run:
    """Wait for production's run to fail."""
    return await world.until_run(PRODUCTION, kind, Phase.FAILED)


def reason_of(run: Run) -> tuple[Step | None, str, str]:
    """Say where and why a run failed."""
    assert run.failure is not None
    return run.step, run.failure.reason, run.failure.message


def trials(world: World, namespace: str) -> list[str]:
    """List what was tried in a namespace, in order."""
    return [
        what.rpartition("/")[2]
        for method, what, dry in world.cluster.requests
        if method == "apply" and dry and f" {namespace}/" in what
    ]


def looks_at_quotas(world: World, namespace: str) -> int:
    """Count how often a namespace's quotas were read."""
    asked = ("list", f"ResourceQuota {namespace}/", False)
    return world.cluster.requests.count(asked)


async def waiting(world: World, *, count: int = 1) -> None:
    """Wait until production's run waits for its approval."""
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE, count=count)


async def test_a_run_that_waits_for_nothing_tries_each_object_once() -> None:
    """Open gates cost no second dry-run, and quotas are read where something is new alone."""
    async with running_world(PLAIN) as world:
        await world.push("first", config_map("a", x="1"), config_map("b", x="1"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert sorted(trials(world, "shop-staging")) == ["a", "b"]
        assert looks_at_quotas(world, "shop-staging") == 1
        await world.push("second", config_map("a", x="2"), config_map("b", x="1"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert sorted(trials(world, "shop-staging")) == ["a", "a", "b", "b"]
        assert looks_at_quotas(world, "shop-staging") == 1


async def test_what_changes_is_tried_again_when_its_run_waited() -> None:
    """Only that: what is left as it is was not asked to be written."""
    async with running_world(PLAIN) as world:
        await world.push("first", config_map("a", x="1"), config_map("b", x="1"))
        await waiting(world)
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = len(trials(world, "shop"))
        await world.push("second", config_map("a", x="2"), config_map("b", x="1"))
        await waiting(world)
        tried = trials(world, "shop")[before:]
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert trials(world, "shop")[before:] == [*tried, "a"]


async def test_a_policy_made_while_a_release_waits_lets_nothing_begin() -> None:
    """Neither an object nor the hook that would run before it, though the hook is allowed."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload()
        objects = (config_map("a", x="1"), config_map("denied", x="1"), job(TOOL, hook="PreSync"))
        await world.push("first", *objects)
        await waiting(world)
        deny(world, "denied")
        mark = len(world.cluster.writes())
        await world.approve()
        step, reason, message = reason_of(await failed(world))
        assert (step, reason) == (Step.PREPARE, "AdmissionDenied")
        denied = "ConfigMap shop/denied"
        assert message == f'{denied}: admission webhook "p" denied the request: {denied}'
        done = [what for _, what in world.cluster.writes()[mark:] if " shop/" in what]
        assert done == []


async def test_a_denial_before_anything_was_written_undoes_nothing() -> None:
    """However often it happens: what runs is left alone, and nobody takes it for a loop."""
    async with running_world(PLAIN) as world:
        await world.push("first", config_map("a", x="1"))
        await waiting(world)
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before = await world.stage(PRODUCTION)
        for count in (1, 2, 3):
            world.cluster.refuse = None
            await world.push("another", config_map("a", x=f"{count + 1}"))
            await waiting(world)
            deny(world, "a")
            mark = len(world.cluster.writes())
            await world.approve()
            run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED, count=count)
            assert (run.step, run.mutated) == (Step.PREPARE, False)
            assert not [what for _, what in world.cluster.writes()[mark:] if " shop/" in what]
        after = await world.stage(PRODUCTION)
        assert {run.kind for run in await world.runs(PRODUCTION)} == {RunKind.ROLLOUT}
        assert (after.applied, after.verified, after.stall) == (
            before.applied,
            before.verified,
            None,
        )


async def test_a_large_set_is_tried_again_in_several_goes() -> None:
    """Each object once, though the server takes longer over all of them than one go may last."""
    async with running_world(PLAIN) as world:
        trying = False

        def note(tx: Transaction) -> None:
            nonlocal trying
            trying = any(run.step is Step.PREPARE for run in tx.runs.live())

        async def take_time(method: str, ref: ObjectRef | None) -> None:
            if trying and method == "apply" and ref is not None and ref.key.namespace == "shop":
                await world.clock.sleep(timedelta(seconds=9))

        world.store.observe = note
        names = [f"settings-{number:03d}" for number in range(208)]
        await world.push("first", *(config_map(name) for name in names))
        await waiting(world)
        world.cluster.before = take_time
        await world.approve()
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        events = await world.store.read(lambda tx: tx.runs.events(run.id))

        assert sorted(trials(world, "shop")) == sorted([*names, *names])
        assert "StepErrored" not in [event.name for event in events]
        assert sum(event.name == "StepPending" for event in events) >= 2


async def test_a_policy_of_the_hooks_within_and_after_lets_nothing_begin() -> None:
    """They are asked about as well, where no hook runs before."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload()
        await world.push("first", config_map("a", x="1"), job(TOOL, hook="Sync"))
        await waiting(world)
        deny(world, *[name for name in trials(world, "shop") if name.startswith("migrate")])
        await world.approve()
        assert reason_of(await failed(world))[:2] == (Step.PREPARE, "AdmissionDenied")
        assert not [what for _, what in world.cluster.writes() if " shop/" in what]


async def test_a_hook_that_is_denied_since_lets_nothing_begin() -> None:
    """It is tried again under its trial name, as in Validate."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload()
        await world.push("first", config_map("a", x="1"), job(TOOL, hook="PreSync"))
        await waiting(world)
        tried = [name for name in trials(world, "shop") if name.startswith("migrate")]
        deny(world, *tried)
        await world.approve()
        assert reason_of(await failed(world))[:2] == (Step.PREPARE, "AdmissionDenied")
        assert not [what for _, what in world.cluster.writes() if " shop/" in what]


async def test_hooks_that_run_are_not_asked_about_again() -> None:
    """A policy that comes while a migration runs is met after it: the migration ends first."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(minutes=3))
        objects = (config_map("a", x="1"), config_map("denied", x="1"), job(TOOL, hook="PreSync"))
        await world.push("first", *objects)
        await waiting(world)
        await world.approve()
        await world.until(lambda: "Job shop/migrate" in world.cluster.live(), "the hook runs")
        deny(world, "denied", "migrate")
        run = await failed(world)
        assert (*reason_of(run)[:2], run.mutated) == (Step.APPLY, "AdmissionDenied", True)
        assert "ConfigMap shop/a" not in world.cluster.live()
        assert world.cluster.live()["Job shop/migrate"]["metadata"]


async def test_a_release_that_was_long_on_its_way_is_tried_again_without_any_gate() -> None:
    """A hook of several minutes lies between: what was allowed before it may be denied now."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload(timedelta(minutes=3))
        await world.push("first", config_map("a"), config_map("denied"), job(TOOL, hook="PreSync"))
        await world.until(lambda: "Job shop-staging/migrate" in world.cluster.live(), "it runs")
        deny(world, "denied")
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        assert reason_of(run)[:2] == (Step.APPLY, "AdmissionDenied")
        assert "ConfigMap shop-staging/a" not in world.cluster.live()


async def test_a_quota_made_while_a_release_waits_has_no_room_for_all() -> None:
    """Each passes alone; nothing of the two is written, and the sentence has the figures."""
    async with running_world(PLAIN) as world:
        await world.push("first", config_map("a"), config_map("b"))
        await waiting(world)
        await limit(world, "shop", count__configmaps="3")
        await world.approve()
        step, reason, message = reason_of(await failed(world))
        assert (step, reason) == (Step.PREPARE, "QuotaExceeded")
        assert message == (
            "ConfigMap shop/a and 1 more new object: exceeded quota: few, "
            "requested: count/configmaps=2, used: count/configmaps=2, limited: count/configmaps=3; "
            "too much by count/configmaps=1"
        )
        assert not [name for name in world.cluster.live() if name.startswith("ConfigMap shop/")]


async def test_what_came_to_be_meanwhile_takes_nothing_more() -> None:
    """It is in the quota's count already: counted twice, a good release would be refused."""
    async with running_world(PLAIN) as world:
        await limit(world, "shop-staging", count__configmaps="2")

        async def somebody_is_faster(method: str, ref: ObjectRef | None) -> None:
            if method == "list" and ref is not None and ref.key.kind == "ResourceQuota":
                world.cluster.before = None
                mine: JsonObject = {"name": "a", "namespace": "shop-staging"}
                await world.cluster.apply(
                    {**config_map("a"), "metadata": mine}, manager="somebody", force=True
                )

        world.cluster.before = somebody_is_faster
        await world.push("first", config_map("a"), config_map("b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_quotas_that_may_not_be_read_are_met_where_they_are() -> None:
    """Whoever may not read them is told by the server itself."""
    async with running_world(PLAIN) as world:
        await limit(world, "shop-staging", count__configmaps="1")

        def refuse(method: str, ref: ObjectRef, _: JsonObject) -> ApiRefusal | None:
            if method == "list" and ref.key.kind == "ResourceQuota":
                return forbidden(ref, "list", "deployer")
            return None

        world.cluster.refuse = refuse
        await world.push("first", config_map("a"), config_map("b"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


def scaled_objects() -> tuple[JsonObject, ...]:
    """Make a Deployment without replicas of its own and the autoscaler that decides them."""
    target: JsonObject = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    template: JsonObject = {
        "metadata": {"labels": {"app": "api"}},
        "spec": {"containers": [{"name": "api", "image": "registry.example/api:1"}]},
    }
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "api"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "api"}},
                "template": template,
            },
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "api"},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9},
        },
    )


def once(name: str, **data: str) -> JsonObject:
    """Make a ConfigMap that is only created where there is none."""
    marks: JsonObject = {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}
    return {**config_map(name, **data), "metadata": {"name": name, "annotations": marks}}


async def test_what_is_left_alone_is_not_held_against_a_release() -> None:
    """Neither an object that exists and is only created, nor an autoscaler's replicas."""
    async with running_world(PLAIN) as world:
        await world.push("first", *scaled_objects(), once("given"), config_map("a", x="1"))
        await waiting(world)
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        deployment, scaler = scaled_objects()
        labelled: JsonObject = {"name": "api", "labels": {"team": "shop"}}
        await world.push(
            "second",
            {**deployment, "metadata": labelled},
            scaler,
            once("given", y="2"),
            config_map("a", x="2"),
        )
        await waiting(world)
        deny(world, "given")
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_what_waits_for_its_approval_was_only_tried() -> None:
    """Not even what takes a field from somebody else, what is scaled, made once, or runs before."""
    async with running_world(PLAIN) as world:
        world.cluster.workloads[TOOL] = Workload()
        theirs: JsonObject = {
            **config_map("taken", mode="theirs"),
            "metadata": {"name": "taken", "namespace": "shop"},
        }
        await world.cluster.apply(theirs, manager="somebody", force=False)
        before, mark = world.cluster.live(), len(world.cluster.writes())
        release = (config_map("taken", mode="ours"), *scaled_objects(), once("given"))
        await world.push("first", *release, job(TOOL, hook="PreSync"))
        await waiting(world)
        tried = trials(world, "shop")
        assert tried.count("taken") == 2
        assert {"api", "given"} < set(tried)
        assert any(name.startswith("migrate") for name in tried)
        assert not [what for _, what in world.cluster.writes()[mark:] if " shop/" in what]
        assert {name for name in world.cluster.live() if " shop/" in name} == set(before)
        assert world.cluster.live()["ConfigMap shop/taken"] == before["ConfigMap shop/taken"]


async def test_a_pod_whose_account_comes_with_its_namespace_is_not_denied() -> None:
    """A server refuses such a pod until the account is there, which the release itself makes."""
    staging, production = PLAIN.stages
    into = replace(staging, namespaces=("other",), cluster_scoped=("Namespace",))
    async with running_world(replace(PLAIN, stages=(into, production))) as world:
        world.cluster.namespaces = frozenset({"shop-staging", "shop"})
        there = {"namespace": "other"}
        account: JsonObject = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "runner", **there},
        }
        pod: JsonObject = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "bare", **there},
            "spec": {"serviceAccountName": "runner", "containers": [{"name": "x", "image": TOOL}]},
        }
        namespace: JsonObject = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "other"},
        }

        def refuse(method: str, ref: ObjectRef, _: JsonObject) -> ApiRefusal | None:
            live = world.cluster.live()
            if method != "apply" or ref.key.kind != "Pod" or "Namespace other" not in live:
                return None
            if "ServiceAccount other/runner" in live:
                return None
            message = 'pods "bare" is forbidden: error looking up service account other/runner: '
            return ApiRefusal(403, "Forbidden", message + 'serviceaccount "runner" not found')

        world.cluster.refuse = refuse
        await world.push("first", pod, account, namespace)
        await world.until(lambda: "Pod other/bare" in world.cluster.live(), "the pod is made")
