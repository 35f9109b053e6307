"""Deployments and ReplicaSets on the sandbox's store, from creation to their end."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.controllers.facts import DEPLOYMENT, POD, REPLICA_SET
from tests.support.controller_world import World, conditions

REVISION = "deployment.kubernetes.io/revision"


def web(image: str = "web:1", replicas: int = 3, **spec: object) -> dict[str, Any]:
    """The spec of the Deployment ``web``."""
    return {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]},
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
        **spec,
    }


def deployed(replicas: int = 3, **spec: object) -> World:
    """A world whose Deployment ``web`` is there and available."""
    world = World()
    world.make(DEPLOYMENT, "web", spec=web("web:1", replicas, **spec))
    world.roll()
    assert conditions(world.get(DEPLOYMENT, "web"))["Progressing"] == (
        "True",
        "NewReplicaSetAvailable",
    )
    return world


def set_image(world: World, image: str) -> None:
    """Ask for another image."""

    def change(item: dict[str, Any]) -> None:
        item["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.change(DEPLOYMENT, "web", change)


def set_spec(world: World, **fields: object) -> None:
    """Change fields of the Deployment's spec."""
    world.change(DEPLOYMENT, "web", lambda item: item["spec"].update(fields))


def sizes(world: World) -> list[int]:
    """What the ReplicaSets want, by revision."""
    sets = sorted(
        world.all(REPLICA_SET), key=lambda item: int(item["metadata"]["annotations"][REVISION])
    )
    return [item["spec"]["replicas"] for item in sets]


def test_a_deployment_makes_one_replica_set_and_its_pods() -> None:
    """Names, labels, owners and annotations are as a real control plane makes them."""
    world = World()
    made = world.make(DEPLOYMENT, "web", metadata={"annotations": {"team": "a"}}, spec=web())
    world.settle()

    (found,) = world.all(REPLICA_SET)
    mark = found["metadata"]["labels"]["pod-template-hash"]
    assert found["metadata"]["name"] == f"web-{mark}"
    assert found["metadata"]["annotations"] == {
        "team": "a",
        REVISION: "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert found["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "uid": made["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web", "pod-template-hash": mark}}
    pods = world.all(POD)
    assert len(pods) == 3
    for pod in pods:
        assert pod["metadata"]["name"].startswith(f"web-{mark}-")
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": mark}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    assert world.get(DEPLOYMENT, "web")["metadata"]["annotations"][REVISION] == "1"


def test_the_status_tells_of_each_pod_that_becomes_available() -> None:
    """Numbers and conditions follow the pods; the last one completes the rollout."""
    world = World()
    world.make(DEPLOYMENT, "web", spec=web())
    world.settle()
    web_now = world.get(DEPLOYMENT, "web")
    assert web_now["status"] == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "unavailableReplicas": 3,
        "terminatingReplicas": 0,
        "conditions": web_now["status"]["conditions"],
    }
    assert conditions(web_now) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }

    world.roll()

    web_now = world.get(DEPLOYMENT, "web")
    assert web_now["status"]["readyReplicas"] == web_now["status"]["availableReplicas"] == 3
    assert "unavailableReplicas" not in web_now["status"]
    assert conditions(web_now) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_events_tell_of_it_in_the_real_words() -> None:
    """Scaling is told of the Deployment, pods of the ReplicaSet."""
    world = World()
    world.make(DEPLOYMENT, "web", spec=web(replicas=1))
    world.settle()

    (found,), (pod,) = world.all(REPLICA_SET), world.all(POD)
    name = found["metadata"]["name"]
    assert world.events() == [
        ("Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 1"),
        ("Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"),
    ]


def test_an_update_rolls_within_surge_and_unavailability() -> None:
    """There are never more than 4 pods wanted nor fewer than 3 available, and old ones end."""
    world = deployed()
    set_image(world, "web:2")
    for _ in range(20):
        world.start_pods()
        assert sum(sizes(world)) <= 4
        ready = sum(item["status"].get("availableReplicas", 0) for item in world.all(REPLICA_SET))
        assert ready >= 3

    assert sizes(world) == [0, 3]
    web_now = world.get(DEPLOYMENT, "web")
    assert web_now["metadata"]["annotations"][REVISION] == "2"
    assert conditions(web_now)["Progressing"] == ("True", "NewReplicaSetAvailable")
    images = {pod["spec"]["containers"][0]["image"] for pod in world.all(POD)}
    assert images == {"web:2"}


def test_recreate_ends_all_old_pods_first() -> None:
    """No new pod is made while an old one is there."""
    world = deployed(strategy={"type": "Recreate"})
    set_image(world, "web:2")
    world.settle()
    assert sizes(world) == [0]
    assert len(world.all(POD)) == 3
    assert {pod["spec"]["containers"][0]["image"] for pod in world.all(POD)} <= {"web:1"}

    world.roll()

    assert sizes(world) == [0, 3]
    assert world.get(DEPLOYMENT, "web")["status"]["availableReplicas"] == 3


def test_a_rollout_that_does_not_move_is_late_after_its_deadline() -> None:
    """Nothing asks in between: the deadline itself is what is waited for."""
    world = deployed()
    set_image(world, "web:broken")
    world.roll(ready=False)
    done = world.runner.settle()
    assert done == 0
    world.advance(seconds=599)
    assert conditions(world.get(DEPLOYMENT, "web"))["Progressing"][0] == "True"

    world.advance(seconds=3)

    web_now = world.get(DEPLOYMENT, "web")
    assert conditions(web_now) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("False", "ProgressDeadlineExceeded"),
    }
    (progress,) = [c for c in web_now["status"]["conditions"] if c["type"] == "Progressing"]
    assert progress["message"].endswith("has timed out progressing.")
    assert world.runner.next_due() is None


def test_going_back_takes_the_old_replica_set_with_a_new_number() -> None:
    """The revision it had before is remembered."""
    world = deployed()
    set_image(world, "web:2")
    world.roll()

    set_image(world, "web:1")
    world.roll()

    by_revision = {
        item["metadata"]["annotations"][REVISION]: item["metadata"]["annotations"]
        for item in world.all(REPLICA_SET)
    }
    assert set(by_revision) == {"2", "3"}
    assert by_revision["3"]["deployment.kubernetes.io/revision-history"] == "1"
    assert sizes(world) == [0, 3]


def test_old_replica_sets_beyond_the_limit_are_deleted() -> None:
    """The oldest go, and only those without pods."""
    world = deployed(revisionHistoryLimit=1)
    for number in range(2, 5):
        set_image(world, f"web:{number}")
        world.roll()

    revisions = {item["metadata"]["annotations"][REVISION] for item in world.all(REPLICA_SET)}
    assert revisions == {"3", "4"}


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    """It says that it is paused, and goes on when it is resumed."""
    world = deployed()
    set_spec(world, paused=True)
    set_image(world, "web:2")
    set_spec(world, replicas=5)
    world.roll()
    web_now = world.get(DEPLOYMENT, "web")
    assert sizes(world) == [5]
    assert conditions(web_now)["Progressing"] == ("Unknown", "DeploymentPaused")
    assert web_now["status"]["observedGeneration"] == web_now["metadata"]["generation"]

    set_spec(world, paused=False)
    world.settle()
    assert conditions(world.get(DEPLOYMENT, "web"))["Progressing"][0] != "False"
    world.roll()

    assert sizes(world) == [0, 5]


def test_scaling_in_the_middle_of_a_rollout_is_shared() -> None:
    """Old and new ReplicaSets grow in proportion to what they have."""
    world = deployed(replicas=10, strategy=rolling(3, 2))
    set_image(world, "web:2")
    world.roll(ready=False)
    assert sizes(world) == [8, 5]

    set_spec(world, replicas=15)
    world.roll(ready=False)

    assert sizes(world) == [11, 7]
    world.roll()
    for pod in world.all(POD):
        world.set_pod(pod["metadata"]["name"], "Running", ready=True)
    world.roll()
    assert sizes(world) == [0, 15]


def rolling(surge: int | str, unavailable: int | str) -> dict[str, Any]:
    """A rolling strategy."""
    numbers = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"type": "RollingUpdate", "rollingUpdate": numbers}


def test_pods_are_available_only_after_min_ready_seconds() -> None:
    """Readiness has to last; the wait is for that moment and no other."""
    world = World()
    world.make(DEPLOYMENT, "web", spec=web(minReadySeconds=30))
    world.roll()
    assert world.get(DEPLOYMENT, "web")["status"]["readyReplicas"] == 3
    assert "availableReplicas" not in world.get(DEPLOYMENT, "web")["status"]

    world.advance(seconds=30)

    assert world.get(DEPLOYMENT, "web")["status"]["availableReplicas"] == 3


def test_a_refused_pod_is_a_replica_failure_until_it_is_not() -> None:
    """The message is the API's own; it reaches the Deployment; retries are patient."""
    world = World()
    world.forbidden = "no more of these"
    world.make(DEPLOYMENT, "web", spec=web())
    world.settle()
    (found,) = world.all(REPLICA_SET)
    assert conditions(found) == {"ReplicaFailure": ("True", "FailedCreate")}
    message = found["status"]["conditions"][0]["message"]
    assert message.endswith("is forbidden: no more of these")
    assert conditions(world.get(DEPLOYMENT, "web"))["ReplicaFailure"] == ("True", "FailedCreate")
    assert ("Warning", "FailedCreate", f"Error creating: {message}") in world.events()
    world.advance(minutes=5)
    failures = [event for event in world.events() if event[1] == "FailedCreate"]
    assert len(failures) == 10
    assert failures[-1][2].startswith("(combined from similar events): Error creating: pods ")

    world.forbidden = ""
    world.advance(minutes=1)

    assert len(world.all(POD)) == 3
    assert "ReplicaFailure" not in conditions(world.get(DEPLOYMENT, "web"))


def test_orphans_that_match_are_adopted_and_strangers_are_let_go() -> None:
    """A pod belongs to who selects it, as long as nobody else manages it."""
    world = deployed(replicas=2)
    (found,) = world.all(REPLICA_SET)
    mark = found["metadata"]["labels"]["pod-template-hash"]
    gone = world.all(POD)[0]["metadata"]["name"]
    world.change(POD, gone, lambda pod: pod["metadata"].update(labels={"app": "debug"}))
    labels = {"app": "web", "pod-template-hash": mark}
    world.make(POD, "by-hand", metadata={"labels": labels}, spec={}, status={"phase": "Pending"})
    world.settle()

    assert "ownerReferences" not in world.get(POD, gone)["metadata"]
    (reference,) = world.get(POD, "by-hand")["metadata"]["ownerReferences"]
    assert reference["uid"] == found["metadata"]["uid"]
    owned = [pod for pod in world.all(POD) if "ownerReferences" in pod["metadata"]]
    assert len(owned) == 2


@pytest.mark.parametrize("field", ["spec", "metadata"])
def test_nothing_is_done_twice(field: str) -> None:
    """Once all is as wanted, another look writes nothing."""
    world = deployed()
    version = world.store.version
    world.change(DEPLOYMENT, "web", lambda item: item[field].update())
    world.advance(hours=2)

    assert world.store.version - version <= len(world.events())
    assert sizes(world) == [3]


def test_many_deployments_are_made_within_a_moment() -> None:
    """60 Deployments with 3 pods each take a number of steps that grows with their number only."""
    world = World()
    for number in range(60):
        spec = web()
        labels = {"app": f"web-{number}"}
        spec["selector"] = {"matchLabels": labels}
        spec["template"]["metadata"]["labels"] = labels
        world.make(DEPLOYMENT, f"web-{number}", spec=spec)
    done = world.settle()

    assert len(world.all(POD)) == 180
    assert done < 60 * 12
