"""What admission or a quota refuses ends a release before anything beside it is written.

Nothing is faked: the whole service on a real control plane, ValidatingAdmissionPolicies and
ResourceQuotas. That nothing was written is read from the API server's audit log.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.domain.runs import Phase, Run, Step
from tests.support.cluster_client import ApiError
from tests.support.cluster_objects import widget, widget_definition
from tests.support.left_namespaces import clear_namespaces
from tests.support.processes import wait_until
from tests.support.tenants_site import Tenant, TenantsSite, run_tenants_site
from tests.support.widening import widen_rights

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster_client import ClusterClient
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

GROUP = "admissionregistration.k8s.io"
_POLICIES = f"/apis/{GROUP}/v1/validatingadmissionpolicies"
_POLICY_BINDINGS = f"/apis/{GROUP}/v1/validatingadmissionpolicybindings"
_RBAC = "rbac.authorization.k8s.io"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SOON = timedelta(seconds=30)
_APPROVED = {"gates": [{"approval": {"from": ["group:release-managers"]}}]}


@dataclass(frozen=True, slots=True)
class Strict:
    """Namespaces that refuse.

    Attributes:
        mark: What is labelled with it is denied, and the label of this test's policy.
        open: A namespace without limits.
        jobless: A namespace whose quota has no room for Jobs.
        small: A namespace whose quota has room for one ConfigMap more.
        new: A namespace that is not there yet.
        group: API group of a kind that nobody has defined yet.
    """

    mark: str
    open: str
    jobless: str
    small: str
    new: str
    group: str


@pytest.fixture
def strict(control_plane: ControlPlane) -> Iterator[Strict]:
    """A policy that is in force and quotas that are counted, taken away again."""
    mark, client = secrets.token_hex(3), control_plane.client
    since = control_plane.audit_length()
    made = Strict(
        mark,
        open=f"open-{mark}",
        jobless=f"jobless-{mark}",
        small=f"small-{mark}",
        new=f"new-{mark}",
        group=f"g{mark}.example.com",
    )
    for namespace in (made.open, made.jobless, made.small):
        client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    widen_rights(control_plane, made.group, made.group)
    _limit(client, made.jobless, "none", {"count/jobs.batch": "0"})
    wait_until(
        lambda: client.get(f"/api/v1/namespaces/{made.small}/configmaps")["items"],
        what="the ConfigMap of every namespace",
        within=_SOON,
    )
    _limit(client, made.small, "few", {"count/configmaps": "2"})
    _deny(client, made, mark)
    yield made
    for policy in (mark, late(mark)):
        client.delete(f"{_POLICY_BINDINGS}/deny-{policy}")
        client.delete(f"{_POLICIES}/deny-{policy}")
    for kind in ("clusterroles", "clusterrolebindings"):
        client.delete(f"/apis/{_RBAC}/v1/{kind}/widened-{made.group}")
    client.delete(f"{_DEFINITIONS}/widgets.{made.group}")
    clear_namespaces(control_plane, since, made.open, made.jobless, made.small, made.new)


def late(mark: str) -> str:
    """Name the policy that is made while a release waits."""
    return f"late-{mark}"


def _limit(client: ClusterClient, namespace: str, name: str, hard: dict[str, str]) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    client.create(path, {"metadata": {"name": name}, "spec": {"hard": hard}})
    wait_until(
        lambda: "used" in client.get(f"{path}/{name}").get("status", {}),
        what="the quota to be counted",
        within=_SOON,
    )


def _deny(client: ClusterClient, strict: Strict, mark: str) -> None:
    """Let a policy deny what is labelled with a mark."""
    rule = {
        "apiGroups": ["", "batch", _RBAC, strict.group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps", "jobs", "rolebindings", "widgets"],
    }
    denied = f"!('deny' in object.metadata.labels && object.metadata.labels.deny == '{mark}')"
    expression = f"!has(object.metadata.labels) || {denied}"
    validation = {"expression": expression, "message": "the password=hunter2 is nobody's business"}
    name = {"name": f"deny-{mark}"}
    client.create(
        _POLICIES,
        {
            "metadata": name,
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [validation],
            },
        },
    )
    client.create(
        _POLICY_BINDINGS,
        {
            "metadata": name,
            "spec": {"policyName": name["name"], "validationActions": ["Deny"]},
        },
    )
    path = f"/api/v1/namespaces/{strict.open}/configmaps?dryRun=All"

    def in_force() -> bool:
        try:
            client.create(path, labelled(config_map("trial"), mark))
        except ApiError:
            return True
        return False

    wait_until(in_force, what="the policy to be in force", within=_SOON)


def config_map(name: str, namespace: str = "") -> dict[str, Any]:
    """Make a ConfigMap."""
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **place}}


def hook() -> dict[str, Any]:
    """Make a Job that runs before anything is applied."""
    container = {"name": "migrate", "image": "none.test/migrate:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "migrate",
            "annotations": {"argocd.argoproj.io/hook": "PreSync"},
        },
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


def role() -> dict[str, Any]:
    """Make a Role that lets nobody do more than gitopsd may."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [rule],
    }


def binding(strict: Strict) -> dict[str, Any]:
    """Bind that Role."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": strict.open}],
    }


def labelled(item: dict[str, Any], mark: str) -> dict[str, Any]:
    """Let the policy of a mark deny an object."""
    return {**item, "metadata": {**item["metadata"], "labels": {"deny": mark}}}


async def approve_late(site: TenantsSite, name: str, before: Callable[[], None]) -> None:
    """Wait until a tenant's run waits for its approval, do something, and approve it."""
    found: list[Run] = []

    async def waits() -> bool:
        found[:] = [run for run in await site.runs(name) if run.step is Step.GATE]
        return bool(found)

    await site.site.until(waits, f"{name} waits for its approval")
    await asyncio.to_thread(before)
    await site.site.call("POST", f"/api/v1/runs/{found[0].id}/approve", {"plan": found[0].plan})


@pytest.mark.timeout(60)
async def test_what_is_denied_ends_the_release_before_anything_is_written(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    strict: Strict,
    tmp_path: Path,
) -> None:
    """Objects, hooks, and what comes with its namespace, its kind or its role.

    Also what passes alone and is too much together, and what is denied since an approval waits.
    The sentence has the cluster's words without the secret in them; and nothing of the same or a
    later stage of the apply is there, in the audit log or in the cluster.
    """
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": strict.new}}
    both = {"namespaces": [strict.new], "clusterScoped": ["Namespace"]}
    defined = widget("denied", strict.open, strict.group)
    rows: dict[str, tuple[Tenant, list[dict[str, Any]], Step, str, str]] = {
        "object": (
            Tenant(strict.open),
            [labelled(config_map("denied"), strict.mark)],
            Step.VALIDATE,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "hook": (
            Tenant(strict.open),
            [labelled(hook(), strict.mark)],
            Step.VALIDATE,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "later": (
            Tenant(strict.open, both),
            [namespace, labelled(config_map("denied", strict.new), strict.mark)],
            Step.APPLY,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "jobless": (
            Tenant(strict.jobless),
            [hook()],
            Step.VALIDATE,
            "QuotaExceeded",
            "exceeded quota: none",
        ),
        "together": (
            Tenant(strict.small),
            [config_map("second")],
            Step.VALIDATE,
            "QuotaExceeded",
            "count/configmaps=2, used: count/configmaps=1, limited: count/configmaps=2",
        ),
        "kind": (
            Tenant(strict.open, {"clusterScoped": ["CustomResourceDefinition"]}),
            [widget_definition(strict.group), labelled(defined, strict.mark)],
            Step.APPLY,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "role": (
            Tenant(strict.open),
            [role(), labelled(binding(strict), strict.mark)],
            Step.APPLY,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "waited": (
            Tenant(strict.open, _APPROVED),
            [labelled(config_map("denied"), late(strict.mark))],
            Step.PREPARE,
            "AdmissionDenied",
            f"deny-{late(strict.mark)}",
        ),
    }
    tenants = {name: row[0] for name, row in rows.items()}
    async with run_tenants_site(control_plane, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        for name, (_, manifests, *_) in rows.items():
            await site.push(name, *manifests, config_map(f"beside-{name}"))
        deny = partial(_deny, control_plane.client, strict, late(strict.mark))
        await approve_late(site, "waited", deny)
        for name, (_, _, step, reason, words) in rows.items():
            run = await site.until_ended(name)
            assert run.failure is not None, name
            assert (run.phase, run.step, run.failure.reason) == (Phase.FAILED, step, reason), (
                run.failure.message
            )
            assert words in run.failure.message, run.failure.message
            assert "hunter2" not in run.failure.message
        written = {
            change.object
            for change in await site.changes(mark)
            if " gitopsd/" not in change.object and change.status < 300  # but inventories
        }
        assert written == {
            f"namespaces {strict.new}/{strict.new}",
            f"customresourcedefinitions widgets.{strict.group}",
            f"roles {strict.open}/reader",
        }
        assert "hunter2" not in (tmp_path / "gitopsd.log").read_text()
