"""What tests do with any cluster, a real control plane or a simulated one, once it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.cluster_client import (
    APPLY,
    ApiError,
    ClusterClient,
    make_kubeconfig,
    save_private,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_RBAC = Path(__file__).resolve().parents[2] / "manifests" / "rbac.yaml"
_ROLES = "/apis/rbac.authorization.k8s.io/v1"
_PLACES = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{_ROLES}/clusterroles",
    "ClusterRoleBinding": f"{_ROLES}/clusterrolebindings",
}
"""Where the kinds of ``manifests/rbac.yaml`` are."""

_STRICTLY = "?fieldManager=gitopsd-test-harness&force=true&fieldValidation=Strict"
"""As kubectl applies: a field that Kubernetes does not know is an error."""


class ApplyError(Exception):
    """One of the repository's manifests could not be applied; the message is what was answered."""


class ClusterAccess:
    """Accounts, kubeconfigs and kubectl of one cluster.

    Attributes:
        client: The harness's own requests, as a member of ``system:masters``.
        admin_kubeconfig: The same identity's kubeconfig file.
        folder: A private folder for kubeconfigs.
    """

    client: ClusterClient
    admin_kubeconfig: Path
    folder: Path
    _kubeconfigs: int = 0

    @property
    def url(self) -> str:
        """The API server's URL."""
        raise NotImplementedError

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that the API server's is signed by."""
        raise NotImplementedError

    def audit_events(self, since: int = 0) -> list[dict[str, Any]]:
        """What the API server recorded of its requests from number ``since`` on, oldest first."""
        raise NotImplementedError

    def audit_length(self) -> int:
        """The number of the event that comes next."""
        raise NotImplementedError

    def _save_kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        path = self.folder / f"{name}.kubeconfig"
        return save_private(path, make_kubeconfig(self.url, self.authority, user))

    def _save_numbered_kubeconfig(self, user: dict[str, str]) -> Path:
        self._kubeconfigs += 1
        return self._save_kubeconfig(f"client-{self._kubeconfigs}", user)

    def kubeconfig_for_account(self, namespace: str, name: str) -> Path:
        """Return the kubeconfig file of an existing ServiceAccount, with a token for a day."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.client.create(path, {"spec": {"expirationSeconds": 24 * 3600}})
        return self._save_numbered_kubeconfig({"token": answer["status"]["token"]})

    def make_account(self, namespace: str, name: str, rules: Sequence[dict[str, Any]] = ()) -> Path:
        """Make a ServiceAccount that may do ``rules`` in the whole cluster.

        Safe to repeat: rules of the last call are in force.

        Args:
            namespace: Made when it is missing.
            name: The account's; a ClusterRole and its binding are named after both.
            rules: As in a ClusterRole: apiGroups, resources, verbs.

        Returns:
            Its kubeconfig file.
        """
        self.client.apply(
            f"/api/v1/namespaces/{namespace}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
        self.client.apply(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        )
        group, role = "rbac.authorization.k8s.io", f"{namespace}:{name}"
        self.client.apply(
            f"/apis/{group}/v1/clusterroles/{role}",
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": role},
                "rules": list(rules),
            },
        )
        self.client.apply(
            f"/apis/{group}/v1/clusterrolebindings/{role}",
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
            },
        )
        return self.kubeconfig_for_account(namespace, name)

    def gitopsd_kubeconfig(self) -> Path:
        """Return the kubeconfig file of gitopsd's own account, with the rights it documents.

        Safe to repeat: ``manifests/rbac.yaml`` is applied on the server's side.

        Raises:
            ApplyError: It was refused.
        """
        for path, one in _read_rights():
            try:
                self.client.request("PATCH", path + _STRICTLY, one, content_type=APPLY)
            except ApiError as error:
                message = f"{path} of {_RBAC} was refused: {error}"
                raise ApplyError(message) from error
        return self.kubeconfig_for_account("gitopsd", "gitopsd")

    def run_kubectl(
        self, *arguments: str, kubeconfig: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the kubectl of this Python environment, as the harness unless told otherwise.

        Its exit code is the caller's to judge.
        """
        return subprocess.run(
            [
                str(Path(sys.prefix) / "bin" / "kubectl"),
                f"--kubeconfig={kubeconfig or self.admin_kubeconfig}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": str(self.folder), "PATH": os.defpath},
        )


@cache
def _read_rights() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Read gitopsd's rights as they are documented: each object with its path."""
    found = []
    for one in yaml.safe_load_all(_RBAC.read_text()):
        metadata = one["metadata"]
        folder = _PLACES[one["kind"]].format(namespace=metadata.get("namespace", ""))
        found.append((f"{folder}/{metadata['name']}", one))
    return tuple(found)
