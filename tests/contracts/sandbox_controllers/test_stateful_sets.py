"""StatefulSets on the sandbox: numbers, order, revisions, claims."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.controllers.facts import CLAIM, CONTROLLER_REVISION, POD, STATEFUL_SET
from tests.support.controller_world import World

CLAIM_TEMPLATE = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def database(replicas: int = 3, image: str = "db:1", **spec: object) -> dict[str, Any]:
    """The spec of the StatefulSet ``db``."""
    return {
        "replicas": replicas,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "db", "image": image}]},
        },
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **spec,
    }


def world_with(**spec: object) -> World:
    """A world with the StatefulSet, before any pod runs."""
    world = World.whole()
    world.make(STATEFUL_SET, "db", spec={**database(), **spec})
    world.settle()
    return world


def names(world: World) -> list[str]:
    """The pods there are."""
    return [pod["metadata"]["name"] for pod in world.all(POD)]


def images(world: World) -> dict[str, str]:
    """Each pod's image."""
    return {
        pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in world.all(POD)
    }


def set_image(world: World, image: str) -> None:
    """Ask for another image."""

    def change(item: dict[str, Any]) -> None:
        item["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.change(STATEFUL_SET, "db", change)
    world.settle()


def set_spec(world: World, **fields: object) -> None:
    """Change fields of the spec."""
    world.change(STATEFUL_SET, "db", lambda item: item["spec"].update(fields))
    world.settle()


def test_pods_come_one_after_the_other() -> None:
    """The next is made when the one before it is ready."""
    world = world_with()
    seen = [names(world)]
    for _ in range(3):
        world.start_pods()
        seen.append(names(world))
    assert seen == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"], seen[-1]]

    pod = world.get(POD, "db-1")
    (revision,) = world.all(CONTROLLER_REVISION)
    assert pod["metadata"]["labels"] == {
        "app": "db",
        "apps.kubernetes.io/pod-index": "1",
        "statefulset.kubernetes.io/pod-name": "db-1",
        "controller-revision-hash": revision["metadata"]["name"],
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
    assert world.get(STATEFUL_SET, "db")["status"] == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "currentReplicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
        "currentRevision": revision["metadata"]["name"],
        "updateRevision": revision["metadata"]["name"],
        "collisionCount": 0,
    }
    assert ("Normal", "SuccessfulCreate", "Create Pod db-2 in StatefulSet db successful") in (
        world.events()
    )


def test_parallel_pods_come_at_once() -> None:
    """Order is only kept where it is asked for."""
    world = world_with(podManagementPolicy="Parallel")
    assert names(world) == ["db-0", "db-1", "db-2"]


def test_an_update_goes_from_the_last_to_the_first() -> None:
    """One pod at a time, the next when the one before is ready again."""
    world = world_with()
    world.roll()
    set_image(world, "db:2")
    steps: list[dict[str, str]] = []
    for _ in range(8):
        now = images(world)
        if not steps or steps[-1] != now:
            steps.append(now)
        world.start_pods()
    assert [sorted(name for name, image in step.items() if image == "db:2") for step in steps] == [
        [],
        ["db-2"],
        ["db-1", "db-2"],
        ["db-0", "db-1", "db-2"],
    ]
    status = world.get(STATEFUL_SET, "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert len(world.all(CONTROLLER_REVISION)) == 2


def test_a_partition_keeps_the_first_pods_as_they_are() -> None:
    """Pods below it stay at the old revision, also when they are made anew."""
    world = world_with()
    world.roll()
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    set_spec(world, updateStrategy=rolling)
    set_image(world, "db:2")
    world.roll()
    world.delete(POD, "db-0")
    world.roll()

    assert images(world) == {"db-0": "db:1", "db-1": "db:1", "db-2": "db:2"}
    status = world.get(STATEFUL_SET, "db")["status"]
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
    assert status["currentRevision"] != status["updateRevision"]


def test_a_broken_update_stops_at_the_first_pod() -> None:
    """The others go on with what they have; going back repairs it when that pod is deleted."""
    world = world_with()
    world.roll()
    set_image(world, "db:broken")
    for _ in range(5):
        world.start_pods(ready=False)
    assert images(world) == {"db-0": "db:1", "db-1": "db:1", "db-2": "db:broken"}

    set_image(world, "db:1")
    revisions = [item["revision"] for item in world.all(CONTROLLER_REVISION)]
    assert sorted(revisions) == [2, 3]


def test_scaling_down_ends_the_last_first() -> None:
    """One after the other."""
    world = world_with()
    world.roll()
    set_spec(world, replicas=1)
    assert [name for name in names(world) if _leaves(world, name)] == ["db-2"]
    world.start_pods()
    assert [name for name in names(world) if _leaves(world, name)] == ["db-1"]
    world.roll()
    assert names(world) == ["db-0"]


def _leaves(world: World, name: str) -> bool:
    return "deletionTimestamp" in world.get(POD, name)["metadata"]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_made_anew(phase: str) -> None:
    """Whatever its exit code was."""
    world = world_with(replicas=1)
    world.roll()
    before = world.get(POD, "db-0")["metadata"]["uid"]
    world.set_pod("db-0", phase)
    world.roll()
    assert world.get(POD, "db-0")["metadata"]["uid"] != before


def test_each_pod_has_claims_of_its_own() -> None:
    """They are made before the pod, named after it, and stay when it goes."""
    world = world_with(replicas=1, volumeClaimTemplates=[CLAIM_TEMPLATE])
    (claim,) = world.all(CLAIM)
    assert claim["metadata"]["name"] == "data-db-0"
    assert claim["metadata"]["labels"] == {"app": "db"}
    (volume,) = world.get(POD, "db-0")["spec"]["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    said = "Create Claim data-db-0 Pod db-0 in StatefulSet db success"
    assert ("Normal", "SuccessfulCreate", said) in world.events()

    set_spec(world, replicas=0)
    world.roll()
    assert len(world.all(CLAIM)) == 1


def test_claims_go_with_their_pod_or_their_owner_when_asked() -> None:
    """Scaling down and deleting are asked for apart."""
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    world = world_with(
        replicas=2,
        volumeClaimTemplates=[CLAIM_TEMPLATE],
        persistentVolumeClaimRetentionPolicy=policy,
        podManagementPolicy="Parallel",
    )
    set_spec(world, replicas=1)
    world.roll()
    assert [item["metadata"]["name"] for item in world.all(CLAIM)] == ["data-db-0"]

    world.delete(STATEFUL_SET, "db")
    world.roll()
    assert world.all(CLAIM) == []


def test_numbers_begin_where_they_are_told_to() -> None:
    """An offset moves all names."""
    world = world_with(replicas=2, ordinals={"start": 5}, podManagementPolicy="Parallel")
    assert names(world) == ["db-5", "db-6"]


def test_old_revisions_beyond_the_limit_are_deleted() -> None:
    """Those that pods were made from stay."""
    world = world_with(replicas=1, revisionHistoryLimit=1)
    for number in range(1, 5):
        set_image(world, f"db:{number}")
        world.roll()
    assert sorted(item["revision"] for item in world.all(CONTROLLER_REVISION)) == [3, 4]


def test_on_delete_waits_for_people() -> None:
    """A pod takes the new template when somebody deletes it."""
    world = world_with(replicas=2, updateStrategy={"type": "OnDelete"})
    world.roll()
    set_image(world, "db:2")
    world.roll()
    assert set(images(world).values()) == {"db:1"}
    world.delete(POD, "db-1")
    world.roll()
    assert images(world) == {"db-0": "db:1", "db-1": "db:2"}


def test_more_may_be_missing_when_asked() -> None:
    """As many pods as allowed are replaced at a time."""
    rolling = {"partition": 0, "maxUnavailable": 2}
    world = world_with(updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    world.roll()
    set_image(world, "db:2")
    leaving = [name for name in names(world) if _leaves(world, name)]
    assert leaving == ["db-1", "db-2"]
