"""DaemonSets on the sandbox: one pod on every node that takes it."""

from __future__ import annotations

from typing import Any

from gitopsd.sandbox.controllers.facts import CONTROLLER_REVISION, DAEMON_SET, NODE, POD
from tests.support.controller_world import World


def world_with(**template: object) -> World:
    """A world with two nodes and the DaemonSet ``agent``."""
    world = World.whole()
    world.make_node("node-2", metadata={"labels": {"disk": "ssd"}})
    spec = {"containers": [{"name": "agent", "image": "agent:1"}], **template}
    world.make(
        DAEMON_SET,
        "agent",
        metadata={"annotations": {"deprecated.daemonset.template.generation": "1"}},
        spec={
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        },
    )
    world.settle()
    return world


def hosts(world: World) -> list[str]:
    """Where the pods are."""
    return sorted(pod["spec"].get("nodeName", "") for pod in world.all(POD))


def test_every_node_gets_a_pod_and_new_ones_too() -> None:
    """The scheduler binds each to the node that it was made for."""
    world = world_with()
    assert hosts(world) == ["node-1", "node-2"]
    world.make_node("node-3")
    world.roll()
    assert hosts(world) == ["node-1", "node-2", "node-3"]

    (revision,) = world.all(CONTROLLER_REVISION)
    pod = world.all(POD)[0]
    assert pod["metadata"]["labels"] == {
        "app": "agent",
        "controller-revision-hash": revision["metadata"]["labels"]["controller-revision-hash"],
        "pod-template-generation": "1",
    }
    assert world.get(DAEMON_SET, "agent")["status"] == {
        "currentNumberScheduled": 3,
        "desiredNumberScheduled": 3,
        "numberMisscheduled": 0,
        "numberReady": 3,
        "numberAvailable": 3,
        "observedGeneration": 1,
        "updatedNumberScheduled": 3,
    }


def test_nodes_that_do_not_fit_get_none() -> None:
    """A selector and taints are heeded; cordoned nodes are served all the same."""
    world = world_with(nodeSelector={"disk": "ssd"})
    assert hosts(world) == ["node-2"]
    assert world.get(DAEMON_SET, "agent")["status"]["numberUnavailable"] == 1

    taint = {"key": "a", "effect": "NoSchedule"}
    world.change(NODE, "node-2", lambda node: node.update(spec={"taints": [taint]}), namespace="")
    world.roll()
    assert hosts(world) == []


def test_an_update_replaces_one_pod_at_a_time() -> None:
    """The next goes when the new one is available."""
    world = world_with()
    world.roll()

    def change(item: dict[str, Any]) -> None:
        item["spec"]["template"]["spec"]["containers"][0]["image"] = "agent:2"

    world.change(DAEMON_SET, "agent", change)
    world.settle()
    leaving = [pod for pod in world.all(POD) if "deletionTimestamp" in pod["metadata"]]
    assert len(leaving) == 1
    world.roll()

    images = {pod["spec"]["containers"][0]["image"] for pod in world.all(POD)}
    assert images == {"agent:2"}
    assert world.get(DAEMON_SET, "agent")["status"]["updatedNumberScheduled"] == 2


def test_a_failed_pod_is_made_anew_and_told_of() -> None:
    """Its node keeps one."""
    world = world_with()
    world.roll()
    name = world.all(POD)[0]["metadata"]["name"]
    world.set_pod(name, "Failed")
    world.settle()
    world.roll()
    assert hosts(world) == ["node-1", "node-2"]
    assert "FailedDaemonPod" in world.reasons()
