"""Services, logs and borrowed identities: what only a cluster that runs pods can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    HttpAnswer,
    ProxiedRequest,
)
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.cluster_objects import config_map, ref_of
from tests.support.cluster_site import is_ready
from tests.support.images import web_image
from tests.support.processes import wait_until
from tests.support.widening import let_impersonate

if TYPE_CHECKING:
    from tests.contracts.cluster.conftest import Plane
    from tests.support.cluster_site import Site


@pytest.fixture
async def clusters(plane: Plane) -> AsyncIterator[ConfiguredClusters]:
    """The adapter against the cluster."""
    made = ConfiguredClusters(lambda: plane.specs, MemoryTelemetry())
    yield made
    await made.close()


def request_to(site: Site, path: str, **changes: Any) -> ProxiedRequest:  # noqa: ANN401 - any field
    """Make a request to the site's service."""
    fields: dict[str, Any] = {
        "namespace": site.namespace,
        "service": "web",
        "port": "http",
        "scheme": "http",
        "path": path,
        "method": "GET",
        "headers": {},
        "timeout": timedelta(seconds=10),
        "max_body_bytes": 4096,
    }
    return ProxiedRequest(**{**fields, **changes})


def serve(site: Site) -> dict[str, Any]:
    """Run one web pod behind the service; returns the pod."""
    site.deploy(site.push(web_image("1.2.3"), "1").pinned)
    site.serve()
    pod = site.pod(is_ready, "a ready pod")
    site.wait_endpoints(1)
    site.wait_reachable()
    return pod


async def test_a_service_answers_through_the_api_server(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """Status, headers and body are the service's own, up to the bound."""
    pod = serve(site)
    cluster = clusters.get("gitopsd")

    answer = await cluster.send(request_to(site, "/health?verbose=1"))

    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.truncated, answer.from_proxy) == (200, False, False)
    assert orjson.loads(answer.body) == {"status": "healthy", "version": "1.2.3"}
    assert answer.headers["x-served-by"].startswith(pod["metadata"]["name"])
    short = await cluster.send(request_to(site, "/health", max_body_bytes=5))
    assert isinstance(short, HttpAnswer)
    assert (len(short.body), short.truncated) == (5, True)


async def test_headers_that_speak_to_the_api_server_are_not_sent(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """A check cannot borrow an identity, nor replace our credential."""
    serve(site)
    headers = {"Impersonate-User": "system:admin", "authorization": "Bearer of-the-service"}

    answer = await clusters.get("gitopsd").send(request_to(site, "/health", headers=headers))

    assert isinstance(answer, HttpAnswer)
    assert answer.status == 200


async def test_the_api_servers_own_answers_are_marked(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """A service that does not exist is the proxy's answer, not the service's."""
    answer = await clusters.get("gitopsd").send(request_to(site, "/", service="none"))

    assert isinstance(answer, HttpAnswer)
    assert answer.from_proxy
    assert answer.status in (404, 503)


async def test_the_last_lines_of_a_log_are_read(site: Site, clusters: ConfiguredClusters) -> None:
    """As many lines as asked for; a log that is not there is a refusal with the server's words."""
    name = serve(site)["metadata"]["name"]
    cluster = clusters.get("gitopsd")

    lines = await cluster.fetch_log(site.namespace, name, "web", previous=False, tail_lines=1)
    before = await cluster.fetch_log(site.namespace, name, "web", previous=True, tail_lines=1)
    nobody = await cluster.fetch_log(site.namespace, "none", "web", previous=False, tail_lines=1)

    assert not isinstance(lines, ApiRefusal)
    assert len(lines) == 1
    assert isinstance(before, ApiRefusal)
    assert "not found" in before.message
    assert isinstance(nobody, ApiRefusal)
    assert (nobody.code, nobody.reason) == (404, "NotFound")


async def test_a_stage_can_act_as_a_service_account(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """Its requests carry the account's rights and no others, and the audit log names it."""
    access = site.cluster
    before_all = access.audit_length()
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]}]
    access.make_account(site.namespace, "deployer", rules)
    let_impersonate(access, site.namespace)
    cluster = clusters.get("gitopsd", service_account="deployer", namespace=site.namespace)

    async with asyncio.timeout(30):
        while isinstance(await cluster.get(ref_of(config_map("as", site.namespace))), ApiRefusal):
            pass  # until the API server goes by the new rules
    done = await cluster.apply(config_map("as", site.namespace, a="b"), manager="m", force=True)
    listed = await cluster.fetch_list("v1", "ConfigMap", site.namespace)

    assert isinstance(done, AppliedObject)
    assert isinstance(listed, ApiRefusal)
    assert f"system:serviceaccount:{site.namespace}:deployer" in listed.message

    def seen() -> bool:
        return any(
            event["verb"] == "patch"
            and event.get("impersonatedUser", {}).get("username")
            == f"system:serviceaccount:{site.namespace}:deployer"
            for event in access.audit_events(before_all)
        )

    wait_until(seen, what="the audit log to name the account", within=timedelta(seconds=10))


async def test_a_schema_of_a_kind_is_found(clusters: ConfiguredClusters) -> None:
    """The server's own OpenAPI describes the kind; an unknown group has none."""
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "b"},
    }

    found = await clusters.get("gitopsd").fetch_schema(ref_of(deployment))

    assert found is not None
    properties: Any = found["properties"]
    assert {"spec", "status"} <= set(properties)
    nothing = ref_of({**deployment, "apiVersion": "none.example.com/v1"})
    assert await clusters.get("gitopsd").fetch_schema(nothing) is None
