"""Releases through the whole product on a real control plane: good ones, bad ones, and their fixes.

Nothing is faked: see tests/support/service_site.py. Pods run on the node agent; what misbehaves
does so because of its image.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from gitopsd.adapters.telemetry.metrics import APP_INFO, SHAPES
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.entrypoints.http.server import listen
from tests.support.images import (
    crashing_image,
    never_ready_image,
    smoke_failing_image,
    web_image,
)
from tests.support.service_site import (
    DEPLOYMENT,
    PRODUCTION,
    SERVICE,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)
from tests.support.waiting import ask

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer


def deployment(image: str, **extra: str) -> str:
    """Write the Deployment with an image."""
    return DEPLOYMENT.format(image=image, **extra)


def smoke(service: str = "api") -> str:
    """Write the check that production is verified by."""
    return f"- http: {{service: {service}, port: http, path: /smoke, within: 3s}}"


class Images:
    """The images of one test, pushed to the registry."""

    def __init__(self, registry: RegistryServer, name: str) -> None:
        self.good = registry.push(web_image("1"), f"{name}/api:1").pinned
        self.fix = registry.push(web_image("3"), f"{name}/api:3").pinned
        self.crashing = registry.push(crashing_image("2"), f"{name}/api:crash").pinned
        self.never_ready = registry.push(never_ready_image("2"), f"{name}/api:never").pinned
        self.smoke = registry.push(smoke_failing_image("2"), f"{name}/api:smoke").pinned
        self.missing = f"{registry.host}/{name}/api:not-there"


def serving(site: ServiceSite, stage: str) -> str:
    """Ask the stage's own service who serves it: ``<pod> <image digest>``."""
    path = f"/api/v1/namespaces/{site.namespaces[stage]}/services/api:http/proxy/health"
    return ask(site.cluster.client, path).headers["X-Served-By"]


@pytest.fixture
def images(cluster_registry: RegistryServer, request: pytest.FixtureRequest) -> Images:
    """Images under a name of this test's own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}"
    return Images(cluster_registry, name)


async def test_a_signed_push_goes_through_an_approval_into_production(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: Images,
    tmp_path: Path,
) -> None:
    """Staging by itself, production after a person said so; the new pods answer."""
    async with run_site(control_plane, cluster_registry, tmp_path / node.name) as site:
        await site.push("good", deployment(images.good), SERVICE)
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        assert site.live("production") == {}
        await site.approve()
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert images.good.partition("@")[2] in serving(site, "production")


@pytest.mark.parametrize(
    "bad, reason",
    [
        ("crashing", "CrashLoopBackOff"),
        ("missing", "ErrImagePull ImagePullBackOff"),
        ("never_ready", "DeadlineExceeded"),
    ],
)
async def test_a_bad_release_is_rolled_back_and_its_fix_flows(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: Images,
    tmp_path: Path,
    bad: str,
    reason: str,
) -> None:
    """Every object is restored: changed ones equal, added ones gone, deleted ones back."""
    site_directory = tmp_path / node.name
    async with run_site(
        control_plane, cluster_registry, site_directory, gates="", health="10s"
    ) as site:
        await site.push(
            "good",
            deployment(images.good),
            SERVICE,
            config_map("settings", mode="good"),
            config_map("kept", value="1"),
        )
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before, served = site.live("staging"), serving(site, "staging")
        production = site.live("production")
        await site.push(
            "bad",
            deployment(getattr(images, bad)),
            SERVICE,
            config_map("settings", mode="bad"),
            config_map("added", value="2"),
        )
        failed = await site.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await site.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.failure is not None
        assert failed.failure.reason in reason.split()
        assert f"Deployment {site.namespaces['staging']}/api" in failed.failure.message
        assert site.live("staging") == before
        assert serving(site, "staging").split()[1] == served.split()[1]
        assert site.live("production") == production

        await site.push("fix", deployment(images.fix), SERVICE)
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert images.fix.partition("@")[2] in serving(site, "production")
        assert "configmaps/settings" not in site.live("production")


async def test_a_failed_smoke_test_restores_production_and_quarantines_the_bytes(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: Images,
    tmp_path: Path,
) -> None:
    """Production goes back to what it ran; the same bytes are not admitted, a fix is."""
    async with run_site(
        control_plane, cluster_registry, tmp_path / node.name, gates="", verify=smoke()
    ) as site:
        await site.push("good", deployment(images.good), SERVICE, config_map("a", value="1"))
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        before: dict[str, dict[str, Any]] = site.live("production")
        await site.push("bad", deployment(images.smoke), SERVICE, config_map("b", value="2"))
        failed = await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        await site.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert failed.step is Step.VERIFY
        assert failed.failure is not None
        assert "500" in failed.failure.message
        assert site.live("production") == before
        quarantined = await site.read(lambda tx: tx.quarantines.in_force(site.key(PRODUCTION)))
        assert [item.rendered for item in quarantined] == [failed.rendered]

        await site.push("fix", deployment(images.fix), SERVICE)
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert images.fix.partition("@")[2] in serving(site, "production")
        assert await unmoved(site) == []


async def unmoved(site: ServiceSite) -> list[str]:
    """List the promised metrics that say nothing after releases, a rollback and a fix."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(site.addresses["metrics"]) as answer,
    ):
        families = list(text_string_to_metric_families(await answer.text()))
    moved = {
        sample.name
        for family in families
        for sample in family.samples
        if sample.value > 0 and not sample.name.endswith(("_bucket", "_sum"))
    }
    # Those of channels in trouble: tests/integration/notify sees them move.
    quiet = {"gitopsd_notification_failures_total", "gitopsd_notifications_dropped_total"}
    wanted = {f"{name}_count" if shape.buckets else name for name, shape in SHAPES.items()}
    return sorted((wanted | {APP_INFO}) - moved - quiet)


async def test_a_stuck_release_is_overtaken_by_its_fix(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: Images,
    tmp_path: Path,
) -> None:
    """With a health timeout of ten minutes the fix does not wait for it; nothing is rolled back."""
    async with run_site(
        control_plane, cluster_registry, tmp_path / node.name, gates="", health="10m"
    ) as site:
        await site.push("good", deployment(images.good), SERVICE)
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await site.push("stuck", deployment(images.never_ready), SERVICE)
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        await site.push("fix", deployment(images.fix), SERVICE)
        await site.until_run(
            STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2, within=timedelta(seconds=60)
        )
        aborted = await site.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)

        assert aborted.failure is not None
        assert aborted.failure.reason == "Superseded"
        assert not [run for run in await site.runs(STAGING) if run.kind is RunKind.ROLLBACK]
        assert images.fix.partition("@")[2] in serving(site, "staging")


@asynccontextmanager
async def run_pager(secret: bytes) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Run somebody else's receiver, which takes what is signed; yields its address and what came.

    Args:
        secret: What it checks the signature with, by the words of Standard Webhooks alone.
    """
    came: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        signed = ".".join(
            (request.headers["webhook-id"], request.headers["webhook-timestamp"], body.decode())
        )
        digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        if request.headers["webhook-signature"] != f"v1,{base64.b64encode(digest).decode()}":
            return web.Response(status=401)
        came.append(json.loads(body))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/page", take)
    listener = await listen(app, "127.0.0.1:0")
    try:
        yield f"{listener.url}/page", came
    finally:
        await listener.close()


async def test_a_person_is_called_by_a_signed_message(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    node: Node,
    images: Images,
    tmp_path: Path,
) -> None:
    """A first release that crashes leaves nothing to go back to: the pager rings, with the why."""
    directory = tmp_path / node.name
    async with (
        run_pager(b"a pager's secret") as (url, came),
        run_site(control_plane, cluster_registry, directory, start=False) as site,
    ):
        (directory / "config" / "channels").mkdir()
        (directory / "config" / "pager.secret").write_text("a pager's secret\n")
        (directory / "config" / "channels" / "pager.yaml").write_text(
            "apiVersion: gitopsd.io/v1\nkind: Channel\nmetadata: {name: pager}\n"
            f"spec:\n  type: webhook\n  url: {url}\n  secretFile: pager.secret\n"
            "  subscriptions: [{triggers: [on-stalled]}]\n"
        )
        site.start()
        await site.ready()
        await site.push("bad", deployment(images.crashing), SERVICE)
        failed = await site.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await site.until(lambda: came, "the message")

    [message] = came
    assert message["type"] == "on-stalled"
    assert (message["data"]["application"], message["data"]["stage"]) == (
        site.application,
        STAGING,
    )
    assert message["data"]["details"]["run"] == failed.id
    assert failed.failure is not None
    assert failed.failure.message in json.dumps(message)
