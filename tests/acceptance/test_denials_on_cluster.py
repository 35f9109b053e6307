"""What admission or a quota refuses ends a release before anything beside it is written.

Nothing is faked: the whole service on a real control plane, a ValidatingAdmissionPolicy and
ResourceQuotas. That nothing was written is read from the API server's audit log.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.domain.runs import Phase, Step
from tests.support.cluster_client import ApiError
from tests.support.processes import wait_until
from tests.support.tenants_site import Tenant, run_tenants_site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster_client import ClusterClient
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

GROUP = "admissionregistration.k8s.io"
_POLICIES = f"/apis/{GROUP}/v1/validatingadmissionpolicies"
_POLICY_BINDINGS = f"/apis/{GROUP}/v1/validatingadmissionpolicybindings"
_SOON = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Strict:
    """Namespaces that refuse.

    Attributes:
        mark: What is labelled with it is denied, and the label of this test's policy.
        open: A namespace without limits.
        jobless: A namespace whose quota has no room for Jobs.
        new: A namespace that is not there yet.
    """

    mark: str
    open: str
    jobless: str
    new: str


@pytest.fixture
def strict(control_plane: ControlPlane) -> Iterator[Strict]:
    """A policy that is in force and quotas that are counted, taken away again."""
    mark, client = secrets.token_hex(3), control_plane.client
    made = Strict(mark, *(f"{name}-{mark}" for name in ("open", "jobless", "new")))
    for namespace in (made.open, made.jobless):
        client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    _limit(client, made.jobless, "count/jobs.batch")
    _deny(client, made)
    yield made
    client.delete(f"{_POLICY_BINDINGS}/deny-{mark}")
    client.delete(f"{_POLICIES}/deny-{mark}")
    for namespace in (made.open, made.jobless, made.new):
        client.delete(f"/api/v1/namespaces/{namespace}")


def _limit(client: ClusterClient, namespace: str, what: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    client.create(path, {"metadata": {"name": "none"}, "spec": {"hard": {what: "0"}}})
    wait_until(
        lambda: "used" in client.get(f"{path}/none").get("status", {}),
        what="the quota to be counted",
        within=_SOON,
    )


def _deny(client: ClusterClient, strict: Strict) -> None:
    rule = {
        "apiGroups": ["", "batch"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps", "jobs"],
    }
    denied = (
        f"!('deny' in object.metadata.labels && object.metadata.labels.deny == '{strict.mark}')"
    )
    expression = f"!has(object.metadata.labels) || {denied}"
    validation = {"expression": expression, "message": "the password=hunter2 is nobody's business"}
    name = {"name": f"deny-{strict.mark}"}
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
            client.create(path, labelled(config_map("trial"), strict))
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


def labelled(item: dict[str, Any], strict: Strict) -> dict[str, Any]:
    """Let the policy deny an object."""
    return {**item, "metadata": {**item["metadata"], "labels": {"deny": strict.mark}}}


@pytest.mark.timeout(60)
async def test_what_is_denied_ends_the_release_before_anything_is_written(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    strict: Strict,
    tmp_path: Path,
) -> None:
    """Objects, hooks, and what comes with its namespace.

    The sentence has the cluster's words without the secret in them; and nothing of the same or a
    later stage of the apply is there, in the audit log or in the cluster.
    """
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": strict.new}}
    both = {"namespaces": [strict.new], "clusterScoped": ["Namespace"]}
    rows: dict[str, tuple[Tenant, list[dict[str, Any]], Step, str, str]] = {
        "object": (
            Tenant(strict.open),
            [labelled(config_map("denied"), strict)],
            Step.VALIDATE,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "hook": (
            Tenant(strict.open),
            [labelled(hook(), strict)],
            Step.VALIDATE,
            "AdmissionDenied",
            f"deny-{strict.mark}",
        ),
        "later": (
            Tenant(strict.open, both),
            [namespace, labelled(config_map("denied", strict.new), strict)],
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
    }
    tenants = {name: row[0] for name, row in rows.items()}
    async with run_tenants_site(control_plane, cluster_registry, tmp_path, tenants) as site:
        mark = await site.mark()
        for name, (_, manifests, *_) in rows.items():
            await site.push(name, *manifests, config_map(f"beside-{name}"))
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
        assert written == {f"namespaces {strict.new}/{strict.new}"}
        assert "hunter2" not in (tmp_path / "gitopsd.log").read_text()
