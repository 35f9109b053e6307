"""``make e2e``: the systems on a cluster that somebody has, with a registry that its nodes use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.control_plane import ControlPlane
from tests.support.images import build_image
from tests.support.node_agent import start_node
from tests.support.processes import wait_until
from tests.support.registry import RegistryServer

ROOT = Path(__file__).resolve().parents[2]
PROBE_SCALE = 0.05
OURS = "gitopsd"


@dataclass(frozen=True, slots=True)
class Owned:
    """A cluster and a registry of somebody who knows nothing of these tests."""

    cluster: ControlPlane
    registry: RegistryServer
    home: Path

    def e2e(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Play ai-core there."""
        where = (f"--kubeconfig={self.cluster.admin_kubeconfig}", "--base=library/python:3")
        there = f"--registry={self.registry.url}/stand-ins"
        return run_e2e(self.home, *where, there, "--system=ai-core", "--quick", *more)

    def names(self, kind: str) -> set[str]:
        """Names of all objects of a kind."""
        said = self.cluster.run_kubectl("get", kind, "--output=jsonpath={.items[*].metadata.name}")
        return set(said.stdout.split())


def run_e2e(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what ``make e2e`` runs."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.systems.e2e", *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    """A control plane, a node, and a registry that holds an image with Python."""
    with (
        ControlPlane.start("e2e") as cluster,
        RegistryServer(tmp_path / "registry", f"{cluster.network.host_address}:0") as registry,
    ):
        base = build_image(version="3", behaviour={}, files={"/etc/base": b"Python is here"})
        registry.push(base, "stand-ins/library/python:3")
        node = start_node(cluster, registry.url, tmp_path, probe_scale=PROBE_SCALE)
        try:
            yield Owned(cluster, registry, tmp_path)
        finally:
            node.stop()


@pytest.mark.timeout(240)
def test_a_system_is_played_and_nothing_of_it_stays(owned: Owned) -> None:
    """Stand-ins run as programs; what is not ours to remove is a reason not to begin."""
    before = owned.names("namespaces"), owned.names("clusterroles")
    owned.cluster.run_kubectl("create", "namespace", "ai-core")
    refused = owned.e2e()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "namespaces that would be removed at the end: ai-core." in refused.stderr
    owned.cluster.run_kubectl("delete", "namespace", "ai-core")

    played = owned.e2e("--upto=crashes")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "ok     ai-core good: Live." in played.stdout
    assert "ok     ai-core crashes: Restored. Deployment ai-core-staging/ai-core-api" in (
        played.stdout
    )
    wait_until(
        lambda: (owned.names("namespaces"), owned.names("clusterroles")) == before,
        what="everything to be gone",
        within=timedelta(seconds=40),
    )
    assert owned.names("crds") == set()


def test_nothing_is_played_unless_a_cluster_is_named(tmp_path: Path) -> None:
    """It says what to give; a KUBECONFIG that merely lies in the environment is not taken."""
    said = run_e2e(tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert "make e2e KUBECONFIG=FILE REGISTRY=http" in said.stderr

    planned = subprocess.run(
        ["make", "--dry-run", "e2e"],
        cwd=ROOT,
        env={"PATH": os.defpath, "KUBECONFIG": "/home/somebody/production"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tests.support.systems.e2e" in planned.stdout
    assert "production" not in planned.stdout
