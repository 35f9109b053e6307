"""The simulated cluster and the real one, side by side: a namespace of each, and kubectl in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster_site import Site
from tests.support.processes import inherited_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster_access import ClusterAccess
    from tests.support.registry import RegistryServer
    from tests.support.sandbox_server import SandboxServer


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The pinned kubectl as an administrator, in one namespace; no flag switches a check off."""

    server: ClusterAccess
    namespace: str

    def __call__(self, *arguments: str, stdin: object = None) -> Said:
        """Run it; an object goes to its standard input, for ``-f -``."""
        text = "" if stdin is None else json.dumps(stdin)
        done = self.server.run_kubectl("-n", self.namespace, *arguments, stdin=text)
        return Said(done.returncode, done.stdout, done.stderr)

    def apply(self, obj: object, *arguments: str) -> Said:
        """Apply on the server's side."""
        return self("apply", "--server-side", "-f", "-", *arguments, stdin=obj)

    def read(self, *names: str) -> Any:  # noqa: ANN401 - any JSON
        """Read an object."""
        said = self("get", *names, "-o", "json", "--show-managed-fields")
        assert said.code == 0, said
        return json.loads(said.out)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it, to read what it prints while it runs."""
        return subprocess.Popen(
            [
                str(Path(sys.prefix) / "bin" / "kubectl"),
                f"--kubeconfig={self.server.admin_kubeconfig}",
                *("-n", self.namespace, *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"HOME": str(self.server.folder), **inherited_environment("PATH")},
        )


@pytest.fixture(params=["sandbox", "real"])
def cluster(request: pytest.FixtureRequest) -> Site:
    """A fresh namespace of each kind of cluster, with a registry, and a node that runs pods."""
    sandbox = request.param == "sandbox"
    if not sandbox:
        request.getfixturevalue("node")
    access: ClusterAccess = request.getfixturevalue(
        "sandbox_server" if sandbox else "control_plane"
    )
    registry: RegistryServer = request.getfixturevalue(
        "sandbox_registry" if sandbox else "cluster_registry"
    )
    namespace = request.getfixturevalue("sandbox_namespace" if sandbox else "namespace")
    return Site(access, registry, namespace)


@pytest.fixture
def kubectl(cluster: Site) -> Kubectl:
    """Kubectl in a fresh namespace of each kind of cluster."""
    return Kubectl(cluster.cluster, cluster.namespace)


@pytest.fixture
def quiet_server(sandbox_server: SandboxServer) -> Iterator[SandboxServer]:
    """The session's sandbox, on which no fault is left behind."""
    yield sandbox_server
    sandbox_server.clear_faults()
