"""What Services are given, keep and let go."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.objects.service_addresses import NODE_PORTS, ServiceAddresses
from gitopsd.sandbox.objects.status_errors import StatusError
from tests.support.api_talk import MERGE, PLAIN
from tests.support.paper_api import PaperApi

COLLECTION = "/api/v1/namespaces/shop/services"


@pytest.fixture
def api() -> PaperApi:
    """An API with nothing in it."""
    return PaperApi()


def create(api: PaperApi, name: str = "api", **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Create a Service and return its specification."""
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
    found: dict[str, Any] = api.say("POST", COLLECTION, body, PLAIN).answer["spec"]
    return found


def patch(api: PaperApi, spec: dict[str, Any]) -> dict[str, Any]:
    """Patch the Service and return its specification."""
    said = api.say("PATCH", f"{COLLECTION}/api", {"spec": spec}, MERGE)
    found: dict[str, Any] = said.answer["spec"]
    return found


def test_each_service_has_an_address_of_its_own(api: PaperApi) -> None:
    """Addresses differ, and a refused Service takes none away."""
    first, second = create(api, "one"), create(api, "two")

    assert first["clusterIP"] != second["clusterIP"]
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert first["ipFamilies"] == ["IPv4"]


def test_node_ports_come_with_the_type_and_go_with_it(api: PaperApi) -> None:
    """A port keeps its node port until the Service is of a type without one."""
    create(api)

    opened = patch(api, {"type": "NodePort"})
    kept = patch(api, {"ports": [{"port": 80, "targetPort": 8080}]})
    closed = patch(api, {"type": "ClusterIP"})

    number = opened["ports"][0]["nodePort"]
    assert number in NODE_PORTS
    assert kept["ports"][0]["nodePort"] == number
    assert "nodePort" not in closed["ports"][0]


def test_balancer_may_do_without_node_ports(api: PaperApi) -> None:
    """Node ports are a balancer's choice."""
    spec = create(api, type="LoadBalancer", allocateLoadBalancerNodePorts=False)

    assert "nodePort" not in spec["ports"][0]
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_external_name_lets_the_address_go(api: PaperApi) -> None:
    """A Service that is only a name has no address, and gets one when it is more again."""
    create(api)

    named = patch(api, {"type": "ExternalName", "externalName": "api.example.com"})
    back = patch(api, {"type": "ClusterIP", "externalName": None})

    assert "clusterIP" not in named
    assert "internalTrafficPolicy" not in named
    assert back["clusterIP"]


def test_address_may_be_chosen_once(api: PaperApi) -> None:
    """An address that a new Service names is kept; another one later is refused."""
    spec = create(api, clusterIPs=["10.96.0.99"])
    said = api.say("PATCH", f"{COLLECTION}/api", {"spec": {"clusterIP": "10.96.0.98"}}, MERGE)

    assert spec["clusterIP"] == "10.96.0.99"
    assert said.answer["details"]["causes"][0]["field"] == "spec.clusterIPs[0]"


def test_list_of_addresses_and_the_first_one_say_the_same(api: PaperApi) -> None:
    """Clearing either clears both, and what was allocated stays."""
    address = create(api)["clusterIP"]

    assert patch(api, {"clusterIP": None})["clusterIP"] == address
    assert patch(api, {"clusterIPs": None})["clusterIPs"] == [address]


def test_all_taken_is_told() -> None:
    """When nothing is left, the request is refused instead of anything given twice."""
    ports: list[dict[str, int]] = [{"nodePort": number} for number in NODE_PORTS]
    addresses = ServiceAddresses(lambda: [{"spec": {"ports": ports}}])

    with pytest.raises(StatusError, match="failed to allocate a node port: range is full"):
        addresses.node_port()
