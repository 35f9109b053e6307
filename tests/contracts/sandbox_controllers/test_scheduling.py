"""The sandbox's scheduler: where pods go, and what it says of those that wait."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.controllers.facts import CLAIM, NODE, POD
from tests.support.controller_world import World, conditions

TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


def make_pod(world: World, name: str = "web", **spec: object) -> None:
    """Make a pod that waits, and let it be scheduled."""
    given: dict[str, Any] = {"containers": [{"name": "web", "image": "web:1"}], **spec}
    world.make(POD, name, spec=given, status={"phase": "Pending"})
    world.settle()


def asking(**requests: str) -> list[dict[str, Any]]:
    """Containers that ask for something."""
    return [{"name": "web", "image": "web:1", "resources": {"requests": requests}}]


def node_of(world: World, name: str = "web") -> str:
    """Where a pod is; empty while it waits."""
    return str(world.get(POD, name)["spec"].get("nodeName", ""))


def test_a_pod_is_bound_to_the_node_with_the_fewest_pods() -> None:
    """The binding is in the spec, in the condition PodScheduled and in an Event."""
    world = World.whole()
    world.make_node("node-2")
    for name in ("one", "two"):
        make_pod(world, name)

    assert {node_of(world, "one"), node_of(world, "two")} == {"node-1", "node-2"}
    (condition,) = world.get(POD, "one")["status"]["conditions"]
    assert condition == {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }
    assert world.events()[0] == (
        "Normal",
        "Scheduled",
        f"Successfully assigned shop/one to {node_of(world, 'one')}",
    )


NOWHERE = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
CROWDED = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."


@pytest.mark.parametrize(
    "spec, complaint",
    [
        (
            {"nodeSelector": {"disk": "ssd"}},
            f"1 node(s) didn't match Pod's node affinity/selector. {NOWHERE}",
        ),
        ({"containers": asking(cpu="5")}, f"1 Insufficient cpu. {NOWHERE}"),
        ({"containers": asking(cpu="3", memory="2Gi")}, f"1 Insufficient cpu. {CROWDED}"),
        ({"containers": asking(**{"acme.io/gpu": "1"})}, f"1 Insufficient acme.io/gpu. {NOWHERE}"),
    ],
)
def test_a_pod_that_fits_nowhere_says_why(spec: dict[str, Any], complaint: str) -> None:
    """The condition and the Event carry the real scheduler's words, once."""
    world = World.whole()
    make_pod(world, "first", containers=asking(cpu="2"))
    make_pod(world, **spec)

    assert node_of(world) == ""
    (condition,) = world.get(POD, "web")["status"]["conditions"]
    assert condition["message"] == f"0/1 nodes are available: {complaint}"
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    said = [event for event in world.events() if event[1] == "FailedScheduling"]
    assert said == [("Warning", "FailedScheduling", condition["message"])]


def test_taints_keep_pods_away_that_do_not_tolerate_them() -> None:
    """A toleration by value, by key or for everything lets a pod on."""
    world = World.whole()
    world.change(NODE, "node-1", lambda node: node.update(spec={"taints": [TAINT]}), namespace="")
    make_pod(world)
    message = world.get(POD, "web")["status"]["conditions"][0]["message"]
    assert "1 node(s) had untolerated taint(s)." in message

    for number, toleration in enumerate(
        [
            {"key": "dedicated", "operator": "Equal", "value": "db"},
            {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"},
            {"operator": "Exists"},
        ]
    ):
        make_pod(world, f"on-{number}", tolerations=[toleration])
        assert node_of(world, f"on-{number}") == "node-1"


def test_a_pod_that_waits_is_bound_when_a_node_comes() -> None:
    """Nothing asks in between: the new node is what is waited for."""
    world = World.whole()
    world.delete(NODE, "node-1", namespace="")
    make_pod(world)
    assert world.get(POD, "web")["status"]["conditions"][0]["message"] == (
        "no nodes available to schedule pods"
    )
    assert world.runner.next_due() is None

    world.make_node("late")
    world.settle()

    assert node_of(world) == "late"


def test_a_pod_that_waits_is_bound_when_another_makes_room() -> None:
    """A pod that ended asks for nothing any more."""
    world = World.whole()
    make_pod(world, "first", containers=asking(cpu="3"))
    make_pod(world, "second", containers=asking(cpu="3"))
    assert node_of(world, "second") == ""

    world.set_pod("first", "Succeeded")
    world.settle()

    assert node_of(world, "second") == "node-1"
    assert conditions(world.get(POD, "second"))["PodScheduled"] == ("True", "")


def test_a_pod_waits_for_its_claims() -> None:
    """A missing claim and one that is not bound are told apart."""
    world = World.whole()
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    make_pod(world, volumes=volumes)
    first = world.get(POD, "web")["status"]["conditions"][0]["message"]
    assert first == '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'


@pytest.mark.parametrize(
    "spec",
    [
        {"schedulerName": "another"},
        {"schedulingGates": [{"name": "a/b"}]},
        {"nodeName": "elsewhere"},
    ],
)
def test_pods_that_are_not_for_it_are_left_alone(spec: dict[str, Any]) -> None:
    """Another scheduler's pods, gated ones and bound ones stay as they are."""
    world = World.whole()
    make_pod(world, **spec)
    assert node_of(world) == spec.get("nodeName", "")
    assert "conditions" not in world.get(POD, "web")["status"]


def test_required_affinity_chooses_by_labels_and_by_name() -> None:
    """One term that holds is enough; in a term everything has to hold."""
    world = World.whole()
    world.make_node("big", metadata={"labels": {"size": "12"}})
    terms = [
        {"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["10"]}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]},
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    make_pod(world, affinity={"nodeAffinity": required})
    assert node_of(world) == "big"


def test_a_cordoned_node_takes_no_new_pods() -> None:
    """It says so in the real words."""
    world = World.whole()
    world.change(
        NODE, "node-1", lambda node: node.update(spec={"unschedulable": True}), namespace=""
    )
    make_pod(world)
    assert "1 node(s) were unschedulable." in str(world.get(POD, "web")["status"]["conditions"])
    assert world.all(CLAIM) == []
