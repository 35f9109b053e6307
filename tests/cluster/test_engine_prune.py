"""What leaves Git leaves the cluster: in order, only what is ours, and never what holds data."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.config import PruneLimits, StageSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Step
from gitopsd.domain.work import EvidenceKind
from tests.support.cluster_objects import ref_of, widget, widget_definition
from tests.support.cluster_world import (
    ClusterWorld,
    deployment,
    run_cluster_world,
    service,
    settings,
    smoke_check,
)
from tests.support.images import never_ready_image, web_image
from tests.support.widening import grant, widen_rights

if TYPE_CHECKING:
    from tests.support.cluster_site import Site


def unlimited(stage: StageSpec) -> StageSpec:
    """Let any number of deletions go without a person."""
    return replace(stage, prune_limits=PruneLimits(objects=1000, share=1.0))


async def deletions(world: ClusterWorld, since: int) -> list[str]:
    """List the objects that were deleted, in order."""
    return [
        write.object
        for write in await world.writes(since)
        if write.verb == "delete" and write.code == 200
    ]


async def pruned(world: ClusterWorld, run: Any) -> dict[str, list[str]]:  # noqa: ANN401 - a Run
    """Read what the run says about its Prune."""
    kept = await world.evidence(run, EvidenceKind.PRUNE)
    content: Any = kept[-1].content
    return dict(content)


def account(name: str) -> dict[str, Any]:
    """Make a ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


async def test_objects_go_in_reverse_order_after_the_new_set_was_verified(site: Site) -> None:
    """Workloads before what they read, each with a precondition on the object that was seen."""

    def verified(stage: StageSpec) -> StageSpec:
        return replace(unlimited(stage), verify=(smoke_check(timedelta(seconds=20)),))

    async with run_cluster_world(site, verified) as world:
        image = await world.image(web_image("1"), "1")
        kept = (deployment(image), service())
        leaving = deployment(image, name="old")
        await world.push("first", *kept, leaving, settings("old"), account("old"), service("old"))
        await world.succeeded()
        mark = await world.mark()
        await world.push("second", *kept)
        run = await world.succeeded(2)

        assert await deletions(world, mark) == [
            "deployments/old",
            "services/old",
            "configmaps/old",
            "serviceaccounts/old",
        ]
        assert set(await world.snapshot()) == {"Deployment/web", "Service/web"}
        assert await world.inventory() == ["Deployment web", "Service web"]
        told = await pruned(world, run)
        assert len(told["deleted"]) == 4
        steps = [event.step for event in await world.store.read(lambda tx: tx.runs.events(run.id))]
        assert steps.index(Step.PRUNE) > steps.index(Step.VERIFY)


async def test_nothing_goes_while_the_new_set_is_not_healthy(site: Site) -> None:
    """A release that fails deletes nothing of what it left out."""

    def impatient(stage: StageSpec) -> StageSpec:
        return replace(unlimited(stage), health_timeout=timedelta(seconds=4))

    async with run_cluster_world(site, impatient) as world:
        image = await world.image(web_image("1"), "1")
        await world.push("first", deployment(image), settings("old", mode="a"))
        await world.succeeded()
        mark = await world.mark()
        stuck = await world.image(never_ready_image("2"), "2")
        await world.push("second", deployment(stuck))
        await world.failed()
        await world.restored()

        assert await deletions(world, mark) == []
        assert (await world.object("ConfigMap", "old"))["data"] == {"mode": "a"}


async def test_an_object_made_anew_by_somebody_else_is_not_deleted(site: Site) -> None:
    """Another uid under the name: it only leaves the list."""
    async with run_cluster_world(site, unlimited) as world:
        await world.push("first", settings(mode="a"), settings("old", mode="a"))
        await world.succeeded()
        await world.kubectl("delete", "configmap", "old")
        await world.kubectl("create", "configmap", "old", "--from-literal=whose=theirs")
        mark = await world.mark()
        await world.push("second", settings(mode="b"))
        run = await world.succeeded(2)

        assert (await world.object("ConfigMap", "old"))["data"] == {"whose": "theirs"}
        assert await deletions(world, mark) == []
        assert await world.inventory() == ["ConfigMap settings"]
        assert "another object has its name" in (await pruned(world, run))["dropped"][0]


async def test_an_object_annotated_to_stay_stays_and_stays_on_the_list(site: Site) -> None:
    """`prune: disabled` keeps it; taken away later, it goes with the next release."""
    async with run_cluster_world(site, unlimited) as world:
        staying = settings("old", mode="a")
        staying["metadata"]["annotations"] = {"gitopsd.io/prune": "disabled"}
        await world.push("first", settings(mode="a"), staying)
        await world.succeeded()
        await world.push("second", settings(mode="b"))
        run = await world.succeeded(2)
        assert (await world.object("ConfigMap", "old"))["data"] == {"mode": "a"}
        assert await world.inventory() == ["ConfigMap old", "ConfigMap settings"]
        assert "not pruned" in (await pruned(world, run))["kept"][0]

        await world.kubectl("annotate", "configmap", "old", "gitopsd.io/prune-")
        await world.push("third", settings(mode="c"))
        await world.succeeded(3)

        assert set(await world.snapshot()) == {"ConfigMap/settings"}


async def test_a_namespace_and_a_volume_claim_are_never_pruned(site: Site) -> None:
    """What others live in, and what holds data, stays and stays on the list."""
    other = f"{site.namespace}-kept"

    def widened(stage: StageSpec) -> StageSpec:
        return replace(
            unlimited(stage),
            namespaces=(other,),
            cluster_scoped=("Namespace", "CustomResourceDefinition"),
        )

    async with run_cluster_world(site, widened) as world:
        claim: JsonObject = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        namespace: JsonObject = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": other},
        }
        await world.push("first", settings(mode="a"), claim, namespace)
        await world.succeeded()
        mark = await world.mark()
        await world.push("second", settings(mode="b"))
        await world.succeeded(2)

        assert await deletions(world, mark) == []
        assert await world.object("PersistentVolumeClaim", "data")
        assert (await world.live(f"/api/v1/namespaces/{other}"))["status"]["phase"] == "Active"
        assert await world.inventory() == [
            "ConfigMap settings",
            "Namespace " + other,
            "PersistentVolumeClaim data",
        ]
        await world.kubectl("delete", "namespace", other, "--wait=false")


async def test_an_object_that_moved_to_another_stage_only_leaves_the_list(site: Site) -> None:
    """Its labels say whose it is now: it is not touched."""
    async with run_cluster_world(site, unlimited) as world:
        await world.push("first", settings(mode="a"), settings("moved", mode="a"))
        await world.succeeded()
        labels = {"gitopsd.io/application": "other", "gitopsd.io/stage": "staging"}
        patch = json.dumps({"metadata": {"labels": labels}})
        await world.kubectl("patch", "configmap", "moved", "--type=merge", "-p", patch)
        mark = await world.mark()
        await world.push("second", settings(mode="b"))
        run = await world.succeeded(2)

        assert (await world.object("ConfigMap", "moved"))["data"] == {"mode": "a"}
        assert await deletions(world, mark) == []
        assert await world.inventory() == ["ConfigMap settings"]
        assert "belongs to other/staging" in (await pruned(world, run))["dropped"][0]


async def test_what_a_finalizer_holds_stays_on_the_list_until_it_is_gone(site: Site) -> None:
    """A deletion that has not ended is remembered, and forgotten when it has."""
    async with run_cluster_world(site, unlimited) as world:
        held = settings("held", mode="a")
        held["metadata"]["finalizers"] = ["example.com/wait"]
        await world.push("first", settings(mode="a"), held)
        await world.succeeded()
        await world.push("second", settings(mode="b"))
        await world.succeeded(2)
        live = await world.object("ConfigMap", "held")
        assert live["metadata"]["deletionTimestamp"]
        assert await world.inventory() == ["ConfigMap held", "ConfigMap settings"]

        remove = json.dumps([{"op": "remove", "path": "/metadata/finalizers"}])
        await world.kubectl("patch", "configmap", "held", "--type=json", "-p", remove)
        await world.push("third", settings(mode="c"))
        await world.succeeded(3)

        assert await world.inventory() == ["ConfigMap settings"]


async def test_an_object_that_comes_back_while_it_is_being_deleted_is_made_anew(
    site: Site,
) -> None:
    """A release that holds a terminating object waits for its end, and creates it."""
    async with run_cluster_world(site, unlimited) as world:
        held = settings("held", mode="a")
        held["metadata"]["finalizers"] = ["example.com/wait"]
        await world.push("first", settings(mode="a"), held)
        await world.succeeded()
        await world.push("second", settings(mode="b"))
        await world.succeeded(2)
        old = await world.object("ConfigMap", "held")
        await world.push("third", settings(mode="b"), settings("held", mode="c"))
        await world.until_run_in(Step.APPLY)
        remove = json.dumps([{"op": "remove", "path": "/metadata/finalizers"}])
        await world.kubectl("patch", "configmap", "held", "--type=json", "-p", remove)
        await world.succeeded(3)

        live = await world.object("ConfigMap", "held")
        assert live["data"] == {"mode": "c"}
        assert live["metadata"]["uid"] != old["metadata"]["uid"]


async def test_an_object_that_may_not_be_read_is_not_forgotten(site: Site) -> None:
    """What cannot be looked at is neither deleted nor dropped from the list."""
    group = f"{site.namespace}.example.com"
    widen_rights(site.cluster, group, group)

    def widened(stage: StageSpec) -> StageSpec:
        return replace(unlimited(stage), cluster_scoped=("CustomResourceDefinition",))

    async with run_cluster_world(site, widened) as world:
        one = widget("one", world.namespace, group)
        definition = widget_definition(group)
        await world.push("first", settings(mode="a"), definition, one)
        await world.succeeded()
        grant(site.cluster, group, [])
        async with asyncio.timeout(20):
            while not isinstance(await world.cluster.get(ref_of(one)), ApiRefusal):
                pass  # until the API server goes by the new rules
        await world.push("second", settings(mode="b"), definition)
        await world.succeeded(2)

        assert await world.live(f"/apis/{group}/v1/namespaces/{world.namespace}/widgets/one")
        assert "Widget one" in await world.inventory()
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    site.cluster.client.delete(f"{path}/widgets.{group}")
