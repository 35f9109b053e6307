"""Clusters take what the systems' manifests render to: every object, and every pod of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kustomize_oracle import run_kubectl
from tests.support.operators import install_definitions
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted((ROOT / "manifests").glob("*/overlays/*/kustomization.yaml"))
POLICY = "Warning: would violate PodSecurity"
"""What is only warned of; what a namespace enforces is tried with pods."""

_CLUSTERS = {"real": "system_kinds", "sandbox": "sandbox_server"}
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

Object = dict[str, Any]


@dataclass
class Rendered:
    """What an overlay renders to, in namespaces that no other test has.

    Attributes:
        objects: All of it but the namespaces.
        namespaces: Their names and labels.
    """

    objects: list[Object]
    namespaces: dict[str, Mapping[str, str]]
    _mark: str = field(default_factory=lambda: secrets.token_hex(3))

    @classmethod
    def of(cls, overlay: Path) -> Rendered:
        """Render an overlay and move it."""
        made = cls([], {})
        for one in run_kubectl(overlay):
            made._take(one)
        return made

    def _take(self, one: Object) -> None:
        metadata = one["metadata"]
        if one["kind"] == "Namespace":
            self.namespaces[self._moved(metadata["name"])] = metadata.get("labels", {})
            return
        if "namespace" in metadata:
            metadata["namespace"] = self._moved(metadata["namespace"])
            self.namespaces.setdefault(metadata["namespace"], {})
        self.objects.append(one)

    def _moved(self, namespace: str) -> str:
        return f"{namespace}-{self._mark}"

    def pods(self) -> list[Object]:
        """One pod of each template."""
        return [_pod_of(one) for one in self.objects if one["kind"] in _TEMPLATES]


def _pod_of(owner: Object) -> Object:
    template = owner
    for key in _TEMPLATES[owner["kind"]]:
        template = template[key]
    spec = dict(template["spec"])
    spec.pop("serviceAccountName", None)  # the account comes with the same apply
    spec["volumes"] = [
        *spec.get("volumes", []),
        *(
            {
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]},
            }
            for claim in owner["spec"].get("volumeClaimTemplates", [])
        ),
    ]
    metadata = {**owner["metadata"], "name": f"{owner['kind'].lower()}-{owner['metadata']['name']}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(params=_CLUSTERS, scope="module")
def cluster(request: pytest.FixtureRequest) -> ClusterAccess:
    """A cluster that knows the custom kinds of all systems."""
    access: ClusterAccess = request.getfixturevalue(_CLUSTERS[request.param])
    install_definitions(access)
    return access


@pytest.fixture(params=OVERLAYS, ids=lambda path: f"{path.parts[-4]}-{path.parts[-2]}")
def rendered(request: pytest.FixtureRequest, cluster: ClusterAccess) -> Iterator[Rendered]:
    """An overlay of a system; its namespaces are there, and gone after the test."""
    overlay: Path = request.param
    made = Rendered.of(overlay.parent)
    for name, labels in made.namespaces.items():
        cluster.client.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    for name in made.namespaces:
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(
            partial(cluster.client.answers, account),
            what=f"the default service account of {name}",
            within=timedelta(seconds=20),
        )
    yield made
    for name in made.namespaces:
        cluster.client.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.timeout(30)
def test_every_object_and_every_pod_is_taken(cluster: ClusterAccess, rendered: Rendered) -> None:
    """Nothing is unknown, invalid, deprecated, or against what the namespaces enforce of pods."""
    stream = "\n---\n".join(json.dumps(one) for one in [*rendered.objects, *rendered.pods()])
    said = cluster.run_kubectl(
        "apply", "--server-side", "--dry-run=server", "--filename=-", stdin=stream
    )
    assert [line for line in said.stderr.splitlines() if not line.startswith(POLICY)] == []
    assert said.returncode == 0
