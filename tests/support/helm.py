"""The real helm, and the product's chart installed by it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.projects import REPOSITORY

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

CHART = REPOSITORY / "helm" / "gitopsd"
RELEASE = "gitopsd"


@dataclass(frozen=True)
class Helm:
    """The helm that was built beside the control plane.

    Attributes:
        program: The executable.
        home: A home directory of its own.
    """

    program: Path
    home: Path

    @classmethod
    def find(cls, home: Path) -> Helm:
        """Find what ``make envtest`` built.

        Args:
            home: Made, for its caches.
        """
        found = subprocess.run(
            ["sh", "tests/envtest/build.sh", "helm", "--where"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        home.mkdir()
        return cls(Path(found.stdout.strip()) / "helm", home)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it; the exit code is the caller's to judge."""
        return subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.home), "PATH": os.defpath},
        )

    def succeed(self, *arguments: str) -> str:
        """Run it and return what it printed."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def template(self, *arguments: str) -> str:
        """Render the chart into its usual namespace."""
        return self.succeed("template", RELEASE, str(CHART), f"--namespace={RELEASE}", *arguments)

    def refuse(self, *arguments: str) -> str:
        """Render the chart and return why that cannot be."""
        result = self.run("template", RELEASE, str(CHART), f"--namespace={RELEASE}", *arguments)
        assert result.returncode != 0, result.stdout
        return result.stderr


@dataclass(frozen=True)
class Installed:
    """The chart, installed into a namespace of its own.

    Attributes:
        cluster: The control plane.
        helm: What installed it.
        namespace: Where.
    """

    cluster: ControlPlane
    helm: Helm
    namespace: str

    @property
    def _cluster(self) -> tuple[str, ...]:
        return (f"--kubeconfig={self.cluster.admin_kubeconfig}", f"--namespace={self.namespace}")

    def try_install(
        self, values: Mapping[str, Any], *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Install it, or bring it up to date; the exit code is the caller's to judge."""
        file = self.helm.home / "values.json"
        file.write_text(json.dumps(values))
        command = ("upgrade", "--install", RELEASE, str(CHART), "--values", str(file))
        return self.helm.run(*command, *self._cluster, *arguments)

    def install(self, values: Mapping[str, Any], *arguments: str) -> None:
        """Install it, or bring it up to date."""
        result = self.try_install(values, *arguments)
        assert result.returncode == 0, result.stderr + self.story()

    def succeed(self, verb: str, *arguments: str) -> str:
        """Run another verb of helm on the release."""
        return self.helm.succeed(verb, RELEASE, *arguments, *self._cluster)

    def make_secret(self, name: str, **content: str) -> None:
        """Make a Secret beside it."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        self.cluster.client.create(path, {"metadata": {"name": name}, "stringData": content})

    def get(self, path: str) -> dict[str, Any]:
        """Read an object of its namespace, ``apps/v1/deployments/gitopsd`` say."""
        group, _, rest = path.rpartition("v1/")
        root = f"/apis/{group}v1" if group else "/api/v1"
        found: dict[str, Any] = self.cluster.client.get(
            f"{root}/namespaces/{self.namespace}/{rest}"
        )
        return found

    def pods(self, part: str) -> list[dict[str, Any]]:
        """List the running pods of one part."""
        return [
            pod
            for pod in self.get("v1/pods")["items"]
            if pod["metadata"].get("labels", {}).get("app.kubernetes.io/component") == part
            and "deletionTimestamp" not in pod["metadata"]
            and pod["status"]["phase"] in ("Pending", "Running")
        ]

    def rules(self, namespace: str, role: str) -> list[dict[str, Any]]:
        """Read the rules of a Role."""
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{role}"
        found: list[dict[str, Any]] = self.cluster.client.get(path)["rules"]
        return found

    def requests(self) -> list[dict[str, Any]]:
        """List what the API server recorded of its account, whoever it acted as."""
        name = f"system:serviceaccount:{self.namespace}:{RELEASE}"
        return [
            event
            for event in self.cluster.audit_events()
            if event["user"].get("username") == name and event["stage"] == "ResponseComplete"
        ]

    def story(self) -> str:
        """Say what became of its pods, for a failing test."""
        lines = [
            f"{event['involvedObject']['name']}: {event.get('message')}"
            for event in self.get("v1/events")["items"]
        ]
        for pod in self.get("v1/pods")["items"]:
            name = pod["metadata"]["name"]
            ran = self.cluster.run_kubectl("logs", name, "-n", self.namespace, "--tail=20")
            lines += [f"{name} {pod['status']['phase']}", ran.stdout + ran.stderr]
        return "\n".join(lines)
