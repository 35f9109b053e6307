"""Whatever an API server does short of a clear answer is trouble, and never a verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    HttpAnswer,
    ProxiedRequest,
)
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import TemporaryError
from tests.support.cluster_objects import config_map
from tests.support.half_dead_api import (
    Behaviour,
    hang_up,
    json_answer,
    never,
    refuse,
    reset,
    text,
)

if TYPE_CHECKING:
    from aiohttp import web

    from gitopsd.adapters.cluster.client import KubernetesCluster
    from tests.integration.cluster.conftest import Connect
    from tests.support.half_dead_api import HalfDeadApi

SETTINGS = ObjectRef(ObjectKey("", "ConfigMap", "shop", "settings"), "v1")
PATH = "/api/v1/namespaces/shop/configmaps/settings"
TOKEN = "a-token-made-for-this-test"


async def trouble(cluster: KubernetesCluster) -> TemporaryError:
    """Read the object; that must be trouble."""
    with pytest.raises(TemporaryError) as raised:
        await cluster.get(SETTINGS)
    return raised.value


async def test_a_server_that_never_answers_ends_at_the_bound(
    api: HalfDeadApi, connect: Connect
) -> None:
    """It accepts and says nothing: the request ends in time and says where and how long."""
    api.do("GET", PATH, never(api))
    cluster = connect(api.url, timeout=timedelta(seconds=0.2))

    error = await trouble(cluster)

    assert error.message == f"GET shop:{PATH}: no answer within 0.2 s"


async def test_a_server_that_is_not_there_is_said(api: HalfDeadApi, connect: Connect) -> None:
    """A refused connection names the address."""
    cluster = connect("http://127.0.0.1:1")

    error = await trouble(cluster)

    assert "127.0.0.1:1" in error.message
    assert api.seen == []


async def test_reading_may_work_while_writing_does_not(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """GET answers and PATCH is unavailable: the write is trouble, the read is a value."""
    api.do("PATCH", "*", refuse(503, "ServiceUnavailable", "etcdserver: leader changed"))

    assert isinstance(await cluster.get(SETTINGS), dict)
    with pytest.raises(TemporaryError, match="leader changed"):
        await cluster.apply(config_map("settings", "shop"), manager="gitopsd", force=True)


async def test_an_internal_error_passes(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """A 500 is trouble, and the next attempt is an answer."""
    api.do(
        "GET", PATH, refuse(500, "InternalError", "no"), api.well, refuse(502, "", "bad"), api.well
    )

    for _ in range(2):
        await trouble(cluster)
        assert isinstance(await cluster.get(SETTINGS), dict)


@pytest.mark.parametrize(
    "behaviour",
    [
        refuse(429, "TooManyRequests", "later", Retry_After="7"),
        text(429, "Too many requests, please try again later.", "text/plain", Retry_After="7"),
    ],
    ids=["status", "text"],
)
async def test_being_asked_for_patience_is_heeded(
    api: HalfDeadApi, cluster: KubernetesCluster, behaviour: Behaviour
) -> None:
    """The time of Retry-After comes with the error, whoever answers in the server's place."""
    api.do("GET", PATH, behaviour)

    assert (await trouble(cluster)).retry_after == timedelta(seconds=7)


async def test_a_body_that_breaks_off_is_trouble(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """A connection reset in mid-body is not half an object."""
    api.do("GET", PATH, reset)

    assert f"GET shop:{PATH}" in (await trouble(cluster)).message


@pytest.mark.parametrize("status", [200, 403, 404, 409, 422])
async def test_html_is_never_believed(
    api: HalfDeadApi, cluster: KubernetesCluster, status: int
) -> None:
    """A page of some proxy says nothing about an object, whatever its status."""
    api.do("*", PATH, text(status, "<html>Not here</html>"))

    assert "text/html" in (await trouble(cluster)).message
    with pytest.raises(TemporaryError):
        await cluster.delete(SETTINGS)


async def test_a_redirect_is_not_followed(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """An API server does not redirect; the credential goes nowhere else."""
    api.do("GET", PATH, text(302, "", Location="/elsewhere"))

    await trouble(cluster)

    assert "/elsewhere" not in api.paths("GET")


async def test_a_refused_credential_rests_for_a_minute(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """401 is the credential's fault: it is tried again after 60 s, and no token is shown."""
    api.do("GET", PATH, refuse(401, "Unauthorized", f"Unauthorized: Bearer {TOKEN}"))

    error = await trouble(cluster)

    assert (error.reason, error.retry_after) == ("Credential", timedelta(seconds=60))
    assert TOKEN not in error.message


async def test_being_taken_for_nobody_is_a_refused_credential(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """A server that did not see our credential refuses everything; that is no verdict."""
    message = 'configmaps is forbidden: User "system:anonymous" cannot get resource'
    api.do("GET", PATH, refuse(403, "Forbidden", message))

    assert (await trouble(cluster)).reason == "Credential"


async def test_forbidden_is_a_value(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """A clear no of the API server itself is an answer."""
    api.do("GET", PATH, refuse(403, "Forbidden", 'User "deployer" cannot get resource'))

    answer = await cluster.get(SETTINGS)

    assert isinstance(answer, ApiRefusal)
    assert (answer.code, answer.reason) == (403, "Forbidden")


async def test_an_apply_survives_a_connection_that_was_idle_too_long(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """A server that hangs up on it is asked once more: an apply may be sent twice."""
    api.do("PATCH", PATH, hang_up, api.well)

    answer = await cluster.apply(config_map("settings", "shop"), manager="gitopsd", force=True)

    assert isinstance(answer, AppliedObject)
    assert len(api.paths("PATCH")) == 2


async def test_a_create_is_not_sent_twice(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """What must not happen twice is trouble when nobody can say whether it happened."""
    api.do("POST", "*", hang_up)

    with pytest.raises(TemporaryError):
        await cluster.create(config_map("settings", "shop"))

    assert len(api.paths("POST")) == 1


async def test_a_list_that_grew_old_is_begun_again(api: HalfDeadApi, connect: Connect) -> None:
    """A continuation that expired between two pages leads to one list in one piece."""
    path = "/api/v1/namespaces/shop/configmaps"
    item = {"metadata": {"name": "settings"}}

    async def first(_: web.Request) -> web.StreamResponse:
        return json_answer({"metadata": {"continue": "more"}, "items": [item]})

    async def whole(_: web.Request) -> web.StreamResponse:
        return json_answer({"metadata": {}, "items": [item, item, item]})

    api.do("GET", path, first, refuse(410, "Expired", "too old"), whole)

    found = await connect(api.url, page=1).fetch_list("v1", "ConfigMap", "shop")

    assert not isinstance(found, ApiRefusal)
    assert len(found) == 3
    limits = [(seen.query.get("limit"), seen.query.get("continue")) for seen in api.seen[-3:]]
    assert limits == [("1", None), ("1", "more"), ("0", None)]


async def test_a_services_cookies_stay_with_the_service(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """What a service sets behind the proxy is not sent to the API server."""
    path = "/api/v1/namespaces/shop/services/http:web:http/proxy/health"
    api.do("GET", path, text(200, "fine", Set_Cookie="session=stolen; Path=/"))
    request = ProxiedRequest(
        "shop", "web", "http", "http", "/health", "GET", {}, timedelta(seconds=5), 100
    )

    answer = await cluster.send(request)
    await cluster.get(SETTINGS)

    assert isinstance(answer, HttpAnswer)
    assert answer.body == b"fine"
    assert all("cookie" not in seen.headers for seen in api.seen)


async def test_every_request_says_who_asks(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """The audit log of a cluster can tell gitopsd apart."""
    await cluster.get(SETTINGS)

    assert all(seen.headers["user-agent"].startswith("gitopsd/") for seen in api.seen)


async def test_no_error_shows_a_secret(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """What a server throws back at us is masked."""
    api.do("PATCH", PATH, refuse(422, "Invalid", f"bad value: Authorization: Bearer {TOKEN}"))
    api.do("GET", PATH, refuse(500, "", f"panic: Authorization: Bearer {TOKEN}"))

    refused = await cluster.apply(config_map("settings", "shop"), manager="gitopsd", force=True)

    assert isinstance(refused, ApiRefusal)
    assert TOKEN not in refused.message
    assert TOKEN not in (await trouble(cluster)).message
