"""Tests on a real control plane. The fixtures they share are in ``tests/support``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.helm import Helm, Installed
from tests.support.left_namespaces import clear_namespaces

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.quiet_control_plane import QuietControlPlane


@dataclass(frozen=True, slots=True)
class PaperNode:
    """A node that is only an object: pods bound to it are never run.

    Attributes:
        name: Its name; pods that select it by ``kubernetes.io/hostname`` get on.
        toleration: What such a pod must tolerate; pods of other tests stay away.
    """

    name: str
    toleration: dict[str, str]


@pytest.fixture
def paper_node(control_plane: ControlPlane) -> Iterator[PaperNode]:
    """A ready node with room for ten pods, removed after the test."""
    name = f"paper-{secrets.token_hex(4)}"
    taint = {"key": "gitopsd.io/paper", "value": name, "effect": "NoSchedule"}
    path = f"/api/v1/nodes/{name}"
    room = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    control_plane.client.create(
        "/api/v1/nodes",
        {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}},
    )
    control_plane.client.request(
        "PATCH",
        f"{path}/status",
        {
            "status": {
                "capacity": room,
                "allocatable": room,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Paper"}],
            }
        },
        content_type="application/strategic-merge-patch+json",
    )
    yield PaperNode(name, {**taint, "operator": "Equal"})
    control_plane.client.delete(path)


@pytest.fixture(scope="session")
def quiet_cluster() -> Iterator[QuietControlPlane]:
    """An API server with nobody but the tests to write to it."""
    from tests.support.quiet_control_plane import QuietControlPlane  # noqa: PLC0415 - on demand

    with QuietControlPlane.start("quiet") as cluster:
        yield cluster


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """The real helm."""
    return Helm.find(tmp_path / "helm-home")


@pytest.fixture
def installed(control_plane: ControlPlane, helm: Helm) -> Iterator[Installed]:
    """A namespace for the chart, as strict with pods as Kubernetes can be; emptied again."""
    since = control_plane.audit_length()
    namespace = f"gitopsd-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.client.create(
        "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}}
    )
    yield Installed(control_plane, helm, namespace)
    clear_namespaces(control_plane, since, namespace)
