"""What a release does to a real cluster: applying, migrating, recreating, leaving alone."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Step
from tests.support.cluster_objects import widget, widget_definition
from tests.support.cluster_world import (
    ClusterWorld,
    deployment,
    run_cluster_world,
    service,
    settings,
    with_approval,
    with_smoke_check,
)
from tests.support.images import web_image
from tests.support.widening import widen_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster_site import Site
    from tests.support.control_plane import ControlPlane


def annotated(obj: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """Copy an object with annotations of ours, ``recreate="true"`` and the like."""
    ours = {f"gitopsd.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {**obj, "metadata": {**obj["metadata"], "annotations": ours}}


async def sent(world: ClusterWorld, since: int) -> list[tuple[str, str]]:
    """List the writes that were no dry run: (verb, object)."""
    return [(write.verb, write.object) for write in await world.writes(since) if not write.dry]


async def test_a_good_release_runs_verified(site: Site) -> None:
    """Its objects exist with our labels, its pods run the pinned image, its check passed."""
    async with run_cluster_world(site, with_smoke_check) as world:
        image = await world.image(web_image("1"), "1")
        await world.push("first", deployment(image), service(), settings(mode="a"))
        run = await world.succeeded()

        assert (await world.stage()).verified == f"v-{run.id}"
        found = await world.snapshot()
        assert set(found) == {"Deployment/web", "Service/web", "ConfigMap/settings"}
        for obj in found.values():
            labels = obj["metadata"]["labels"]
            assert labels["gitopsd.io/application"] == "shop"
            assert labels["gitopsd.io/stage"] == "staging"
            assert labels["app.kubernetes.io/managed-by"] == "gitopsd"
        live = await world.object("Deployment", "web")
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == image
        assert live["status"]["availableReplicas"] == 1
        assert live["spec"]["template"]["metadata"]["labels"] == {"app": "web"}
        managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
        assert "gitopsd" in managers
        assert await world.inventory() == ["ConfigMap settings", "Deployment web", "Service web"]


async def test_unchanged_objects_are_not_sent(site: Site) -> None:
    """The second release changes one ConfigMap: nothing else sees a write that is no dry run."""
    async with run_cluster_world(site) as world:
        image = await world.image(web_image("1"), "1")
        await world.push("first", deployment(image), service(), settings(mode="a"))
        await world.succeeded()
        before = await world.snapshot()
        mark = await world.mark()
        await world.push("second", deployment(image), service(), settings(mode="b"))
        await world.succeeded(2)

        assert await sent(world, mark) == [("patch", "configmaps/settings")]
        after = await world.snapshot()
        assert after.pop("ConfigMap/settings")["data"] == {"mode": "b"}
        before.pop("ConfigMap/settings")
        assert after == before


async def test_what_moved_while_a_release_waited_is_applied(site: Site) -> None:
    """Known clean means clean at its version: what a person changed since is written after all."""
    async with run_cluster_world(site, with_approval) as world:
        await world.push("first", settings(mode="a"), settings("other", x="1"))
        await world.approve()
        await world.succeeded()
        await world.push("second", settings(mode="a"), settings("other", x="2"))
        await world.waiting()
        for name, data in (("settings", {"mode": "by hand"}), ("other", {"x": "by hand"})):
            patch = json.dumps({"data": data})
            await world.kubectl("patch", "configmap", name, "--type=merge", "-p", patch)
        await world.approve()
        await world.succeeded(2)

        assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": "a"}
        assert (await world.object("ConfigMap", "other"))["data"] == {"x": "2"}


async def test_an_object_that_appeared_while_a_release_waited_is_looked_at(site: Site) -> None:
    """What did not exist at Validate and is another's at Apply is not taken."""
    async with run_cluster_world(site, with_approval) as world:
        await world.push("first", settings(mode="a"))
        await world.waiting()
        theirs = settings(mode="theirs")
        theirs["metadata"]["labels"] = {
            "gitopsd.io/application": "b",
            "gitopsd.io/stage": "staging",
        }
        # Longer than what was seen at Validate is believed, without waiting for it.
        await world.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
        await world.age_assessment()
        await world.approve()
        run = await world.failed()

        assert run.step is Step.APPLY
        assert run.failure is not None
        assert run.failure.reason == "OwnedElsewhere"
        assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": "theirs"}


@pytest.fixture
def group(control_plane: ControlPlane) -> Iterator[str]:
    """An API group of this test, which gitopsd may write; its definitions go after the test."""
    name = f"g{secrets.token_hex(4)}.example.com"
    widen_rights(control_plane, name, name)
    yield name
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    control_plane.client.delete(f"{path}/widgets.{name}")


def with_definitions(stage: StageSpec) -> StageSpec:
    """Let the stage bring definitions and namespaces."""
    return replace(stage, cluster_scoped=("CustomResourceDefinition", "Namespace"))


async def test_a_definition_and_its_resource_come_in_one_release(site: Site, group: str) -> None:
    """The definition is established and served before its resource is applied."""
    async with run_cluster_world(site, with_definitions) as world:
        one = widget("one", "", group, size="s")
        del one["metadata"]["namespace"]
        await world.push("first", one, widget_definition(group), settings(mode="a"))
        run = await world.succeeded()

        path = f"/apis/{group}/v1/namespaces/{world.namespace}/widgets/one"
        assert (await world.live(path))["spec"] == {"size": "s"}
        seen = await world.change_set(run)
        assert seen["Widget/one"]["checked"] is False
        assert "definition" in seen["Widget/one"]["note"]
        assert seen["ConfigMap/settings"]["checked"] is True


async def test_a_namespace_and_its_objects_come_in_one_release(site: Site) -> None:
    """An object of a namespace that the release itself makes is checked when it is there."""
    other = f"{site.namespace}-other"

    def widened(stage: StageSpec) -> StageSpec:
        return replace(with_definitions(stage), namespaces=(other,))

    async with run_cluster_world(site, widened) as world:
        namespace: JsonObject = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": other},
        }
        inside = settings("inside", mode="a")
        inside["metadata"]["namespace"] = other
        await world.push("first", inside, namespace, settings(mode="a"))
        run = await world.succeeded()

        live = await world.live(f"/api/v1/namespaces/{other}/configmaps/inside")
        assert live["data"] == {"mode": "a"}
        seen = await world.change_set(run)
        assert seen["ConfigMap/inside"]["checked"] is False
        await world.kubectl("delete", "namespace", other, "--wait=false")


def job(image: str) -> dict[str, Any]:
    """Make a Job; its template cannot change."""
    container = {"name": "once", "image": image}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"suspend": True, "template": template},
    }


async def test_an_immutable_field_is_found_before_anything_is_written(site: Site) -> None:
    """The dry run of Validate finds it; the sentence says what to do; nothing was sent."""
    async with run_cluster_world(site) as world:
        selector = service()
        await world.push("first", job("registry.example/once:1"), settings(mode="a"), selector)
        await world.succeeded()
        before = await world.snapshot()
        mark = await world.mark()
        await world.push("second", job("registry.example/once:2"), settings(mode="b"), selector)
        run = await world.failed()

        assert run.step is Step.VALIDATE
        assert run.failure is not None
        assert run.failure.reason == "ImmutableField"
        assert "Job " in run.failure.message
        assert 'gitopsd.io/recreate: "true"' in run.failure.message
        assert await sent(world, mark) == []
        assert await world.snapshot() == before


async def test_an_annotated_object_is_made_anew(site: Site) -> None:
    """With the annotation it is deleted, waited for, and created with the new field."""
    async with run_cluster_world(site) as world:
        await world.push("first", annotated(job("registry.example/once:1"), recreate="true"))
        await world.succeeded()
        first = await world.object("Job", "once")
        mark = await world.mark()
        await world.push("second", annotated(job("registry.example/once:2"), recreate="true"))
        run = await world.succeeded(2)

        live = await world.object("Job", "once")
        assert live["metadata"]["uid"] != first["metadata"]["uid"]
        image = live["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == "registry.example/once:2"
        assert [verb for verb, _ in await sent(world, mark)] == ["patch", "delete", "patch"]
        assert "created anew" in (await world.change_set(run))["Job/once"]["note"]


async def test_what_client_side_kubectl_set_and_git_does_not_goes(site: Site) -> None:
    """After `kubectl apply`, a variable that the first release leaves out is removed."""
    async with run_cluster_world(site) as world:
        image = await world.image(web_image("1"), "1")
        env = [{"name": "LOG_LEVEL", "value": "debug"}, {"name": "MODE", "value": "a"}]
        manual = deployment(image, env=env)
        await world.kubectl("apply", "-f", "-", stdin=json.dumps(manual))
        await world.push("first", deployment(image, env=env[1:]))
        run = await world.succeeded()

        live = await world.object("Deployment", "web")
        assert live["spec"]["template"]["spec"]["containers"][0]["env"] == env[1:]
        annotations = live["metadata"].get("annotations", {})
        assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations
        managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
        assert "kubectl-client-side-apply" not in managers
        assert "kubectl" in (await world.change_set(run))["Deployment/web"]["note"]


async def test_what_kubectl_added_later_goes_with_the_next_release(site: Site) -> None:
    """A person's kubectl apply over a released object is undone, whether Git changed it or not."""
    async with run_cluster_world(site) as world:
        image = await world.image(web_image("1"), "1")
        await world.push("first", deployment(image), settings(mode="a"))
        await world.succeeded()
        by_hand = deployment(image, env=[{"name": "LOG_LEVEL", "value": "debug"}])
        await world.kubectl("apply", "-f", "-", stdin=json.dumps(by_hand))
        await world.push("second", deployment(image), settings(mode="b"))
        await world.succeeded(2)

        live = await world.object("Deployment", "web")
        assert "env" not in live["spec"]["template"]["spec"]["containers"][0]


def autoscaler(low: int, high: int) -> dict[str, Any]:
    """Make the HorizontalPodAutoscaler of the Deployment."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    usage = {"type": "Utilization", "averageUtilization": 80}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": low,
            "maxReplicas": high,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
        },
    }


async def test_an_autoscalers_replicas_are_kept(site: Site) -> None:
    """Five pods stay five when a release brings the autoscaler, and with the releases after it."""
    async with run_cluster_world(site) as world:
        image = await world.image(web_image("1"), "1")
        await world.push("first", deployment(image, replicas=2), settings(mode="a"))
        await world.succeeded()
        await world.kubectl("scale", "deployment", "web", "--replicas=5")
        await world.push(
            "second", deployment(image, replicas=2), settings(mode="a"), autoscaler(2, 10)
        )
        await world.succeeded(2)
        assert (await world.object("Deployment", "web"))["spec"]["replicas"] == 5
        mark = await world.mark()
        await world.push(
            "third", deployment(image, replicas=2), settings(mode="b"), autoscaler(2, 10)
        )
        run = await world.succeeded(3)

        assert (await world.object("Deployment", "web"))["spec"]["replicas"] == 5
        assert await sent(world, mark) == [("patch", "configmaps/settings")]
        assert "autoscaler" in (await world.change_set(run))["Deployment/web"]["note"]


async def test_an_object_annotated_for_it_is_left_to_others(site: Site) -> None:
    """Flux's annotations: reconcile disabled is never written, IfNotPresent only created."""
    async with run_cluster_world(site) as world:
        ignored, once = settings("ignored", mode="a"), settings("once", mode="a")
        flux = "kustomize.toolkit.fluxcd.io"
        ignored["metadata"]["annotations"] = {f"{flux}/reconcile": "disabled"}
        once["metadata"]["annotations"] = {f"{flux}/ssa": "IfNotPresent"}
        await world.push("first", ignored, once, settings(mode="a"))
        await world.succeeded()
        await world.push("second", ignored, {**once, "data": {"mode": "b"}}, settings(mode="b"))
        await world.succeeded(2)

        found = await world.snapshot()
        assert set(found) == {"ConfigMap/once", "ConfigMap/settings"}
        assert found["ConfigMap/once"]["data"] == {"mode": "a"}
