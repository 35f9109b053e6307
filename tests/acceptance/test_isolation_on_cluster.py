"""One installation, many applications: none of them reaches beyond what it was given.

Nothing is faked: the whole service, a real control plane with the rights of manifests/rbac.yaml,
signed pushes. That nothing was changed is read from the API server's audit log.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ryaml import loads_all  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.domain.runs import Phase, Step
from tests.support.tenants_site import Tenant, run_tenants_site

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
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
    mark = secrets.token_hex(3)
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
    for namespace in (mine, theirs):
        client.delete(f"/api/v1/namespaces/{namespace}")


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
