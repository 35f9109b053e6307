"""What a release may not do on a real cluster, and that nothing was done when it tried."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.cluster_ports import (
    ApiRefusal,
)
from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Run, Step
from tests.support.cluster_objects import config_map, ref_of
from tests.support.cluster_world import (
    ClusterWorld,
    deployment,
    run_cluster_world,
    settings,
)
from tests.support.images import web_image
from tests.support.processes import wait_until
from tests.support.widening import let_impersonate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster_site import Site


async def refused(world: ClusterWorld, reason: str, *words: str) -> Run:
    """Wait for a failure in Validate with this reason; its sentence has the words."""
    run = await world.failed()
    assert run.failure is not None
    assert run.step is Step.VALIDATE, run.failure
    assert run.failure.reason == reason, run.failure
    for word in words:
        assert word in run.failure.message
    return run


async def changes(world: ClusterWorld, since: int) -> list[str]:
    """List what was sent that was no dry run."""
    return [f"{write.verb} {write.object}" for write in await world.writes(since) if not write.dry]


OUTSIDE: dict[str, JsonObject] = {
    "another namespace": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default"},
    },
    "cluster-scoped": {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "shop"},
        "rules": [],
    },
}


@pytest.mark.parametrize("outside", list(OUTSIDE))
async def test_an_object_outside_the_boundary_changes_nothing(site: Site, outside: str) -> None:
    """The whole release is refused; not even a dry run of that object was sent."""
    async with run_cluster_world(site) as world:
        mark = await world.mark()
        await world.push("first", settings(mode="a"), OUTSIDE[outside])
        await refused(world, "OutsideBoundary", "to allow it")

        assert await changes(world, mark) == []
        assert await world.snapshot() == {}
        asked = await world.requests(mark)
        assert not [
            line for line in asked if "default/configmaps" in line or "/clusterroles" in line
        ]


async def test_an_object_of_another_stage_is_not_taken(site: Site) -> None:
    """Its labels say whose it is; the sentence says how to take it over, and that works."""
    async with run_cluster_world(site) as world:
        theirs = settings(mode="theirs")
        theirs["metadata"]["labels"] = {"gitopsd.io/application": "b", "gitopsd.io/stage": "x"}
        await world.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
        mark = await world.mark()
        await world.push("first", settings(mode="ours"))
        await refused(world, "OwnedElsewhere", "stage x of application b", "gitopsd.io/adopt")
        assert await changes(world, mark) == []
        assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": "theirs"}

        adopting = settings(mode="ours")
        adopting["metadata"]["annotations"] = {"gitopsd.io/adopt": "true"}
        await world.push("second", adopting)
        await world.succeeded()

        live = await world.object("ConfigMap", "settings")
        assert live["data"] == {"mode": "ours"}
        assert live["metadata"]["labels"]["gitopsd.io/application"] == "shop"


async def test_an_object_that_argo_cd_manages_is_not_taken(site: Site) -> None:
    """Two tools on one object would undo each other for ever."""
    async with run_cluster_world(site) as world:
        theirs = settings(mode="theirs")
        theirs["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop"}
        await world.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
        mark = await world.mark()
        await world.push("first", settings(mode="ours"))
        await refused(world, "ManagedBy", "Argo CD")

        assert await changes(world, mark) == []


async def test_an_object_that_flux_manages_is_not_taken(site: Site) -> None:
    """Its field manager gives it away."""
    async with run_cluster_world(site) as world:
        await world.kubectl(
            "apply",
            "--server-side",
            "--field-manager=kustomize-controller",
            "-f",
            "-",
            stdin=json.dumps(settings(mode="theirs")),
        )
        mark = await world.mark()
        await world.push("first", settings(mode="ours"))
        await refused(world, "ManagedBy", "Flux")

        assert await changes(world, mark) == []


async def test_all_refusals_are_told_at_once(site: Site) -> None:
    """A person does not have to push once for each of them."""
    async with run_cluster_world(site) as world:
        misspelt = {**settings("misspelt"), "dtaa": {}}
        await world.push("first", *OUTSIDE.values(), misspelt)
        run = await world.failed()

        assert run.failure is not None
        for word in ("ClusterRole shop", "ConfigMap default/settings", "dtaa"):
            assert word in run.failure.message
        seen = await world.change_set(run)
        assert len([line for line in seen.values() if "refused" in line]) == 3


async def test_a_quota_ends_the_run_with_the_clusters_words(site: Site) -> None:
    """What the namespace has no room for is found by the dry run."""
    async with run_cluster_world(site) as world:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few"},
            "spec": {"hard": {"count/configmaps": "1"}},
        }
        await world.kubectl("create", "-f", "-", stdin=json.dumps(quota))
        await _until_quota(world)
        mark = await world.mark()
        await world.push("first", settings("one", mode="a"))
        await refused(world, "QuotaExceeded", "exceeded quota: few", "count/configmaps=1")

        assert await changes(world, mark) == []


async def _until_quota(world: ClusterWorld) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas/few"

    def counted() -> bool:
        return "used" in world.site.cluster.client.get(path).get("status", {})

    await asyncio.to_thread(
        wait_until, counted, what="the quota to be counted", within=timedelta(seconds=20)
    )


async def test_pod_security_ends_the_run_with_the_clusters_words(site: Site) -> None:
    """A pod that the namespace's level forbids is refused by admission itself."""
    async with run_cluster_world(site) as world:
        label = "pod-security.kubernetes.io/enforce=restricted"
        await world.kubectl("label", "namespace", world.namespace, label)
        image = await world.image(web_image("1"), "1")
        pod: JsonObject = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "bare"},
            "spec": {"containers": [{"name": "web", "image": image}]},
        }
        mark = await world.mark()
        await world.push("first", pod)
        await refused(world, "AdmissionDenied", 'violates PodSecurity "restricted')

        assert await changes(world, mark) == []


@pytest.fixture
def policy(site: Site) -> Iterator[str]:
    """An admission policy that wants every Deployment of the namespace to have two pods."""
    name = f"two-{secrets.token_hex(4)}"
    client, group = site.cluster.client, "admissionregistration.k8s.io"
    rules = [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"],
        }
    ]
    client.create(
        f"/apis/{group}/v1/validatingadmissionpolicies",
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [
                    {"expression": "object.spec.replicas >= 2", "message": "one pod is no pod"}
                ],
            },
        },
    )
    client.create(
        f"/apis/{group}/v1/validatingadmissionpolicybindings",
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": site.namespace}
                    }
                },
            },
        },
    )
    yield name
    client.delete(f"/apis/{group}/v1/validatingadmissionpolicybindings/{name}")
    client.delete(f"/apis/{group}/v1/validatingadmissionpolicies/{name}")


async def test_an_admission_policy_ends_the_run_with_its_own_words(site: Site, policy: str) -> None:
    """A ValidatingAdmissionPolicy's message is the run's sentence."""
    async with run_cluster_world(site) as world:
        await _until_denied(world)
        mark = await world.mark()
        await world.push("first", deployment("registry.example/web:1"))
        await refused(world, "AdmissionDenied", "one pod is no pod", policy)

        assert await changes(world, mark) == []


async def _until_denied(world: ClusterWorld) -> None:
    """Wait until the API server goes by the policy, which it learns of a moment later."""
    trial = deployment("registry.example/web:1", name="trial")
    trial["metadata"]["namespace"] = world.namespace
    async with asyncio.timeout(30):
        while not isinstance(
            await world.cluster.apply(trial, manager="trial", force=True, dry_run=True), ApiRefusal
        ):
            pass


async def test_what_gitopsd_may_not_write_ends_the_run_with_the_servers_words(site: Site) -> None:
    """A kind beyond its rights is forbidden, and the sentence names the right."""

    def widened(stage: StageSpec) -> StageSpec:
        return replace(stage, cluster_scoped=("ClusterRole",))

    async with run_cluster_world(site, widened) as world:
        mark = await world.mark()
        await world.push("first", settings(mode="a"), OUTSIDE["cluster-scoped"])
        await refused(world, "Forbidden", "clusterroles", "cannot")

        assert await changes(world, mark) == []


async def test_a_missing_namespace_and_an_unknown_kind_are_said(site: Site) -> None:
    """Both are found before anything is written."""

    def elsewhere(stage: StageSpec) -> StageSpec:
        return replace(stage, namespaces=("no-such-place",))

    async with run_cluster_world(site, elsewhere) as world:
        await world.push("first", config_map("settings", "no-such-place"))
        await refused(world, "NamespaceMissing", "no-such-place")
        gadget: Any = {"apiVersion": "none.example.com/v1", "kind": "Gadget"}
        await world.push("second", {**gadget, "metadata": {"name": "one"}})
        run = await world.failed(2)

        assert run.failure is not None
        assert run.failure.reason == "UnknownKind"


def as_deployer(stage: StageSpec) -> StageSpec:
    """Let the stage be written by a service account of its own."""
    return replace(stage, service_account="deployer")


async def _make_deployer(site: Site, rules: list[dict[str, Any]]) -> None:
    await asyncio.to_thread(site.cluster.make_account, site.namespace, "deployer", rules)
    await asyncio.to_thread(let_impersonate, site.cluster, site.namespace)


async def _until_deployer_may(world: ClusterWorld) -> None:
    """Wait until the API server goes by the new rules, which it learns of a moment later."""
    deployer = world.clusters.get("one", service_account="deployer", namespace=world.namespace)
    ref = ref_of(config_map("any", world.namespace))
    async with asyncio.timeout(30):
        while isinstance(await deployer.get(ref), ApiRefusal):
            pass


async def test_a_stages_service_account_is_who_writes(site: Site) -> None:
    """Every write to the namespace carries its name; its rights are all the stage has."""
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    await _make_deployer(site, [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}])
    async with run_cluster_world(site, as_deployer) as world:
        await _until_deployer_may(world)
        mark = await world.mark()
        await world.push("first", settings(mode="a"))
        await world.succeeded()

        user = f"system:serviceaccount:{site.namespace}:deployer"
        written = await world.writes(mark)
        assert {write.user for write in written} == {user}
        assert [write.object for write in written if not write.dry] == ["configmaps/settings"]

        await world.push("second", settings(mode="b"), deployment("registry.example/web:1"))
        run = await world.failed()
        assert run.failure is not None
        assert run.failure.reason == "Forbidden"
        assert user in run.failure.message
        assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": "a"}


async def test_an_account_that_gitopsd_may_not_act_as_is_said(site: Site) -> None:
    """Without the right to impersonate nothing is read or written, and the sentence says so."""
    await asyncio.to_thread(site.cluster.make_account, site.namespace, "deployer", [])
    async with run_cluster_world(site, as_deployer) as world:
        mark = await world.mark()
        await world.push("first", settings(mode="a"))
        await refused(world, "Forbidden", "cannot impersonate")

        assert await changes(world, mark) == []


async def test_who_loses_a_field_is_recorded(site: Site) -> None:
    """Git is the truth, and the run says whose value it took away."""
    async with run_cluster_world(site) as world:
        await world.push("first", settings(mode="a"))
        await world.succeeded()
        await world.cluster.apply(
            config_map("settings", world.namespace, mode="theirs"), manager="operator", force=True
        )
        await world.push("second", settings(mode="b"))
        run = await world.succeeded(2)

        assert (await world.object("ConfigMap", "settings"))["data"] == {"mode": "b"}
        note = (await world.change_set(run))["ConfigMap/settings"]["note"]
        assert "operator loses data.mode" in note


async def test_a_misplaced_namespace_of_a_cluster_scoped_object_is_ignored(site: Site) -> None:
    """Kustomize puts a namespace on kinds it does not know; the server has the last word."""
    other = f"{site.namespace}-scoped"

    def widened(stage: StageSpec) -> StageSpec:
        return replace(stage, cluster_scoped=(f"Namespace/{other}",))

    async with run_cluster_world(site, widened) as world:
        odd: JsonObject = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": other, "namespace": world.namespace},
        }
        await world.push("first", odd)
        await world.succeeded()

        assert (await world.live(f"/api/v1/namespaces/{other}"))["status"]["phase"] == "Active"
        assert await world.inventory() == [f"Namespace {other}"]
        await world.kubectl("delete", "namespace", other, "--wait=false")
