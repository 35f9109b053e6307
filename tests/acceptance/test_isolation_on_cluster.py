"""One installation, many applications: none of them reaches beyond what it was given.

Nothing is faked: the whole service, a real control plane with the rights of manifests/rbac.yaml,
signed pushes. That nothing was changed is read from the API server's audit log.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ryaml import loads_all  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.domain.runs import Phase, RunKind, Step
from tests.support.cluster_site import Site, is_ready
from tests.support.images import web_image
from tests.support.left_namespaces import clear_namespaces
from tests.support.tenants_site import Tenant, TenantsSite, run_tenants_site
from tests.support.widening import let_impersonate

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer

RBAC = "rbac.authorization.k8s.io"
RIGHTS = Path(__file__).resolve().parents[2] / "manifests" / "rbac.yaml"
ACCOUNT = "system:serviceaccount:gitopsd:gitopsd"
_ROLES = f"/apis/{RBAC}/v1/clusterroles"
_BINDINGS = f"/apis/{RBAC}/v1/clusterrolebindings"


@dataclass(frozen=True, slots=True)
class Ground:
    """What the tests of this module stand on.

    Attributes:
        cluster: The control plane.
        mine: Namespace of the applications.
        theirs: Namespace of somebody else, with a service account ``deployer``.
        wide: Kubeconfig of an account with gitopsd's rights, and with ClusterRoles, their bindings
            and admission's configuration besides.
    """

    cluster: ControlPlane
    mine: str
    theirs: str
    wide: Path


@pytest.fixture
def ground(control_plane: ControlPlane) -> Iterator[Ground]:
    """Two namespaces and an account, taken away again."""
    mark, since = secrets.token_hex(3), control_plane.audit_length()
    mine, theirs, client = f"mine-{mark}", f"theirs-{mark}", control_plane.client
    control_plane.gitopsd_kubeconfig()
    documents: list[Any] = list(loads_all(RIGHTS.read_text()))
    rights = next(one for one in documents if one["kind"] == "ClusterRole")["rules"]
    beyond = {
        RBAC: ["clusterroles", "clusterrolebindings"],
        "admissionregistration.k8s.io": ["*"],
        "apiregistration.k8s.io": ["*"],
    }
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    rules = [
        {"apiGroups": [group], "resources": kinds, "verbs": verbs}
        for group, kinds in beyond.items()
    ]
    wide = control_plane.make_account(mine, "wide", [*rights, *rules])
    control_plane.make_account(theirs, "deployer", [])
    yield Ground(control_plane, mine, theirs, wide)
    for account in (f"{mine}:wide", f"{theirs}:deployer"):
        client.delete(f"{_ROLES}/{account}")
        client.delete(f"{_BINDINGS}/{account}")
    clear_namespaces(control_plane, since, mine, theirs)


def config_map(name: str = "settings", namespace: str = "", **data: str) -> dict[str, Any]:
    """Make a ConfigMap."""
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **place},
        "data": data,
    }


def rbac(kind: str, name: str = "reach", **content: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of the kinds
    """Make an object of RBAC."""
    metadata = {"name": name, **content.pop("metadata", {})}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **content}


def bound(*subjects: dict[str, str], role: str = "gitopsd", **content: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Make a RoleBinding to a ClusterRole."""
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    return rbac("RoleBinding", roleRef=reference, subjects=list(subjects), **content)


def hook_job(name: str, image: str) -> dict[str, Any]:
    """Make a Job that runs before its release is applied, and has nothing to do."""
    annotations = {"argocd.argoproj.io/hook": "PreSync"}
    container = {"name": "once", "image": image}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"completions": 0, "template": template},
    }


def account(namespace: str) -> dict[str, str]:
    """Name a service account."""
    return {"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}


def group(name: str) -> dict[str, str]:
    """Name a group."""
    return {"kind": "Group", "name": name, "apiGroup": RBAC}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A release that reaches for what is not its own.

    Attributes:
        manifest: The object, or text, beside a harmless ConfigMap.
        reason: Of the failure.
        words: In the failure's sentence.
        given: ``clusterScoped`` of the stage.
        wide: Whether gitopsd acts with more rights than it documents.
        step: Where it fails.
    """

    manifest: dict[str, Any] | str
    reason: str
    words: tuple[str, ...]
    given: tuple[str, ...] = ()
    wide: bool = False
    step: Step = Step.VALIDATE


def attempts(mine: str, theirs: str) -> dict[str, Attempt]:
    """Every way to reach out of ``mine`` that we know of."""
    own = account(mine)
    outside, forbidden = "OutsideBoundary", "Forbidden"
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    roles = {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["escalate", "bind"]}
    admin = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    add = f"add {theirs} to namespaces"
    listed = {"apiVersion": "v1", "kind": "List", "items": [config_map(namespace=theirs)]}
    hook = {"metadata": {"annotations": {"argocd.argoproj.io/hook": "PreSync"}}}
    owner = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1-2-3"}]
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = owner
    generated = config_map()
    generated["metadata"] = {"generateName": "settings-"}
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"reach-{mine}"},
        "webhooks": [],
    }
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.reach.example"},
        "spec": {
            "group": "reach.example",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": theirs, "name": "x"},
        },
    }
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    named = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": theirs, "labels": privileged},
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": theirs, **hook["metadata"]},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "once", "image": "none.test/once:1"}],
                }
            }
        },
    }
    aggregate = {"labels": {f"{RBAC}/aggregate-to-view": "true"}}
    collects = {"clusterRoleSelectors": [{"matchLabels": {"any": "true"}}]}
    role = f"reach-{mine}"
    return {
        "namespace": Attempt(
            config_map(namespace=theirs), outside, (f"ConfigMap {theirs}/settings", add)
        ),
        "listed": Attempt(listed, outside, (f"ConfigMap {theirs}/settings", add)),
        "job": Attempt(job, outside, (f"Job {theirs}/once", add)),
        "relabel": Attempt(named, outside, (f"Namespace {theirs}",), ("Namespace",)),
        "role": Attempt(
            rbac("ClusterRole", role, rules=[]),
            outside,
            (f"add ClusterRole/{role} to",),
            ("ClusterRole/other",),
        ),
        "rightless": Attempt(
            rbac("ClusterRole", role, rules=[]),
            forbidden,
            (role, "cannot", "clusterroles"),
            (f"ClusterRole/{role}",),
        ),
        "account": Attempt(
            bound(own, account(theirs)), outside, (f"ServiceAccount {theirs}/deployer", add)
        ),
        "accounts": Attempt(
            bound(group(f"system:serviceaccounts:{theirs}")),
            outside,
            (f"Group system:serviceaccounts:{theirs}", add),
        ),
        "everybody": Attempt(
            bound(group("system:authenticated")), outside, ("Group system:authenticated",)
        ),
        "hooked": Attempt(
            bound(account(theirs), metadata=hook["metadata"]),
            outside,
            (f"ServiceAccount {theirs}/deployer", add),
        ),
        "admin": Attempt(
            bound(own, role="cluster-admin"),
            forbidden,
            ("RoleBinding", "attempting to grant RBAC permissions not currently held"),
        ),
        "escalate": Attempt(
            rbac("Role", rules=[roles]),
            forbidden,
            ("attempting to grant RBAC permissions not currently held", "escalate"),
        ),
        "stronger": Attempt(
            rbac("ClusterRole", role, rules=[everything]),
            forbidden,
            (role, "attempting to grant"),
            ("ClusterRole",),
            wide=True,
        ),
        "collecting": Attempt(
            rbac("ClusterRole", role, aggregationRule=collects),
            forbidden,
            (role, "must have cluster-admin privileges"),
            ("ClusterRole",),
            wide=True,
        ),
        "aggregated": Attempt(
            rbac("ClusterRole", role, rules=[], metadata=aggregate),
            outside,
            ("aggregate-to-view", "add ClusterRole/view to"),
            ("ClusterRole",),
            wide=True,
        ),
        "builtin": Attempt(
            rbac("ClusterRole", "view", rules=[]),
            outside,
            ("add ClusterRole/view to",),
            ("ClusterRole",),
            wide=True,
        ),
        "adminbinding": Attempt(
            rbac("ClusterRoleBinding", role, roleRef=admin, subjects=[own]),
            forbidden,
            ("attempting to grant",),
            ("ClusterRoleBinding",),
            wide=True,
        ),
        "webhook": Attempt(webhook, outside, ("add ValidatingWebhookConfiguration/",)),
        "hookless": Attempt(
            webhook,
            forbidden,
            ("validatingwebhookconfigurations",),
            ("ValidatingWebhookConfiguration",),
        ),
        "service": Attempt(service, outside, ("APIService v1.reach.example",)),
        "rightlessservice": Attempt(service, forbidden, ("apiservices",), ("APIService",)),
        "generated": Attempt(
            generated, "BuildFailed", ("missing metadata.name",), step=Step.RENDER
        ),
        "owned": Attempt(owned, "InvalidObject", ("owned", "ownerReferences")),
    }


@pytest.mark.timeout(120)
async def test_nobody_reaches_beyond_what_was_given(
    ground: Ground, cluster_registry: RegistryServer, tmp_path: Path
) -> None:
    """Each attempt fails before Diff, named by kind and name, and not one write was sent.

    Also none of what stands beside it in the release, and no dry-run of what is plainly another's.
    """
    tried = attempts(ground.mine, ground.theirs)
    tenants = {
        name: Tenant(
            ground.mine,
            {"clusterScoped": list(one.given)},
            ground.wide if one.wide else None,
        )
        for name, one in tried.items()
    }
    async with run_tenants_site(ground.cluster, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        for name, one in tried.items():
            await site.push(name, one.manifest, config_map(f"beside-{name}"))
        told = {name: await site.until_ended(name) for name in tried}
        seen = {
            name: (run.phase, run.step, run.failure.reason if run.failure else "")
            for name, run in told.items()
        }
        assert seen == {name: (Phase.FAILED, one.step, one.reason) for name, one in tried.items()}
        for name, one in tried.items():
            failure = told[name].failure
            assert failure is not None
            missing = [word for word in one.words if word not in failure.message]
            assert missing == [], f"{name}: {failure.message}"
        assert await site.changes(mark) == []
        sent = await site.changes(mark, dry=True)
        assert sent
        assert [one for one in sent if ground.theirs in one.object] == []


async def test_two_applications_of_one_object(
    ground: Ground, cluster_registry: RegistryServer, tmp_path: Path
) -> None:
    """Pushed together from nothing, one has it and the other is told whose it is.

    Only the one wrote it, and adopting it once is no invitation to whoever renders it next.
    """
    names = ("first", "second", "third")
    tenants = {name: Tenant(ground.mine) for name in names}
    path = f"/api/v1/namespaces/{ground.mine}/configmaps/shared"
    adopting = config_map("shared", mode="adopted")
    adopting["metadata"]["annotations"] = {"gitopsd.io/adopt": "true"}
    async with run_tenants_site(ground.cluster, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        await asyncio.gather(
            *(site.push(name, config_map("shared", mode=name)) for name in ("first", "second"))
        )
        told = {name: await site.until_ended(name) for name in ("first", "second")}
        [winner] = [name for name, run in told.items() if run.phase is Phase.SUCCEEDED]
        [loser] = [name for name in told if name != winner]
        failure = told[loser].failure
        assert failure is not None
        assert failure.reason == "OwnedElsewhere"
        assert f"stage only of application {site.key(winner).application}" in failure.message
        assert ground.cluster.client.get(path)["data"] == {"mode": winner}
        written = [
            change.status
            for change in await site.changes(mark)
            if change.object.endswith("/shared") and change.status < 400
        ]
        assert written == [201]

        await site.push(loser, adopting)
        adopted = await site.until_ended(loser, 2)
        assert adopted.phase is Phase.SUCCEEDED, adopted.failure
        await site.push("third", config_map("shared", mode="third"))
        third = await site.until_ended("third")
        assert third.failure is not None
        assert third.failure.reason == "OwnedElsewhere"
        live = ground.cluster.client.get(path)
        assert live["data"] == {"mode": "adopted"}
        assert live["metadata"]["labels"]["gitopsd.io/application"] == site.key(loser).application


def workload(name: str, image: str, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Make a Deployment of one pod."""
    labels = {"app": name}
    container = {
        "name": "web",
        "image": image,
        "env": [{"name": "MESSAGE", "value": "hello"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


@pytest.mark.timeout(120)
async def test_objects_of_other_tools_are_adopted_as_they_run(
    ground: Ground, cluster_registry: RegistryServer, node: Node, tmp_path: Path
) -> None:
    """Refused while Argo CD or Flux has them; adopted by annotation, their pods do not notice.

    What was the tool's becomes gitopsd's: what leaves Git later leaves the object.
    """
    assert node.name
    mine, cluster = ground.mine, ground.cluster
    image = cluster_registry.push(web_image("1"), f"{mine}/web:1").reference
    tracked = {"argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{mine}/argo"}
    applied = {
        "kustomize.toolkit.fluxcd.io/name": "shop",
        "kustomize.toolkit.fluxcd.io/namespace": "flux",
    }
    theirs: dict[str, tuple[dict[str, Any], list[str]]] = {
        "argo": (
            workload("argo", image, annotations=tracked),
            ["--field-manager=argocd-controller"],
        ),
        "flux": (
            workload("flux", image, labels=applied),
            ["--server-side", "--field-manager=kustomize-controller"],
        ),
    }
    for item, arguments in theirs.values():
        said = cluster.run_kubectl(
            "apply", "-n", mine, *arguments, "--filename=-", stdin=json.dumps(item)
        )
        assert said.returncode == 0, said.stderr
    ground_site = Site(cluster, cluster_registry, mine)

    def pods() -> dict[str, int]:
        found = ground_site.pods(
            lambda items: len(items) == 2 and all(is_ready(pod) for pod in items), "two ready pods"
        )
        return {
            pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
            for pod in found
        }

    def live(name: str) -> dict[str, Any]:
        return cluster.client.get(f"/apis/apps/v1/namespaces/{mine}/deployments/{name}")

    before = await asyncio.to_thread(pods)
    tenants = {name: Tenant(mine) for name in theirs}
    async with run_tenants_site(cluster, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        specs = {name: live(name)["spec"] for name in theirs}
        for name, tool in (("argo", "Argo CD"), ("flux", "Flux")):
            await site.push(name, workload(name, image))
            refused = await site.until_ended(name)
            assert refused.failure is not None
            assert refused.failure.reason == "ManagedBy"
            assert f"Deployment {mine}/{name}: it is managed by {tool}" in refused.failure.message
        assert await site.changes(mark) == []

        adopt = {"gitopsd.io/adopt": "true"}
        for name in theirs:
            await site.push(name, workload(name, image, annotations=adopt))
        for name in theirs:
            run = await site.until_ended(name, 2)
            assert run.phase is Phase.SUCCEEDED, run.failure
            # The generation says nothing here: a Deployment's counts annotations too.
            metadata, spec = live(name)["metadata"], live(name)["spec"]
            assert spec == specs[name]
            owners = {
                entry["manager"]
                for entry in metadata["managedFields"]
                if "subresource" not in entry
            }
            assert owners <= {"gitopsd", "kube-controller-manager"}
            assert metadata["labels"]["gitopsd.io/application"] == site.key(name).application
        assert await asyncio.to_thread(pods) == before

        for name in theirs:
            changed = workload(name, image)
            del changed["spec"]["template"]["spec"]["containers"][0]["env"]
            await site.push(name, changed)
        for name in theirs:
            run = await site.until_ended(name, 3)
            assert run.phase is Phase.SUCCEEDED, run.failure
            assert "env" not in live(name)["spec"]["template"]["spec"]["containers"][0]


async def _restore(site: TenantsSite, role: str, image: str) -> dict[str, tuple[str, str]]:
    """Release without one object and with a hook, then go back; who did what to their objects."""
    mark = await site.mark()
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    await site.push(
        "acting",
        config_map("one", mode="other"),
        rbac("ClusterRole", role, rules=rules),
        hook_job("once", image),
    )
    second = await site.until_ended("acting", 2)
    assert second.phase is Phase.SUCCEEDED, second.failure
    key = site.key("acting")
    await site.site.call(
        "POST", f"/api/v1/applications/{key.application}/stages/{key.stage}/rollback"
    )

    async def restored() -> bool:  # what is newer waits at its Gate meanwhile
        return any(
            (run.kind, run.phase) == (RunKind.ROLLBACK, Phase.SUCCEEDED)
            for run in await site.runs("acting")
        )

    await site.site.until(restored, "the rollback")
    return {
        f"{change.verb} {change.object}": (change.user, change.acted_as)
        for change in await site.changes(mark)
        if " gitopsd/" not in change.object
    }


@pytest.mark.timeout(120)
async def test_every_stage_acts_as_its_own_account(
    ground: Ground, cluster_registry: RegistryServer, tmp_path: Path
) -> None:
    """The API server sees who writes: the stage's account, in every namespace it was given.

    An account's rights are all its stage has, beyond what gitopsd has as well: cluster-scoped
    objects by name, which gitopsd itself may not touch.
    """
    mine, theirs, cluster = ground.mine, ground.theirs, ground.cluster
    image = cluster_registry.push(web_image("1"), f"{mine}/web:1").reference
    role, verbs = f"acting-{mine}", ["get", "list", "watch", "create", "patch", "delete"]
    maps = {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}
    roles = {"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": verbs}
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs}
    look = {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list"]}
    logs = {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}
    cluster.make_account(mine, "acting", [maps, roles, jobs, look, logs])
    cluster.make_account(theirs, "limited", [])
    for namespace in (mine, theirs):
        let_impersonate(cluster, namespace)
    tenants = {
        "acting": Tenant(
            mine,
            {
                "serviceAccount": "acting",
                "namespaces": [theirs],
                "clusterScoped": [f"ClusterRole/{role}"],
            },
        ),
        "limited": Tenant(theirs, {"serviceAccount": "limited"}),
    }
    async with run_tenants_site(cluster, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        try:
            await site.push(
                "acting",
                config_map("one"),
                config_map("two", theirs),
                rbac("ClusterRole", role, rules=[]),
            )
            run = await site.until_ended("acting")
            assert run.phase is Phase.SUCCEEDED, run.failure
            written = {
                change.object: (change.user, change.acted_as)
                for change in await site.changes(mark)
                if " gitopsd/" not in change.object  # inventories are gitopsd's own
            }
            acting = (ACCOUNT, f"system:serviceaccount:{mine}:acting")
            assert written == {
                f"configmaps {mine}/one": acting,
                f"configmaps {theirs}/two": acting,
                f"clusterroles {role}": acting,
            }

            acted = await _restore(site, role, image)
            assert {name: who for name, who in acted.items() if who != acting} == {}
            assert acted.keys() >= {
                f"create jobs {mine}/once",
                f"delete configmaps {theirs}/two",
                f"patch configmaps {mine}/one",
                f"patch configmaps {theirs}/two",
                f"patch clusterroles {role}",
            }
            live = cluster.client.get(f"/api/v1/namespaces/{mine}/configmaps/one")
            assert "mode" not in live.get("data", {})

            mark = await site.mark()
            await site.push("limited", config_map("three"))
            refused = await site.until_ended("limited")
            assert refused.failure is not None
            assert (refused.step, refused.failure.reason) == (Step.VALIDATE, "Forbidden")
            assert f"system:serviceaccount:{theirs}:limited" in refused.failure.message
            assert await site.changes(mark) == []
            # The release that was rolled back is validated once more beside it, and held.
            tried = await site.changes(mark, dry=True)
            who = {one.acted_as for one in tried if one.object == f"configmaps {theirs}/three"}
            assert who == {f"system:serviceaccount:{theirs}:limited"}
        finally:
            for path in (_ROLES, _BINDINGS):
                for name in (role, f"{mine}:acting", f"{theirs}:limited"):
                    cluster.client.delete(f"{path}/{name}")
