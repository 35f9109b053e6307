"""Deletion in the sandbox: dependents go, stay or are waited for, and namespaces empty."""

from __future__ import annotations

import pytest

from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.controllers.facts import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SERVICE_ACCOUNT,
)
from tests.support.controller_world import CERTIFICATE, World, conditions


def deployed() -> World:
    """A world with a Deployment of two running pods."""
    world = World.whole()
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    }
    selector = {"matchLabels": {"app": "web"}}
    spec = {"replicas": 2, "selector": selector, "template": template}
    world.make(DEPLOYMENT, "web", spec=spec)
    world.roll()
    return world


def end_pods(world: World) -> None:
    """What a node does when pods are told to go."""
    world.start_pods()


def test_in_the_background_the_owner_goes_first() -> None:
    """The ReplicaSet and its pods follow."""
    world = deployed()
    world.delete(DEPLOYMENT, "web")
    assert world.all(DEPLOYMENT) == []
    world.settle()

    assert world.all(REPLICA_SET) == []
    assert all("deletionTimestamp" in pod["metadata"] for pod in world.all(POD))
    end_pods(world)
    assert world.all(POD) == []


def test_in_the_foreground_the_owner_goes_last() -> None:
    """It stays, marked, until its ReplicaSet is gone, and that until its pods are."""
    world = deployed()
    world.delete(DEPLOYMENT, "web", propagation="Foreground")
    world.settle()
    assert world.get(DEPLOYMENT, "web")["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert len(world.all(REPLICA_SET)) == 1
    assert len(world.all(POD)) == 2

    end_pods(world)
    world.settle()

    assert (world.all(POD), world.all(REPLICA_SET), world.all(DEPLOYMENT)) == ([], [], [])


def test_orphans_stay_and_are_found_again() -> None:
    """The dependents lose their owner; the same Deployment adopts them again."""
    world = deployed()
    spec = world.get(DEPLOYMENT, "web")["spec"]
    (before,) = world.all(REPLICA_SET)
    world.delete(DEPLOYMENT, "web", propagation="Orphan")
    world.settle()
    (orphan,) = world.all(REPLICA_SET)
    assert world.all(DEPLOYMENT) == []
    assert "ownerReferences" not in orphan["metadata"]
    assert len(world.all(POD)) == 2

    made = world.make(DEPLOYMENT, "web", spec=spec)
    world.settle()

    (after,) = world.all(REPLICA_SET)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]


def test_an_object_with_another_owner_loses_only_the_reference() -> None:
    """One living owner keeps it."""
    world = World.whole()
    first = world.make(CONFIG_MAP, "first")
    second = world.make(CONFIG_MAP, "second")
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
        }
        for item in (first, second)
    ]
    world.make(CONFIG_MAP, "child", metadata={"ownerReferences": references})
    world.settle()

    world.delete(CONFIG_MAP, "first")
    world.settle()
    assert world.get(CONFIG_MAP, "child")["metadata"]["ownerReferences"] == [references[1]]
    world.delete(CONFIG_MAP, "second")
    world.settle()

    assert [item["metadata"]["name"] for item in world.all(CONFIG_MAP)] == ["kube-root-ca.crt"]


@pytest.mark.parametrize("flaw", ["uid", "name"])
def test_an_owner_that_never_was_is_as_good_as_gone(flaw: str) -> None:
    """An object that names a stranger is deleted soon after it is made."""
    world = World.whole()
    owner = world.make(CONFIG_MAP, "owner")
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        flaw: "another",
    }
    world.make(CONFIG_MAP, "child", metadata={"ownerReferences": [reference]})
    world.settle()
    assert "child" not in [item["metadata"]["name"] for item in world.all(CONFIG_MAP)]


def test_a_namespace_begins_with_an_account_and_the_authority() -> None:
    """Both come back when they are deleted; the certificate is put right when it is changed."""
    world = World.whole()
    assert world.get(SERVICE_ACCOUNT, "default")
    assert world.get(CONFIG_MAP, "kube-root-ca.crt")["data"] == {"ca.crt": CERTIFICATE}

    world.delete(SERVICE_ACCOUNT, "default")
    world.change(CONFIG_MAP, "kube-root-ca.crt", lambda item: item["data"].update(more="x"))
    world.settle()

    assert world.get(SERVICE_ACCOUNT, "default")
    assert world.get(CONFIG_MAP, "kube-root-ca.crt")["data"] == {"ca.crt": CERTIFICATE}


def test_a_namespace_ends_when_its_content_is_gone() -> None:
    """Pods first; then everything else, Events included; then the namespace itself."""
    world = deployed()
    world.delete(NAMESPACE, "shop", namespace="")
    world.settle()
    ending = world.get(NAMESPACE, "shop", namespace="")
    assert ending["status"]["phase"] == "Terminating"
    assert len(world.all(POD)) == 2
    assert len(world.all(DEPLOYMENT)) == 1

    for _ in range(4):
        end_pods(world)

    assert world.store.get(_key("shop")) is None
    assert world.all(DEPLOYMENT) == world.all(EVENT) == world.all(CONFIG_MAP) == []


def test_a_finalizer_holds_a_namespace_and_is_named() -> None:
    """The conditions say what remains and which finalizer waits, in the real words."""
    world = World.whole()
    world.make(CONFIG_MAP, "held", metadata={"finalizers": ["acme.io/hold"]})
    world.delete(NAMESPACE, "shop", namespace="")
    world.settle()
    ending = world.get(NAMESPACE, "shop", namespace="")
    assert conditions(ending) == {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered"),
        "NamespaceDeletionGroupVersionParsingFailure": ("False", "ParsedGroupVersions"),
        "NamespaceDeletionContentFailure": ("False", "ContentDeleted"),
        "NamespaceContentRemaining": ("True", "SomeResourcesRemain"),
        "NamespaceFinalizersRemaining": ("True", "SomeFinalizersRemain"),
    }
    messages = {item["type"]: item["message"] for item in ending["status"]["conditions"]}
    assert messages["NamespaceContentRemaining"] == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert messages["NamespaceFinalizersRemaining"] == (
        "Some content in the namespace has finalizers remaining: "
        "acme.io/hold in 1 resource instances"
    )

    world.change(CONFIG_MAP, "held", lambda item: item["metadata"].pop("finalizers"))
    world.settle()

    assert world.store.get(_key("shop")) is None


def _key(name: str) -> Key:
    return Key(*NAMESPACE.resource, "", name)
