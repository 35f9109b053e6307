"""Kinds: what is not known is not the same as what does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import TemporaryError
from tests.support.half_dead_api import AGGREGATED, refuse, resource, text

if TYPE_CHECKING:
    from gitopsd.adapters.cluster.client import KubernetesCluster
    from tests.support.half_dead_api import HalfDeadApi

WIDGET = ObjectRef(ObjectKey("example.com", "Widget", "shop", "one"), "v1")
WIDGETS = {("example.com", "v1"): [resource("widgets", "Widget")]}
PATH = "/apis/example.com/v1/namespaces/shop/widgets/one"


async def test_kinds_are_read_in_two_requests_and_remembered(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """Aggregated discovery is asked for once, whatever is looked up after."""
    api.extra = WIDGETS

    found = [await cluster.fetch_kind(WIDGET) for _ in range(3)]

    assert all(info is not None and info.plural == "widgets" for info in found)
    assert all(info is not None and info.has_status for info in found)
    assert sorted(api.paths("GET")) == ["/api", "/apis"]
    assert all(AGGREGATED in seen.headers["accept"] for seen in api.seen)


async def test_a_miss_asks_again_but_not_at_once(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """An unknown kind reads discovery once in ten seconds, however often it is asked for."""
    for _ in range(5):
        assert await cluster.fetch_kind(WIDGET) is None

    assert len(api.seen) == 2


async def test_what_was_forgotten_is_read_at_the_next_question(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """After a definition was applied the kind is found at once."""
    assert await cluster.fetch_kind(WIDGET) is None
    api.extra = WIDGETS

    cluster.forget_kinds()

    assert await cluster.fetch_kind(WIDGET) is not None


async def test_an_api_service_that_is_away_is_trouble(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """Kinds of a group whose server does not answer are unknown, not missing."""
    api.extra, api.stale = {("metrics.example.com", "v1"): []}, {"metrics.example.com"}
    away = ObjectRef(ObjectKey("metrics.example.com", "Load", "shop", "one"), "v1")

    with pytest.raises(TemporaryError, match="kubectl get apiservices"):
        await cluster.get(away)
    assert await cluster.fetch_kind(WIDGET) is None


async def test_a_server_without_aggregated_discovery_is_read_group_by_group(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """The way of old servers finds the same, and a group that fails is trouble for its kinds."""
    api.old = True
    api.extra = {**WIDGETS, ("broken.example.com", "v1"): []}
    api.do("GET", "/apis/broken.example.com/v1", refuse(503, "ServiceUnavailable", "away"))

    found = await cluster.fetch_kind(WIDGET)

    assert found is not None
    assert (found.plural, found.namespaced, found.has_status) == ("widgets", True, True)
    broken = ObjectRef(ObjectKey("broken.example.com", "Gadget", "shop", "one"), "v1")
    with pytest.raises(TemporaryError):
        await cluster.fetch_kind(broken)


async def test_discovery_that_is_refused_is_trouble(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """An account that may not even list kinds cannot judge a release."""
    api.do("GET", "/apis", refuse(403, "Forbidden", "no"))

    with pytest.raises(TemporaryError, match="discovery is refused"):
        await cluster.fetch_kind(WIDGET)


async def test_a_kind_that_went_is_looked_up_anew(
    api: HalfDeadApi, cluster: KubernetesCluster
) -> None:
    """A path that the server does not know any more is trouble once, and then nothing."""
    api.extra = WIDGETS
    assert await cluster.get(WIDGET) is not None
    api.extra = {}
    api.do("GET", PATH, text(404, "404 page not found", "text/plain"))

    with pytest.raises(TemporaryError):
        await cluster.get(WIDGET)

    assert await cluster.get(WIDGET) is None


async def test_a_missing_schema_is_none(api: HalfDeadApi, cluster: KubernetesCluster) -> None:
    """A server that publishes no description of a group has none for its kinds."""
    api.do("GET", "/openapi/v3/apis/example.com/v1", text(404, "404 page not found", "text/plain"))

    assert await cluster.fetch_schema(WIDGET) is None
