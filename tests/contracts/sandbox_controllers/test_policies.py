"""Budgets, autoscalers, quotas, claims and silent nodes on the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.controllers.claims import STANDARD_CLASS
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    LEASE,
    NODE,
    POD,
    POD_AUTOSCALER,
    REPLICA_SET,
    RESOURCE_QUOTA,
    STORAGE_CLASS,
    VOLUME,
)
from tests.support.controller_world import World, conditions


def deployed(replicas: int = 2, **container: object) -> World:
    """A world with a Deployment whose pods run."""
    world = World.whole()
    deploy(world, replicas, **container)
    world.roll()
    return world


def deploy(world: World, replicas: int = 2, **container: object) -> None:
    """Make the Deployment ``web``."""
    world.make(
        DEPLOYMENT,
        "web",
        spec={
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1", **container}]},
            },
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
        },
    )
    world.settle()


@pytest.mark.parametrize(
    "rule, desired, allowed",
    [
        ({"minAvailable": 3}, 3, 1),
        ({"minAvailable": "50%"}, 2, 2),
        ({"maxUnavailable": 1}, 3, 1),
        ({"maxUnavailable": "30%"}, 2, 2),
    ],
)
def test_a_budget_counts_what_may_be_taken_away(
    rule: dict[str, Any], desired: int, allowed: int
) -> None:
    """Percentages are of what the workload wants, rounded up."""
    world = deployed(4)
    selector = {"matchLabels": {"app": "web"}}
    world.make(DISRUPTION_BUDGET, "web", spec={"selector": selector, **rule})
    world.settle()
    status = world.get(DISRUPTION_BUDGET, "web")["status"]
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
    assert (status["currentHealthy"], status["expectedPods"]) == (4, 4)
    assert conditions(world.get(DISRUPTION_BUDGET, "web")) == {
        "DisruptionAllowed": ("True", "SufficientPods")
    }

    for pod in world.all(POD)[:allowed]:
        world.set_pod(pod["metadata"]["name"], "Running", ready=False)
    world.settle()
    assert conditions(world.get(DISRUPTION_BUDGET, "web")) == {
        "DisruptionAllowed": ("False", "InsufficientPods")
    }


def autoscale(world: World, least: int, most: int, target: str = "web") -> dict[str, Any]:
    """Make an autoscaler and return it as it is then."""
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    spec = {
        "minReplicas": least,
        "maxReplicas": most,
        "scaleTargetRef": reference,
        "metrics": [metric],
    }
    world.make(POD_AUTOSCALER, "web", spec=spec)
    world.settle()
    return world.get(POD_AUTOSCALER, "web")


def test_an_autoscaler_without_metrics_says_so_once() -> None:
    """In the words of a cluster without a metrics server."""
    world = deployed()
    scaler = autoscale(world, 1, 5)
    assert conditions(scaler) == {
        "AbleToScale": ("True", "SucceededGetScale"),
        "ScalingActive": ("False", "FailedGetResourceMetric"),
    }
    assert scaler["status"]["currentReplicas"] == 2
    world.advance(hours=1)
    assert world.reasons().count("FailedGetResourceMetric") == 1


@pytest.mark.parametrize("least, most, size", [(3, 5, 3), (1, 1, 1)])
def test_an_autoscaler_keeps_its_bounds(least: int, most: int, size: int) -> None:
    """Metrics are not needed for that."""
    world = deployed(2)
    autoscale(world, least, most)
    world.roll()
    assert world.get(DEPLOYMENT, "web")["spec"]["replicas"] == size
    assert len(world.all(POD)) == size
    assert "SuccessfulRescale" in world.reasons()


def test_an_autoscaler_without_a_target_cannot_scale() -> None:
    """It names what it looked for."""
    scaler = autoscale(World.whole(), 1, 5, "gone")
    assert conditions(scaler) == {"AbleToScale": ("False", "FailedGetScale")}
    assert 'deployments.apps "gone" not found' in scaler["status"]["conditions"][0]["message"]


def test_a_quota_refuses_what_would_be_too_much() -> None:
    """The ReplicaSet says so in the API's words; more quota lets it go on."""
    world = World.whole()
    hard = {"pods": "1", "requests.cpu": "1", "count/deployments.apps": "5"}
    world.make(RESOURCE_QUOTA, "small", spec={"hard": hard})
    deploy(world, resources={"requests": {"cpu": "100m"}})
    (found,) = world.all(REPLICA_SET)
    message = found["status"]["conditions"][0]["message"]
    assert message.startswith('pods "web-')
    assert message.endswith(
        "is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"
    )
    assert world.get(RESOURCE_QUOTA, "small")["status"] == {
        "hard": hard,
        "used": {"pods": "1", "requests.cpu": "100m", "count/deployments.apps": "1"},
    }

    world.change(RESOURCE_QUOTA, "small", lambda item: item["spec"]["hard"].update(pods="2"))
    world.advance(minutes=1)

    assert len(world.all(POD)) == 2
    assert "conditions" not in world.all(REPLICA_SET)[0]["status"]


def test_a_quota_of_cpu_asks_every_pod_to_say_what_it_needs() -> None:
    """The containers that do not are named."""
    world = World.whole()
    world.make(RESOURCE_QUOTA, "cpu", spec={"hard": {"limits.cpu": "1", "requests.memory": "1Gi"}})
    deploy(world)
    (found,) = world.all(REPLICA_SET)
    assert found["status"]["conditions"][0]["message"].endswith(
        "failed quota: cpu: must specify limits.cpu for: web; requests.memory for: web"
    )


def make_claim(world: World, name: str = "data", **spec: object) -> None:
    """Make a claim for a gibibyte."""
    given = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        **spec,
    }
    metadata = {"finalizers": ["kubernetes.io/pvc-protection"]}
    world.make(CLAIM, name, metadata=metadata, spec=given, status={"phase": "Pending"})
    world.settle()


def world_with_class() -> World:
    """A world with the class that a cluster begins with."""
    world = World.whole()
    given = {key: value for key, value in STANDARD_CLASS.items() if key[0] in "prv"}
    meta: Any = STANDARD_CLASS["metadata"]
    world.make(STORAGE_CLASS, "standard", namespace="", metadata=meta, **given)
    return world


def test_a_claim_gets_a_volume_of_the_default_class() -> None:
    """Both say that they are bound to each other."""
    world = world_with_class()
    make_claim(world)
    claim = world.get(CLAIM, "data")
    name = f"pvc-{claim['metadata']['uid']}"
    volume = world.get(VOLUME, name, namespace="")
    assert claim["spec"]["storageClassName"] == "standard"
    assert claim["spec"]["volumeName"] == name
    assert claim["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    }
    assert volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert world.reasons() == ["ProvisioningSucceeded"]


def test_a_claim_without_a_class_waits_for_a_volume() -> None:
    """One made by hand that is large enough is taken, and released when the claim goes."""
    world = World.whole()
    make_claim(world, storageClassName="")
    assert world.get(CLAIM, "data")["status"]["phase"] == "Pending"
    assert world.events()[0][2] == (
        "no persistent volumes available for this claim and no storage class is set"
    )

    spec = {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"]}
    world.make(VOLUME, "disk", namespace="", spec=spec, status={})
    world.settle()
    assert world.get(CLAIM, "data")["status"]["capacity"] == {"storage": "2Gi"}

    world.delete(CLAIM, "data")
    world.settle()
    assert world.all(CLAIM) == []
    assert world.get(VOLUME, "disk", namespace="")["status"]["phase"] == "Released"


def test_a_claim_in_use_stays_until_its_pod_has_ended() -> None:
    """Then it goes, and what was made for it goes too."""
    world = world_with_class()
    make_claim(world)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {"containers": [{"name": "a"}], "volumes": volumes}
    world.make(POD, "user", spec=spec, status={"phase": "Pending"})
    world.settle()
    assert world.get(POD, "user")["spec"]["nodeName"] == "node-1"
    world.delete(CLAIM, "data")
    world.settle()
    assert world.all(CLAIM)

    world.set_pod("user", "Succeeded")
    world.settle()

    assert world.all(CLAIM) == world.all(VOLUME, "") == []


def test_a_silent_node_is_marked_and_its_pods_are_given_up() -> None:
    """Its pods are no longer ready at once, and deleted when they have borne it for long enough."""
    world = deployed(1)
    world.make(LEASE, "node-1", namespace="kube-node-lease", spec={"renewTime": _now(world)})
    toleration = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    name = world.all(POD)[0]["metadata"]["name"]
    world.change(POD, name, lambda pod: pod["spec"].update(tolerations=[toleration]))
    world.advance(seconds=39)
    assert conditions(world.get(NODE, "node-1", namespace=""))["Ready"] == ("True", "")

    world.advance(seconds=2)
    node = world.get(NODE, "node-1", namespace="")
    assert conditions(node)["Ready"] == ("Unknown", "NodeStatusUnknown")
    assert {taint["effect"] for taint in node["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    assert conditions(world.get(POD, name))["Ready"][0] == "False"
    assert world.get(DEPLOYMENT, "web")["status"]["unavailableReplicas"] == 1

    world.advance(seconds=300)
    assert "deletionTimestamp" in world.get(POD, name)["metadata"]
    assert "TaintManagerEviction" in world.reasons()

    ready = [{"type": "Ready", "status": "True"}]
    renewed = {"renewTime": _now(world)}
    world.change(
        LEASE, "node-1", lambda lease: lease["spec"].update(renewed), namespace="kube-node-lease"
    )
    world.change(NODE, "node-1", lambda item: item["status"].update(conditions=ready), namespace="")
    world.roll()
    assert "taints" not in world.get(NODE, "node-1", namespace="")["spec"]
    assert len(world.all(POD)) == 1
    assert world.all(CONFIG_MAP)


def test_a_node_that_only_slept_is_ready_when_it_is_awake() -> None:
    """Its lease is enough: what runs there serves again at once."""
    world = deployed(1)
    world.make(LEASE, "node-1", namespace="kube-node-lease", spec={"renewTime": _now(world)})
    name = world.all(POD)[0]["metadata"]["name"]
    running = {"type": "ContainersReady", "status": "True"}
    world.change(POD, name, lambda pod: pod["spec"].update(tolerations=[{"operator": "Exists"}]))
    world.change(POD, name, lambda pod: pod["status"]["conditions"].append(running))
    world.advance(seconds=60)
    assert conditions(world.get(POD, name))["Ready"][0] == "False"

    renewed = {"renewTime": _now(world)}
    world.change(
        LEASE, "node-1", lambda lease: lease["spec"].update(renewed), namespace="kube-node-lease"
    )
    world.settle()

    assert conditions(world.get(NODE, "node-1", namespace=""))["Ready"] == ("True", "KubeletReady")
    assert conditions(world.get(POD, name))["Ready"][0] == "True"
    assert world.get(DEPLOYMENT, "web")["status"]["availableReplicas"] == 1
    assert "taints" not in world.get(NODE, "node-1", namespace="")["spec"]


def _now(world: World) -> str:
    return world.clock.now().isoformat()


def test_pods_of_a_node_that_is_gone_go_too() -> None:
    """Nobody else can end them."""
    world = deployed(1)
    world.advance(minutes=2)
    world.delete(NODE, "node-1", namespace="")
    world.settle()
    (pod,) = world.all(POD)
    assert "nodeName" not in pod["spec"]
    assert conditions(pod)["PodScheduled"] == ("False", "Unschedulable")
