"""``make e2e``: the systems on a cluster that somebody has, with a registry that its nodes use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.control_plane import ControlPlane
from tests.support.images import build_image
from tests.support.node_agent import start_node
from tests.support.operators import DEFINITIONS
from tests.support.processes import wait_until
from tests.support.registry import RegistryServer
from tests.support.systems.e2e import WillNotError, check_cluster, conclude, load_story, report
from tests.support.systems.play import Verdict
from tests.support.systems.telling import Telling

if TYPE_CHECKING:
    from tests.support.systems.site import SystemSite

ROOT = Path(__file__).resolve().parents[2]
PROBE_SCALE = 0.05
A_WHILE = timedelta(seconds=40)
DEFINED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


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

    def all_names(self) -> tuple[set[str], ...]:
        """Names of all objects of the kinds that are made for a play outside of namespaces."""
        return tuple(map(self._names, ("namespaces", "clusterroles", "crds")))

    def _names(self, kind: str) -> set[str]:
        said = self.cluster.run_kubectl("get", kind, "--output=jsonpath={.items[*].metadata.name}")
        return set(said.stdout.split())


def read_definition(kind: str) -> dict[str, Any]:
    """The definition of a custom kind."""
    found: dict[str, Any] = yaml.safe_load((DEFINITIONS / f"{kind}.yaml").read_text())
    return found


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
    before = owned.all_names()
    with pytest.raises(WillNotError, match="no default StorageClass, which databases need"):
        check_cluster(owned.cluster, [load_story("ai-core")], volumes=False)
    definition = read_definition("certificate")
    owned.cluster.client.create(DEFINED, definition)
    with pytest.raises(WillNotError, match=r"the cluster knows certificates\.cert-manager\.io: "):
        check_cluster(owned.cluster, [load_story("ai-core")], volumes=True)
    owned.cluster.client.delete(f"{DEFINED}/{definition['metadata']['name']}")
    # The server removes a definition some time after it was told to.
    wait_until(lambda: owned.all_names() == before, what="the definition to go", within=A_WHILE)
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
    wait_until(lambda: owned.all_names() == before, what="everything to go", within=A_WHILE)


def test_a_scenario_that_did_not_come_out_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its line says so, with each complaint; the exit code is 1, and the table is written."""
    story = load_story("ai-core")
    good, bad = (Verdict("ai-core", name, outcome="Live") for name in ("good", "crashes"))
    bad.complaints += ["the reason is 'nothing'", "ConfigMap ai-core/web is left over"]
    told = Telling(cast("SystemSite", SimpleNamespace(story=story)), {"good": good, "crashes": bad})
    verdicts = list(report(told, "crashes"))
    assert verdicts == [good, bad]
    assert conclude(verdicts, tmp_path / "rows.json") == 1
    assert conclude([good], tmp_path / "good.json") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == [
        "ok     ai-core good: Live. ",
        "NOT OK ai-core crashes: Live. ",
        "       the reason is 'nothing'",
        "       ConfigMap ai-core/web is left over",
    ]
    assert said[4].startswith("1 of 2 scenarios came out as they should")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["ok"] for row in rows] == [True, False]


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
