"""Endpoints and EndpointSlices on the sandbox: which pods a Service's requests reach."""

from __future__ import annotations

from typing import Any

from gitopsd.sandbox.controllers.facts import ENDPOINT_SLICE, ENDPOINTS, POD, SERVICE
from tests.support.controller_world import World

PORTS = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web"}]


def make_pod(world: World, number: int, *, ready: bool = True, port: int = 8080) -> None:
    """Make a pod of the Service that runs."""
    named = [{"name": "web", "containerPort": port}]
    spec = {"containers": [{"name": "web", "image": "web:1", "ports": named}]}
    name = f"web-{number}"
    labels = {"labels": {"app": "web"}}
    world.make(POD, name, metadata=labels, spec=spec, status={"phase": "Pending"})
    world.settle()
    world.set_pod(name, "Running", ready=ready, podIP=f"10.0.0.{number}")
    world.settle()


def make_service(world: World, name: str = "web", **spec: object) -> dict[str, Any]:
    """Make the Service."""
    given = {"selector": {"app": "web"}, "ports": PORTS, "clusterIP": "10.96.0.1", **spec}
    made = world.make(SERVICE, name, metadata={"labels": {"team": "a"}}, spec=given)
    world.settle()
    return made


def endpoints_of(world: World) -> list[tuple[str, bool]]:
    """Address and readiness of all endpoints of the slices."""
    return [
        (end["addresses"][0], end["conditions"]["ready"])
        for item in world.all(ENDPOINT_SLICE)
        for end in item["endpoints"] or []
    ]


def test_ready_and_other_pods_are_told_apart() -> None:
    """Endpoints and the slice agree; named ports are the pods' own numbers."""
    world = World.whole()
    service = make_service(world)
    make_pod(world, 1)
    make_pod(world, 2, ready=False)

    (found,) = world.all(ENDPOINT_SLICE)
    uids = [world.get(POD, f"web-{number}")["metadata"]["uid"] for number in (1, 2)]
    assert found["metadata"]["name"].startswith("web-")
    assert found["metadata"]["generateName"] == "web-"
    assert found["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert found["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
    assert found["addressType"] == "IPv4"
    assert found["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert found["endpoints"][1] == {
        "addresses": ["10.0.0.2"],
        "conditions": {"ready": False, "serving": False, "terminating": False},
        "nodeName": "node-1",
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-2", "uid": uids[1]},
    }
    assert world.get(ENDPOINTS, "web")["metadata"]["labels"] == {
        "team": "a",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    (subset,) = world.get(ENDPOINTS, "web")["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.0.0.1"]
    assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_changes_of_pods_reach_the_same_slice() -> None:
    """Readiness comes and goes, a deleted pod drains, a gone one is gone."""
    world = World.whole()
    make_service(world)
    make_pod(world, 1)
    make_pod(world, 2)
    name = world.all(ENDPOINT_SLICE)[0]["metadata"]["name"]
    world.set_pod("web-1", "Running", ready=False, podIP="10.0.0.1")
    world.settle()
    assert endpoints_of(world) == [("10.0.0.1", False), ("10.0.0.2", True)]

    world.delete(POD, "web-2")
    world.settle()
    (found,) = world.all(ENDPOINT_SLICE)
    assert found["endpoints"][1]["conditions"] == {
        "ready": False,
        "serving": True,
        "terminating": True,
    }
    world.start_pods()

    assert [item["metadata"]["name"] for item in world.all(ENDPOINT_SLICE)] == [name]
    assert endpoints_of(world) == [("10.0.0.1", False)]


def test_pods_with_other_numbers_have_a_slice_of_their_own() -> None:
    """A named port may differ from pod to pod, as in the middle of a rollout."""
    world = World.whole()
    make_service(world)
    make_pod(world, 1)
    make_pod(world, 2, port=9090)

    ports = sorted(item["ports"][0]["port"] for item in world.all(ENDPOINT_SLICE))
    assert ports == [8080, 9090]
    assert len(world.get(ENDPOINTS, "web")["subsets"]) == 2
    world.delete(POD, "web-2")
    world.start_pods()
    assert len(world.all(ENDPOINT_SLICE)) == 1


def test_a_service_without_pods_has_an_empty_slice() -> None:
    """It can be found by the Service's name; the first pod fills it."""
    world = World.whole()
    make_service(world)
    (empty,) = world.all(ENDPOINT_SLICE)
    assert (empty["endpoints"], empty["ports"]) == (None, None)
    assert "subsets" not in world.get(ENDPOINTS, "web")

    make_pod(world, 1)

    (filled,) = world.all(ENDPOINT_SLICE)
    assert filled["metadata"]["name"] == empty["metadata"]["name"]
    assert endpoints_of(world) == [("10.0.0.1", True)]


def test_a_headless_service_names_its_pods() -> None:
    """Hostnames of pods below it are told; the label says what it is."""
    world = World.whole()
    make_service(world, clusterIP="None", ports=[])
    spec = {"containers": [], "hostname": "db-0", "subdomain": "web"}
    labels = {"labels": {"app": "web"}}
    world.make(POD, "db-0", metadata=labels, spec=spec, status={"phase": "Pending"})
    world.settle()
    world.set_pod("db-0", "Running", ready=True, podIP="10.0.0.9")
    world.settle()

    (found,) = world.all(ENDPOINT_SLICE)
    assert found["endpoints"][0]["hostname"] == "db-0"
    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_services_without_a_selector_are_left_to_people() -> None:
    """Neither they nor names of elsewhere get anything."""
    world = World.whole()
    make_service(world, "by-hand", selector={})
    make_service(world, "elsewhere", type="ExternalName", externalName="example.org")
    assert world.all(ENDPOINTS) == []
    assert world.all(ENDPOINT_SLICE) == []


def test_what_a_service_had_goes_with_it() -> None:
    """Endpoints and slices are deleted."""
    world = World.whole()
    make_service(world)
    make_pod(world, 1)
    world.delete(SERVICE, "web")
    world.settle()
    assert world.all(ENDPOINTS) == []
    assert world.all(ENDPOINT_SLICE) == []


def test_a_change_by_hand_is_put_right() -> None:
    """What the controller keeps, it keeps."""
    world = World.whole()
    make_service(world)
    make_pod(world, 1)
    world.change(ENDPOINTS, "web", lambda item: item.pop("subsets"))
    name = world.all(ENDPOINT_SLICE)[0]["metadata"]["name"]
    world.change(ENDPOINT_SLICE, name, lambda item: item.update(endpoints=[]))
    world.settle()
    assert len(world.get(ENDPOINTS, "web")["subsets"]) == 1
    assert endpoints_of(world) == [("10.0.0.1", True)]
