"""Checks of services through a real API server: its own words for what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ClusterSpec
from gitopsd.ports import CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.cluster_site import is_ready
from tests.support.images import web_image

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from tests.support.cluster_site import Site
    from tests.support.control_plane import ControlPlane

HEALTH = HttpCheck(
    "health", service="web", port="http", path="/health", json_path={"status": "healthy"}
)


@pytest.fixture
async def verifier(control_plane: ControlPlane) -> AsyncIterator[HttpVerifier]:
    """A verifier of the session's cluster, as gitopsd itself."""
    kubeconfig = str(control_plane.gitopsd_kubeconfig())
    specs = {"staging": ClusterSpec("staging", kubeconfig=kubeconfig)}
    clusters = ConfiguredClusters(lambda: specs, MemoryTelemetry())
    made = HttpVerifier(clusters, LoopClock())
    yield made
    await made.close()
    await clusters.close()


def _target(site: Site) -> CheckTarget:
    return CheckTarget("staging", site.namespace)


def _run_web(site: Site) -> None:
    """Run one web pod behind the service ``web``."""
    image = web_image("1.0.0", smoke_statuses=[200, 200, 500])
    site.deploy(site.push(image, "1").pinned)
    site.serve()
    site.pod(is_ready, "a ready pod")
    site.wait_endpoints(1)
    site.wait_reachable()


async def test_a_service_is_judged_by_its_answers(site: Site, verifier: HttpVerifier) -> None:
    """A right body passes, a wrong one and a third answer that is an error do not."""
    _run_web(site)

    right = await verifier.run_check(HEALTH, _target(site))
    wrong = await verifier.run_check(replace(HEALTH, json_path={"version": "2.0.0"}), _target(site))
    smoke = HttpCheck("smoke", service="web", port="http", path="/smoke")
    smokes = [await verifier.run_check(smoke, _target(site)) for _ in range(3)]

    assert (right.passed, right.message) == (True, "answered 200")
    assert (wrong.passed, wrong.message) == (False, 'version is "1.0.0", expected "2.0.0"')
    assert [attempt.passed for attempt in smokes] == [True, True, False]


async def test_a_pod_that_does_not_listen_is_a_failure(site: Site, verifier: HttpVerifier) -> None:
    """A refused connection behind the proxy is the application's doing."""
    _run_web(site)
    ports: list[JsonObject] = [{"name": "http", "port": 80, "targetPort": 9}]
    site.cluster.client.create(
        f"{site.base}/services",
        {"metadata": {"name": "deaf"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
    )
    site.wait_endpoints(2)

    deaf = await verifier.run_check(replace(HEALTH, service="deaf"), _target(site))
    odd = await verifier.run_check(replace(HEALTH, port="odd"), _target(site))

    assert (deaf.passed, odd.passed) == (False, False)
    assert "error trying to reach service" in deaf.message
    assert "web" in odd.message


async def test_a_service_without_pods_is_a_failure(site: Site, verifier: HttpVerifier) -> None:
    """Nothing ready behind it, or no such service at all: the attempt failed."""
    site.serve()

    empty = await verifier.run_check(HEALTH, _target(site))
    absent = await verifier.run_check(replace(HEALTH, service="none"), _target(site))

    assert (empty.passed, absent.passed) == (False, False)
    assert "no endpoints available" in empty.message
    assert "none" in absent.message


async def test_missing_rights_are_no_verdict(site: Site, verifier: HttpVerifier) -> None:
    """That a stage's account may not use the proxy says nothing about the application."""
    site.serve()

    attempt = await verifier.run_check(HEALTH, replace(_target(site), service_account="nobody"))

    assert attempt.passed is None
    assert "403" in attempt.message
