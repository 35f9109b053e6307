"""A build pushes an image, and it goes to production by digest: the whole product, nothing faked.

What is believed is what the workload answers and what the cluster holds.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gitopsd.domain.runs import Phase, RunKind
from tests.support.images import smoke_failing_image, web_image
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
    from pathlib import Path

    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import PushedImage, RegistryServer

REVISION = "c" * 40


def _configure(site: ServiceSite, name: str) -> str:
    """Follow an image, know its registry, and hear its reports; returns the receiver's secret."""
    config = site.directory / "config"
    secret = secrets.token_hex(16)
    (config / "registry.secret").write_text(secret)
    (config / "registries").mkdir()
    (config / "registries" / "it.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Registry\nmetadata: {name: it}\n"
        f"spec: {{host: '{site.registry.host}', url: '{site.registry.url}'}}\n"
    )
    (config / "receivers" / "registry.yaml").write_text(
        "apiVersion: gitopsd.io/v1\nkind: Receiver\nmetadata: {name: registry}\n"
        "spec: {type: distribution, secretFiles: [registry.secret]}\n"
    )
    file = config / "applications" / "shop.yaml"
    images = f"  images: [{{name: '{name}', policy: {{semver: '>=1'}}}}]\n  pinImages: all\n"
    file.write_text(file.read_text().replace("  stages:\n", f"{images}  stages:\n", 1))
    return secret


async def _report(site: ServiceSite, pushed: PushedImage, secret: str) -> int:
    """Say what the registry says when a tag was pushed; its digest is a lie."""
    host, _, path = pushed.repository.partition("/")
    target = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "repository": path,
        "tag": pushed.tag,
        "digest": "sha256:" + "0" * 64,
    }
    event = {"id": pushed.tag, "action": "push", "target": target, "request": {"host": host}}
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{site.addresses['api']}/hooks/registry",
            data=json.dumps({"events": [event]}),
            headers=headers,
        ) as answer,
    ):
        return answer.status


def _serving(site: ServiceSite, stage: str) -> str:
    path = f"/api/v1/namespaces/{site.namespaces[stage]}/services/api:http/proxy/health"
    return str(ask(site.cluster.client, path).headers["X-Served-By"])


def _image(site: ServiceSite, stage: str) -> str:
    template = site.live(stage)["deployments/api"]["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])


@pytest.mark.timeout(240)
async def test_an_image_push_goes_to_production_and_a_bad_one_comes_back(
    control_plane: ControlPlane, cluster_registry: RegistryServer, node: Node, tmp_path: Path
) -> None:
    """By digest through the approval; the next one fails there, is rolled back and passed over."""
    path = f"pushes/{secrets.token_hex(4)}"
    name = f"{cluster_registry.host}/{path}"
    directory = tmp_path / node.name
    async with run_site(control_plane, cluster_registry, directory, start=False) as site:
        secret = _configure(site, name)
        first = cluster_registry.push(web_image("1"), f"{path}:1.0.0")
        site.start()
        await site.ready()
        deployment = DEPLOYMENT.format(image=name)
        await site.push("first", deployment, SERVICE)
        await site.approve()
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert first.digest in _serving(site, PRODUCTION)

        assert await _report(site, first, "another secret") == 401
        good = cluster_registry.push(web_image("2", revision=REVISION), f"{path}:1.1.0")
        assert await _report(site, good, secret) == 202
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert _image(site, STAGING) == f"{name}:1.1.0@{good.digest}"
        assert _image(site, PRODUCTION) == f"{name}:1.0.0@{first.digest}"
        await site.approve()
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert good.digest in _serving(site, PRODUCTION)
        for wanted in (REVISION, "1.1.0", good.digest):
            asked = await site.call("GET", f"/api/v1/commits/{wanted}")
            assert [stage["state"] for stage in asked["stages"]] == ["Live", "Live"], wanted

        bad = cluster_registry.push(smoke_failing_image("3"), f"{path}:1.2.0")
        assert await _report(site, bad, secret) == 202
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        await site.approve()
        await site.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert good.digest in _serving(site, PRODUCTION)
        assert _image(site, PRODUCTION) == f"{name}:1.1.0@{good.digest}"
        [quarantine] = (await site.call("GET", "/api/v1/quarantines"))["items"]
        assert quarantine["images"] == [bad.digest]

        await site.push("fix", deployment, SERVICE, config_map("settings", mode="fixed"))
        await site.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=4)
        await site.approve()
        await site.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert "configmaps/settings" in site.live(PRODUCTION)
        assert good.digest in _serving(site, PRODUCTION)
